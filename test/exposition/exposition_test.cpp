#include "quipu/exposition.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "support/page.hpp"

namespace {

constexpr std::string_view text_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

TEST_CASE("a page is the text format, with its one content type") {
  const auto registry = page::empty_registry();
  registry.counter({.name = "orders_total", .help = "Orders."}).inc(3);
  const quipu::Page page = quipu::render(registry);
  CHECK(page.content_type == text_type);
  CHECK(page.body == "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total 3\n");
}

TEST_CASE("an empty registry is an empty page") {
  const quipu::Page page = quipu::render(page::empty_registry());
  CHECK(page.content_type == text_type);
  CHECK(page.body.empty());
}

TEST_CASE("an Accept header that is missing, unknown or nonsense gets the text format") {
  const auto registry = page::empty_registry();
  registry.gauge({.name = "x"}).set(1);
  for (const std::string_view accept :
       {"", "*/*", "text/plain", "text/html,application/xhtml+xml;q=0.9", "image/png", "text/plain;version=0.0.4;q=0",
        ";;;,,,q=", "\xFF\x01", "application/json;q=1.0"}) {
    INFO(accept);
    const quipu::Page page = quipu::render(registry, accept);
    CHECK(page.content_type == text_type);
    CHECK(page.body == "# TYPE x gauge\nx 1\n");
  }
}

TEST_CASE("a page source keeps the registry's metrics") {
  quipu::PageSource source;
  quipu::Counter counter;
  {
    const auto registry = page::empty_registry();
    counter = registry.counter({.name = "orders_total"});
    source = quipu::page_source(registry);
  }
  counter.inc();
  CHECK(source({})->next() == "# TYPE orders_total counter\norders_total 1\n");
  counter.inc();
  CHECK(source({})->next() == "# TYPE orders_total counter\norders_total 2\n");
  CHECK(source({})->content_type() == text_type);
  source = nullptr;
  counter.inc();
  CHECK(counter.value() == 0);
}

TEST_CASE("every page ends with a line feed, and has no blank line") {
  const quipu::Registry registry;
  registry.counter({.name = "orders_total", .help = "Orders.\n\n"}).inc();
  registry.counter({.name = "lines_total"}, {"text"})("\n\n").inc();
  const std::string body = quipu::render(registry).body;
  REQUIRE(!body.empty());
  CHECK(body.back() == '\n');
  CHECK(body.front() != '\n');
  CHECK(body.find("\n\n") == std::string::npos);
  CHECK(body.find('\r') == std::string::npos);
}

#include "quipu/registries.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/exposition.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/waiting.hpp"

namespace {

using Lines = std::vector<std::string>;
using page::empty_registry;
using page::missing;
using page::refusal;
using quipu::Registries;
using quipu::Registry;

std::string body(const Registries& registries) { return quipu::render(registries).body; }
Lines samples(const Registries& registries) { return page::samples(body(registries)); }

/// A registry that shows how many clashes it had.
Registry counting_registry() { return Registry({.process_metrics = false}); }

std::string clashes(const Registry& registry, std::string_view reason) {
  return page::value(registry, "quipu_page_clashes_total{reason=\"" + std::string(reason) + "\"}");
}

/// The families and reasons that a callback was told.
struct Told {
  std::vector<std::pair<std::string, std::string>> clashes{};
  auto callback() {
    return [this](std::string_view family, std::string_view why) { clashes.emplace_back(family, why); };
  }
};

}  // namespace

TEST_CASE("a page of several registries has the families of all in the order of their names") {
  const auto program = empty_registry({.prefix = "shop"});
  const auto library = empty_registry({.const_labels = {{"lib", "x"}}});
  program.counter({.name = "orders_total"}).inc();
  library.counter({.name = "calls_total"}).inc(2);
  const auto callback = library.gauge_callback({.name = "zzz"}, [] { return 3.0; });
  const Registries both({program, library});
  CHECK(samples(both) == Lines{R"(calls_total{lib="x"} 2)", "shop_orders_total 1", R"(zzz{lib="x"} 3)"});
  const std::vector<std::string> names{"zzz"};
  CHECK(page::samples(quipu::render(both, {.families = names}).body) == Lines{R"(zzz{lib="x"} 3)"});
  program.gauge({.name = "later"}).set(1);
  CHECK(samples(both).size() == 4);
  CHECK(quipu::page_source(both)({})->next() == body(both));
}

TEST_CASE("a family of several registries is one, with the help of the first") {
  const auto a = empty_registry({.const_labels = {{"shard", "2"}}});
  const auto b = empty_registry({.const_labels = {{"shard", "1"}}});
  a.counter({.name = "x_total", .help = "Of a."}, {"k"})("v").inc(1);
  b.counter<int>({.name = "x_total", .help = "Of b."}, {"k"})(7).inc(2);
  CHECK(body(Registries({a, b})) ==
        "# HELP x_total Of a.\n# TYPE x_total counter\n"
        "x_total{shard=\"1\",k=\"7\"} 2\nx_total{shard=\"2\",k=\"v\"} 1\n");
  const auto c = empty_registry();
  const auto d = empty_registry();
  c.counter({.name = "x_total", .help = "X."}, {"k"})("c").inc(1);
  d.counter({.name = "x_total", .help = "X."}, {"k"})("a").inc(2);
  CHECK(samples(Registries({c, d})) == Lines{R"(x_total{k="c"} 1)", R"(x_total{k="a"} 2)"});
}

TEST_CASE("families of several registries that clash are refused when the list is given") {
  const auto refused = [](auto first, auto second) {
    const auto a = empty_registry();
    const auto b = empty_registry();
    first(a);
    second(b);
    return refusal([&] { static_cast<void>(Registries({a, b})); });
  };
  const auto counter = [](const Registry& r) {
    static_cast<void>(r.counter({.name = "x_total", .help = "X."}, {"k"}));
  };
  const std::string first = R"(counter x_total{k text} "X.")";
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.gauge({.name = "x_total"}, {"k"})); }),
                {"gauge x_total{k text} \"\" cannot be on a page with " + first,
                 "type, unit and label names must be the same"}) == "");
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.counter({.name = "x_total"}, {"l"})); }),
                {"counter x_total{l text}", first}) == "");
  CHECK(
      missing(
          refused(counter,
                  [](auto& r) {
                    static_cast<void>(r.subsystem("", {{"s", "1"}}).counter({.name = "x_total", .help = "X."}, {"k"}));
                  }),
          {"counter x_total{s=\"1\", k text}", first}) == "");
  CHECK(missing(refused([](auto& r) { static_cast<void>(r.histogram({.name = "y"})); },
                        [](auto& r) { static_cast<void>(r.gauge({.name = "y_count"})); }),
                {"gauge y_count", "histogram y ", "both have samples named \"y_count\""}) == "");
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.gauge({.name = "x"})); }), {"\"x\"", first}) == "");
  // Series.
  CHECK(missing(refused([](auto& r) { static_cast<void>(r.gauge({.name = "z"})); },
                        [](auto& r) { static_cast<void>(r.gauge({.name = "z"})); }),
                {"gauge z", "both have the same series"}) == "");
  const auto series = [](const Registry& r) { r.counter({.name = "x_total", .help = "X."}, {"k"})("v").inc(); };
  CHECK(missing(refused(series, series), {"the series {k=\"v\"} of " + first}) == "");

  const auto one = empty_registry();
  CHECK(missing(refusal([&] { static_cast<void>(Registries({one, one})); }), {"given twice"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(Registries({})); }), {"at least one"}) == "");
}

TEST_CASE("a family that clashes later is left out for the second registry, counted, and told once") {
  const auto a = counting_registry();
  const auto b = counting_registry();
  Told told;
  const Registries both({a, b}, told.callback());
  b.counter({.name = "x_total"}).inc(1);
  CHECK(page::value(body(both), "x_total") == "1");
  a.gauge({.name = "x"}).set(5);  // b's counter may have samples of this name
  const std::string page = body(both);
  CHECK(page::value(page, "x") == "5");
  CHECK(page::value(page, "x_total") == page::absent);
  static_cast<void>(body(both));
  REQUIRE(told.clashes.size() == 1);
  CHECK(told.clashes[0].first == "x_total");
  CHECK(missing(told.clashes[0].second, {"counter x_total", "gauge x ", "both have samples named \"x\""}) == "");
  CHECK(clashes(b, "family") == "2");
  CHECK(clashes(a, "family") == page::absent);
  // It counts on the page that left it out, too.
  CHECK(page::value(body(both), "quipu_page_clashes_total{reason=\"family\"}") == "2");
  // The first one goes, and the second is shown again.
  CHECK(a.remove("x"));
  CHECK(page::value(body(both), "x_total") == "1");
}

TEST_CASE("of equal series the first registry's is shown, and the other is counted and told once") {
  const auto a = counting_registry();
  const auto b = counting_registry();
  Told told;
  const Registries both({a, b}, told.callback());
  const auto of_a = a.counter({.name = "x_total"}, {"k", "l"});
  const auto of_b = b.counter({.name = "x_total"}, {"k", "l"});
  of_a("1", "23").inc(1);
  of_b("12", "3").inc(2);
  CHECK(page::value(body(both), R"(x_total{k="1",l="23"})") == "1");
  CHECK(told.clashes.empty());
  of_b("1", "23").inc(9);
  const std::string page = body(both);
  CHECK(page::value(page, R"(x_total{k="1",l="23"})") == "1");
  CHECK(page::value(page, R"(x_total{k="12",l="3"})") == "2");
  static_cast<void>(body(both));
  CHECK(clashes(b, "series") == "2");
  REQUIRE(told.clashes.size() == 1);
  CHECK(missing(told.clashes[0].second, {R"({k="1",l="23"} of counter x_total{k text, l text})"}) == "");

  // Of callbacks and instruments, too.
  const auto gauge = a.gauge({.name = "y"});
  const auto callback = b.gauge_callback({.name = "y"}, [] { return 2.0; });
  gauge.set(1);
  CHECK(page::value(body(both), "y") == "1");
  CHECK(a.remove(gauge));
  CHECK(page::value(body(both), "y") == "2");
}

TEST_CASE("what the library shows of the process is there once, and what it counts of registries is added up") {
  const Registry a({.runtime_metrics = true});
  const Registry b({.runtime_metrics = true});
  const auto throws = []() -> double { throw 1; };
  const auto of_a = a.gauge_callback({.name = "a"}, throws);
  const auto of_b = b.gauge_callback({.name = "b"}, throws);
  const auto family = b.counter({.name = "x_total", .max_series = 1}, {"k"});
  family("1").inc();
  family("2").inc();
  Told told;
  const Registries both({a, b}, told.callback());
  static_cast<void>(body(both));
  const auto page = quipu::render(both, {.accept = "application/openmetrics-text;version=1.0.0"});
  const auto read = quipu::testing::read_page(page.body, page.content_type);  // refuses what is there twice
  using quipu::testing::value_of;
  CHECK(value_of(read, "process_resident_memory_bytes") > 0);
  const auto exceptions = [&read](std::string_view collector) {
    return value_of(read, "quipu_collector_errors_total", {{"collector", collector}, {"reason", "exception"}});
  };
  CHECK(exceptions("a") == 1);
  CHECK(exceptions("b") == 1);
  CHECK(value_of(read, "quipu_overflowed_lookups_total", {{"family", "x_total"}}) == 1);
  CHECK(value_of(read, "quipu_collector_up", {{"collector", "a"}}) == 0);
  CHECK(value_of(read, "quipu_collector_up", {{"collector", "cxx_allocator_bytes"}}) == 1);
  CHECK(told.clashes.empty());
  CHECK(clashes(b, "family") == page::absent);
}

TEST_CASE("a collector that hangs costs its own families only, whichever registry it is of") {
  const auto a = empty_registry();
  const auto b = empty_registry();
  Gate gate;
  const auto hangs = a.gauge_callback({.name = "hangs"}, [&gate] {
    gate.pass();
    return 1.0;
  });
  const auto works = b.gauge_callback({.name = "works"}, [] { return 2.0; });
  const Registries both({a, b});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  CHECK(page::samples(quipu::render(both, {.deadline = deadline}).body) == Lines{"works 2"});
  gate.open();
  CHECK(soon([&gate] { return gate.passed() == gate.entered(); }));
}

TEST_CASE("a visitor sees the parts of several registries, and a page keeps their metrics") {
  struct : quipu::Visitor {
    std::string text;
    void family(const quipu::FamilyView& family) override { text += std::string(family.name) + ":"; }
    void part(const quipu::FamilyView& family) override { text += std::string(family.const_labels[0].value) + ":"; }
    void sample(const quipu::Sample& sample) override { text += std::to_string(sample.value.whole()) + ";"; }
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
  } visitor;
  std::unique_ptr<quipu::PageStream> page;
  {
    const auto a = empty_registry({.const_labels = {{"shard", "1"}}});
    const auto b = empty_registry({.const_labels = {{"shard", "2"}}});
    a.counter({.name = "x_total"}).inc(1);
    b.counter({.name = "x_total"}).inc(2);
    const Registries both({a, b});
    both.collect(visitor);
    page = quipu::open_page(both);
  }
  CHECK(visitor.text == "x_total:1;2:2;");
  CHECK(page::samples(page->next()) == Lines{R"(x_total{shard="1"} 1)", R"(x_total{shard="2"} 2)"});
}

#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using page::missing;
using page::refusal;
using quipu::runtime;
using quipu::utf8;
using shown::Labels;
using Lines = std::vector<std::string>;

enum class Phase { starting, serving };

constexpr std::string_view accepted = "(nothing was refused)";

constexpr quipu::MetricName hello = utf8("h\u00E9llo w\u00F6rld");
static_assert(hello.text() == "h\u00E9llo w\u00F6rld");

quipu::Registry registry_of_utf8(quipu::RegistryOptions options = {}) {
  options.utf8_names = true;
  return page::empty_registry(options);
}

/// What is said when gauges of these names are registered, one after the other.
std::string refusal_of(const std::vector<std::string>& names) {
  const auto registry = registry_of_utf8();
  return refusal([&] {
    for (const std::string& name : names) static_cast<void>(registry.gauge({.name = runtime(name)}));
  });
}

/// What is said of these labels.
std::string refusal_of_labels(const std::string& first, const std::string& second) {
  const auto registry = registry_of_utf8();
  return refusal([&] { static_cast<void>(registry.gauge({.name = "x"}, {runtime(first), runtime(second)})); });
}

}  // namespace

TEST_CASE("a registry of UTF-8 names takes any text as a name, of metrics and labels, where it is marked") {
  const auto registry = registry_of_utf8({.const_labels = {{utf8("data center"), "a"}}});
  registry.counter({.name = utf8("http.server.requests_total")}, {utf8("http.route")})("/").inc(2);
  registry.histogram({.name = runtime(std::string_view("\u6642\u9593"))}).observe(1);
  registry.gauge({.name = "legacy"}).set(3);
  CHECK(shown::series(registry, "http.server.requests_total").labels ==
        Labels{{"data center", "a"}, {"http.route", "/"}});
  CHECK(shown::series(registry, "\u6642\u9593").value == 1);
  CHECK(shown::series(registry, "legacy").value == 3);
  for (const std::string name : {"9", " ", "a-b", "\n", "\"", "\\", "{", "\U0001F600", "a:b", "__x"}) {
    INFO(name);
    CHECK(refusal_of({name}) == accepted);
  }
}

TEST_CASE("a page in the text format shows UTF-8 names with underscores") {
  const auto registry = registry_of_utf8({.prefix = utf8("my.app")});
  registry.counter({.name = utf8("requests.total")}, {utf8("http.route")})("/").inc(2);
  CHECK(page::samples(registry) == Lines{R"(my_app_requests_total{http_route="/"} 2)"});
}

TEST_CASE("names that are not UTF-8, empty ones, and labels that are reserved are refused everywhere") {
  for (const std::string name : {"", "\xFF", "a\xC3", "\xED\xA0\x80"}) {
    INFO(name);
    CHECK(missing(refusal_of({name}), {"a metric name is not empty, and UTF-8"}).empty());
  }
  for (const std::string label : {"", "\xFF", "__", "__name__", "__\u00E9"}) {
    INFO(label);
    CHECK(missing(refusal_of_labels("a", label), {"label \"" + label + "\"", "UTF-8", "__"}).empty());
  }
  CHECK(missing(refusal([] { registry_of_utf8({.prefix = runtime("\xFF")}); }), {"prefix", "UTF-8"}).empty());
  CHECK(missing(refusal([] {
                  registry_of_utf8({.const_labels = {{runtime("\xFF"), "a"}}});
                }),
                {"const label"})
            .empty());
  const auto registry = registry_of_utf8();
  CHECK(missing(refusal([&] { static_cast<void>(registry.subsystem(runtime("\xFF"))); }), {"prefix"}).empty());
}

TEST_CASE("a registry of legacy names says how to have others") {
  const auto registry = page::empty_registry();
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = utf8("my.size")})); }),
                {"my.size", "[a-zA-Z_:]", "RegistryOptions::utf8_names"})
            .empty());
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "size"}, {utf8("my.label")})); }),
                {"my.label", "[a-zA-Z_]", "RegistryOptions::utf8_names"})
            .empty());
}

TEST_CASE("names that are the same when they are escaped are refused, with both of them and the scheme") {
  CHECK(missing(refusal_of({"a_b", "a.b"}), {"gauge a.b", "gauge a_b", "underscores", "\"a_b\""}).empty());
  CHECK(missing(refusal_of({"a.b", "a_b"}), {"gauge a_b", "gauge a.b", "underscores", "\"a_b\""}).empty());
  CHECK(missing(refusal_of({"a.b", "a-b"}), {"gauge a-b", "gauge a.b", "underscores"}).empty());
  CHECK(missing(refusal_of({"a_dot_b", "a.b"}), {"gauge a.b", "gauge a_dot_b", "dots", "\"a_dot_b\""}).empty());
  CHECK(missing(refusal_of({"U__a_2e_b", "a.b"}), {"gauge a.b", "gauge U__a_2e_b", "values"}).empty());
  // What two schemes make of them is on no page together.
  CHECK(refusal_of({"a.b", "a dot b"}) == accepted);
  CHECK(refusal_of({"a.b", "a.c", "a..b", "a", "b"}) == accepted);
}

TEST_CASE("the samples of a family whose name is escaped are claimed under all names") {
  const auto registry = registry_of_utf8();
  static_cast<void>(registry.histogram({.name = utf8("my.size")}));
  const auto gauge = [&](std::string_view name) {
    return refusal([&] { static_cast<void>(registry.gauge({.name = runtime(name)})); });
  };
  for (const std::string_view name : {"my.size_bucket", "my_size_count", "my_dot_size_sum", "U__my_2e_size_created"}) {
    INFO(name);
    CHECK(missing(gauge(name), {name, "histogram my.size"}).empty());
  }
  static_cast<void>(registry.counter({.name = utf8("my.requests_total")}));
  CHECK(missing(gauge("my_requests"), {"counter my.requests_total", "underscores"}).empty());
  CHECK(missing(gauge("my.requests"), {"counter my.requests_total"}).empty());
  CHECK(gauge("other") == accepted);
}

TEST_CASE("what a callback claimed under escaped names is free when it ends") {
  const auto registry = registry_of_utf8();
  for (int i = 0; i < 2; ++i) {
    const auto registration = registry.gauge_callback({.name = utf8("a.b")}, [] { return 1.0; });
    CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "a_b"})); }), {"gauge a.b"}).empty());
  }
  static_cast<void>(registry.gauge({.name = "a_b"}));
  CHECK(page::samples(registry) == Lines{"a_b 0"});
}

TEST_CASE("labels that are the same when they are escaped are refused") {
  CHECK(missing(refusal_of_labels("a.b", "a_b"), {"\"a.b\"", "\"a_b\"", "underscores"}).empty());
  CHECK(missing(refusal_of_labels("a_dot_b", "a.b"), {"\"a.b\"", "\"a_dot_b\"", "dots"}).empty());
  CHECK(missing(refusal_of_labels("a.b", "a.b"), {"given twice"}).empty());
  CHECK(refusal_of_labels("a.b", "a.c") == accepted);
  const auto registry = registry_of_utf8({.const_labels = {{"a_b", "1"}}});
  CHECK(
      missing(refusal([&] { static_cast<void>(registry.gauge({.name = "x"}, {utf8("a.b")})); }), {"\"a_b\""}).empty());
  CHECK(missing(refusal([] {
                  registry_of_utf8({.const_labels = {{"a_b", "1"}, {utf8("a.b"), "2"}}});
                }),
                {"const labels", "\"a_b\"", "\"a.b\""})
            .empty());
}

TEST_CASE("an info and a stateset may have UTF-8 names, but for a colon in a stateset's") {
  const auto registry = registry_of_utf8();
  registry.info({.name = utf8("my.build_info")}, {{utf8("my.version"), "1"}});
  CHECK(shown::series(registry, "my.build_info").labels == Labels{{"my.version", "1"}});
  registry.stateset<Phase>({.name = utf8("my.phase")}).set(Phase::serving);
  CHECK(shown::family(registry, "my.phase").series[1].labels == Labels{{"my.phase", "serving"}});
  const auto colon = [&] { static_cast<void>(registry.stateset<Phase>({.name = utf8("my:phase")})); };
  CHECK(missing(refusal(colon), {"stateset my:phase", "':'"}).empty());
}

TEST_CASE("a scraper that asks for UTF-8 sees UTF-8 names") {
  const auto registry = registry_of_utf8();
  registry.gauge({.name = utf8("my.size")}, {utf8("my.label")})("x").set(1);
  const auto page =
      quipu::render(registry, {.accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"});
  CHECK(page.body.find(R"({"my.size","my.label"="x"} 1)") != std::string::npos);
}

#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using page::missing;
using page::refusal;
using shown::Labels;

}  // namespace

TEST_CASE("an info is one series that is 1, and says what it says in its labels") {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "test"}}});
  registry.info({.name = "build_info", .help = "What was built."}, {{"version", "1.2"}, {"revision", "abc"}});
  const auto family = shown::family(registry, "shop_build_info");
  CHECK(family.type == quipu::MetricType::info);
  CHECK(family.label_names == std::vector<std::string>{"version", "revision"});
  const auto series = shown::series(registry, "shop_build_info");
  CHECK(series.labels == Labels{{"env", "test"}, {"version", "1.2"}, {"revision", "abc"}});
  CHECK(series.value == 1);
  CHECK(series.needs_no_escaping);
  CHECK_FALSE(series.created.has_value());
}

TEST_CASE("an info may have no labels, and label values that are known at run time") {
  const auto registry = page::empty_registry();
  registry.info({.name = "bare_info"}, {});
  CHECK(shown::series(registry, "bare_info").labels.empty());
  const std::string version = "1.\"2\"";
  const std::vector<quipu::InfoLabel> labels{{quipu::runtime("version"), version}, {"broken", "\xFF"}};
  registry.info({.name = "build_info"}, labels);
  const auto series = shown::series(registry, "build_info");
  CHECK(series.labels == Labels{{"version", version}, {"broken", "\uFFFD"}});
  CHECK_FALSE(series.needs_no_escaping);
}

TEST_CASE("an info that is registered again is the same series, and with other values a second one") {
  const auto registry = page::empty_registry();
  for (int i = 0; i < 2; ++i) registry.info({.name = "plugin_info"}, {{"plugin", "a"}});
  CHECK(shown::series(registry, "plugin_info").value == 1);
  registry.info({.name = "plugin_info"}, {{"plugin", "b"}});
  CHECK(shown::family(registry, "plugin_info").series.size() == 2);
  const auto message = refusal([&] { registry.info({.name = "plugin_info"}, {{"name", "a"}}); });
  CHECK(missing(message, {"info plugin_info{name text}", "info plugin_info{plugin text}", "taken"}).empty());
}

TEST_CASE("the name of an info ends in _info") {
  const auto registry = page::empty_registry();
  for (const char* const name : {"build", "build_information", "_info", "info"}) {
    const auto message = refusal([&] { registry.info({.name = quipu::runtime(name)}, {}); });
    CHECK(missing(message, {"info " + std::string(name), "ends in _info"}).empty());
  }
  CHECK(page::samples(registry).empty());
}

TEST_CASE("an info claims its name with and without _info") {
  const auto registry = page::empty_registry();
  registry.info({.name = "build_info"}, {});
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "build"})); }), {"\"build\"", "build_info"})
            .empty());
  CHECK(missing(refusal([&] { static_cast<void>(registry.counter({.name = "build_total"})); }), {"\"build\""}).empty());
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "build_info"})); }), {"build_info"}).empty());
  static_cast<void>(registry.gauge({.name = "other"}));
  CHECK(missing(refusal([&] { registry.info({.name = "other_info"}, {}); }), {"\"other\""}).empty());
}

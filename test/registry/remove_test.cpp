#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/batch.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"

namespace {

enum class Phase { start, run };

using Lines = std::vector<std::string>;
using page::refusal;

constexpr std::string_view accepted = "(nothing was refused)";

}  // namespace

TEST_CASE("a family that is removed is on no page, and its handles record nowhere") {
  const auto registry = page::empty_registry();
  const auto requests = registry.counter({.name = "requests_total"}, {"method"});
  const auto get = requests("get");
  get.inc();
  CHECK(registry.remove(requests));
  CHECK_FALSE(registry.remove(requests));
  get.inc();
  requests("get").inc();
  requests("post").inc();
  CHECK(get.value() == 0);
  CHECK(requests("post").value() == 0);
  CHECK(requests.size() == 0);
  CHECK(page::body(registry).empty());

  // The name is free for any definition.
  registry.gauge({.name = "requests_total"}).set(3);
  requests("get").inc();
  CHECK(page::samples(registry) == Lines{"requests_total 3"});
  CHECK_FALSE(registry.remove(requests));
}

TEST_CASE("an instrument without labels is removed by its handle") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto real = registry.fractional_counter({.name = "b_total"});
  const auto gauge = registry.gauge({.name = "c"});
  const auto histogram = registry.histogram({.name = "d", .buckets = {1.0}});
  const auto native = registry.native_histogram({.name = "e"});
  const auto state = registry.stateset<Phase>({.name = "f"});
  const auto labelled = registry.counter({.name = "g_total"}, {"k"})("v");
  CHECK_FALSE(registry.remove(labelled));
  CHECK_FALSE(registry.remove(quipu::Counter()));
  CHECK_FALSE(page::empty_registry().remove(counter));
  CHECK(registry.remove(counter));
  CHECK(registry.remove(real));
  CHECK(registry.remove(gauge));
  CHECK(registry.remove(histogram));
  CHECK(registry.remove(native));
  CHECK(registry.remove(state));
  counter.inc();
  gauge.set(1);
  gauge.inc();
  histogram.observe(1);
  native.observe(1);
  state.set(Phase::run);
  CHECK(counter.value() == 0);
  CHECK(gauge.value() == 0);
  CHECK(page::samples(registry) == Lines{"g_total{k=\"v\"} 0"});
  const auto again = registry.counter({.name = "a_total"});
  again.inc();
  CHECK_FALSE(registry.remove(counter));
  CHECK(again.value() == 1);
}

TEST_CASE("a family is removed by its name, with the prefix of the scope") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  const auto database = registry.subsystem("db");
  static_cast<void>(database.counter({.name = "queries_total"}));
  registry.info({.name = "build_info"}, {{"version", "1"}});
  const auto callback = registry.gauge_callback({.name = "free"}, [] { return 1.0; });
  CHECK_FALSE(registry.remove("queries_total"));
  CHECK(database.remove("queries_total"));
  CHECK_FALSE(database.remove("queries_total"));
  CHECK(registry.remove(quipu::runtime("build_info")));
  CHECK_FALSE(registry.remove("free"));
  CHECK(page::samples(registry) == Lines{"shop_free 1"});
}

TEST_CASE("a part of a family is removed by its handle, or with its scope's const labels") {
  const auto registry = page::empty_registry();
  const auto part = [&](std::string_view shard, std::string_view zone) {
    return registry.subsystem("", {{"shard", shard}}).counter({.name = "x_total", .const_labels = {{"zone", zone}}});
  };
  part("1", "a").inc(1);
  part("1", "b").inc(2);
  part("2", "a").inc(3);
  CHECK(registry.remove(part("1", "a")));
  CHECK(page::samples(registry) == Lines{R"(x_total{shard="1",zone="b"} 2)", R"(x_total{shard="2",zone="a"} 3)"});
  CHECK_FALSE(registry.subsystem("", {{"shard", "3"}}).remove("x_total"));
  CHECK(registry.subsystem("", {{"shard", "1"}}).remove("x_total"));
  CHECK(page::samples(registry) == Lines{R"(x_total{shard="2",zone="a"} 3)"});
  // The rest of the family still has the name.
  CHECK(refusal([&] { static_cast<void>(registry.gauge({.name = "x"})); }) != accepted);
  CHECK(registry.remove("x_total"));
  CHECK(refusal([&] { static_cast<void>(registry.gauge({.name = "x"})); }) == accepted);
}

TEST_CASE("a page under way shows a family that is removed as a whole") {
  const auto registry = page::empty_registry();
  constexpr int count = 20'000;  // more than a piece
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  for (int i = 0; i < count; ++i) family(i).inc();
  const auto last = registry.gauge({.name = "z"});
  last.set(5);
  const auto stream = quipu::open_page(registry);
  std::string body(stream->next());
  REQUIRE(body.size() < count * std::size_t{12});
  CHECK(registry.remove(family));
  CHECK(registry.remove(last));
  static_cast<void>(registry.gauge({.name = "x_total"}));
  CHECK(page::samples(registry) == Lines{"x_total 0"});
  for (auto piece = stream->next(); !piece.empty(); piece = stream->next()) body += piece;
  CHECK(page::samples(body).size() == count + 1);
  CHECK(page::value(body, "x_total{n=\"19999\"}") == "1");
  CHECK(page::value(body, "z") == "5");
}

TEST_CASE("the series of a removed family end with the last page that shows it") {
  const auto registry = page::empty_registry({.max_series = 2});
  const auto family = registry.counter({.name = "x_total"}, {"k"});
  family("a").inc();
  family("b").inc();
  auto stream = quipu::open_page(registry);
  CHECK(registry.remove(family));
  const auto series_of_new = [&] {
    const auto made = registry.counter({.name = "y_total"}, {"k"});
    made("a").inc();
    const std::string value = page::value(registry, "y_total{k=\"a\"}");
    CHECK(registry.remove(made));
    return value;
  };
  CHECK(series_of_new() == page::absent);  // it went to the overflow series
  stream.reset();
  CHECK(series_of_new() == "1");
  CHECK(family("a").value() == 0);
}

TEST_CASE("a family outlives its registry, but not its removal") {
  quipu::CounterFamily<std::string_view> kept;
  quipu::CounterFamily<std::string_view> removed;
  {
    const auto registry = page::empty_registry();
    kept = registry.counter({.name = "a_total"}, {"k"});
    removed = registry.counter({.name = "b_total"}, {"k"});
    CHECK(registry.remove(removed));
  }
  kept("v").inc();
  removed("v").inc();
  CHECK(kept("v").value() == 1);
  CHECK(removed("v").value() == 0);
}

TEST_CASE("a family may be removed while a batch registers it") {
  const auto registry = page::empty_registry();
  struct Metrics {
    Metrics(const quipu::Scope& scope, const quipu::Registry& registry, bool is_registered_again) {
      const auto x = scope.counter({.name = "x_total"});
      scope.info({.name = "y_info"}, {{"version", "1"}});
      CHECK(registry.remove("x_total"));
      CHECK(registry.remove("y_info"));
      if (is_registered_again) registry.gauge({.name = "x_total"}).set(7);
      x.inc();
      static_cast<void>(scope.counter({.name = "z_total"}));
    }
  };
  static_cast<void>(quipu::batch<Metrics>(registry, "", registry, false));
  CHECK(page::samples(registry) == Lines{"z_total 0"});
  static_cast<void>(quipu::batch<Metrics>(registry, "", registry, true));
  CHECK(page::samples(registry) == Lines{"x_total 7", "z_total 0"});
  struct Failing : Metrics {
    explicit Failing(const quipu::Scope& scope, const quipu::Registry& registry) : Metrics(scope, registry, false) {
      throw quipu::RegistrationError("no");
    }
  };
  CHECK(registry.remove("x_total"));
  CHECK_THROWS_AS(quipu::batch<Failing>(registry, "", registry), quipu::RegistrationError);
  CHECK(page::samples(registry) == Lines{"z_total 0"});
}

// When a series was made.

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using namespace std::chrono_literals;

/// The last whole second.
quipu::WallTime this_second() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

}  // namespace

TEST_CASE("counters and histograms say when they were made, to the second, and never a time to come") {
  const auto registry = page::empty_registry();
  const auto before = this_second();
  registry.counter({.name = "whole_total"}).inc();
  registry.fractional_counter({.name = "real_total"}).inc(0.5);
  registry.histogram({.name = "sizes"}).observe(1);
  const auto after = this_second();
  for (const std::string name : {"whole_total", "real_total", "sizes"}) {
    INFO(name);
    const auto created = shown::series(registry, name).created;
    REQUIRE(created.has_value());
    CHECK(*created >= before);
    CHECK(*created <= after);
  }
}

TEST_CASE("gauges, and what callbacks count, do not say when they began") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "depth"});
  gauge.inc(2);
  CHECK_FALSE(shown::series(registry, "depth").created.has_value());
  gauge.set(3);
  CHECK_FALSE(shown::series(registry, "depth").created.has_value());
  const auto registration = registry.counter_callback({.name = "elsewhere_total"}, [] { return 1.0; });
  CHECK_FALSE(shown::series(registry, "elsewhere_total").created.has_value());
}

TEST_CASE("the time at which a series was made does not move, until it is removed and made again") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter({.name = "x_total"}, {"a"});
  const auto sizes = registry.histogram({.name = "sizes"}, {"a"});
  family("1").inc();
  sizes("1").observe(1);
  const auto first = shown::series(registry, "x_total").created;
  const auto first_size = shown::series(registry, "sizes").created;
  std::this_thread::sleep_for(this_second() + 1s - std::chrono::system_clock::now());
  for (int i = 0; i < 100; ++i) family("1").inc();  // with thread cells from somewhere on
  sizes("1").observe(2);
  CHECK(shown::series(registry, "x_total").created == first);
  CHECK(shown::series(registry, "sizes").created == first_size);
  family.remove("1");
  sizes.clear();
  family("1").inc();
  sizes("1").observe(1);
  CHECK(*shown::series(registry, "x_total").created > *first);
  CHECK(*shown::series(registry, "sizes").created > *first_size);
}

TEST_CASE("a series in a cell that was a gauge's says when it was made, and a gauge in its place can be set") {
  const auto registry = page::empty_registry();
  const auto gauges = registry.gauge({.name = "depth"}, {"a"});
  const auto counters = registry.counter({.name = "x_total"}, {"a"});
  for (int round = 0; round < 3; ++round) {
    const auto before = this_second();
    const auto gauge = gauges("1");
    gauge.inc(2);
    gauge.set(1.5);
    CHECK(shown::series(registry, "depth").value == 1.5);
    gauges.clear();
    const auto counter = counters("1");
    counter.inc();
    gauge.set(7);  // of a removed series
    gauge.inc(7);
    CHECK(shown::series(registry, "x_total").created >= std::optional(before));
    CHECK(counter.value() == 1);
    counters.clear();
  }
}

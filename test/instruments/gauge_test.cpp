#include "quipu/gauge.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "catch.hpp"
#include "support/page.hpp"

namespace {

static_assert(std::is_trivially_copyable_v<quipu::Gauge>);
static_assert(sizeof(quipu::Gauge) <= 2 * sizeof(void*));
static_assert(!std::is_copy_constructible_v<quipu::GaugeTracker>);
static_assert(std::is_nothrow_move_constructible_v<quipu::GaugeTracker>);

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a gauge goes up and down") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "queue_length"});
  CHECK(gauge.value() == 0);
  CHECK(page::value(registry, "queue_length") == "0");
  gauge.set(10);
  CHECK(gauge.value() == 10);
  gauge.inc();
  CHECK(gauge.value() == 11);
  gauge.inc(4);
  CHECK(gauge.value() == 15);
  gauge.dec();
  CHECK(gauge.value() == 14);
  gauge.dec(4);
  CHECK(gauge.value() == 10);
  gauge.add(0.5);
  CHECK(gauge.value() == 10.5);
  gauge.sub(11);
  CHECK(gauge.value() == -0.5);
  gauge.inc(-1);
  CHECK(gauge.value() == -1.5);
  CHECK(page::value(registry, "queue_length") == "-1.5");
}

TEST_CASE("a gauge holds any double") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "temperature_celsius"});
  gauge.set(infinity);
  CHECK(gauge.value() == infinity);
  CHECK(page::value(registry, "temperature_celsius") == "+Inf");
  gauge.set(-infinity);
  CHECK(page::value(registry, "temperature_celsius") == "-Inf");
  gauge.set(std::numeric_limits<double>::quiet_NaN());
  CHECK(std::isnan(gauge.value()));
  CHECK(page::value(registry, "temperature_celsius") == "NaN");
  gauge.set(-273.15);
  CHECK(page::value(registry, "temperature_celsius") == "-273.15");
}

TEST_CASE("set_to_current_time sets seconds since the epoch, with fractions") {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  };
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "last_run_timestamp_seconds"});
  bool has_fraction = false;
  for (int i = 0; i < 10; ++i) {
    const double before = now();
    gauge.set_to_current_time();
    const double after = now();
    REQUIRE(gauge.value() >= before);
    REQUIRE(gauge.value() <= after);
    has_fraction = has_fraction || gauge.value() != std::floor(gauge.value());
  }
  CHECK(has_fraction);
}

TEST_CASE("a tracked gauge is up until the end of the scope") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "in_flight"});
  {
    const auto one = gauge.track();
    CHECK(gauge.value() == 1);
    {
      const auto five = gauge.track(5);
      CHECK(gauge.value() == 6);
    }
    CHECK(gauge.value() == 1);
  }
  CHECK(gauge.value() == 0);
}

TEST_CASE("a tracker that ends early takes its step away once") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "in_flight"});
  {
    auto tracker = gauge.track(2);
    tracker.end();
    CHECK(gauge.value() == 0);
    tracker.end();
    CHECK(gauge.value() == 0);
  }
  CHECK(gauge.value() == 0);
}

TEST_CASE("a tracker that is moved takes its step away once") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "in_flight"});
  const auto other = registry.gauge({.name = "others_in_flight"});

  SECTION("into a new one") {
    std::unique_ptr<quipu::GaugeTracker> kept;
    {
      auto tracker = gauge.track();
      kept = std::make_unique<quipu::GaugeTracker>(std::move(tracker));
      CHECK(gauge.value() == 1);
    }
    CHECK(gauge.value() == 1);
    kept.reset();
    CHECK(gauge.value() == 0);
  }
  SECTION("into one that tracks another gauge, whose step ends") {
    {
      auto tracker = other.track(3);
      CHECK(other.value() == 3);
      tracker = gauge.track(2);
      CHECK(other.value() == 0);
      CHECK(gauge.value() == 2);
    }
    CHECK(other.value() == 0);
    CHECK(gauge.value() == 0);
  }
  SECTION("into itself") {
    auto tracker = gauge.track();
    auto& same = tracker;
    tracker = std::move(same);
    CHECK(gauge.value() == 1);
    tracker.end();
    CHECK(gauge.value() == 0);
  }
}

TEST_CASE("a tracker takes its step along to another gauge") {
  const auto registry = page::empty_registry();
  const auto reading = registry.gauge({.name = "reading"});
  const auto writing = registry.gauge({.name = "writing"});
  {
    auto tracker = reading.track(2);
    tracker.into(writing);
    CHECK(reading.value() == 0);
    CHECK(writing.value() == 2);
    tracker.into(writing);
    CHECK(writing.value() == 2);
    tracker.end();
    tracker.into(reading);
    CHECK(reading.value() == 0);
  }
  CHECK(reading.value() == 0);
  CHECK(writing.value() == 0);
}

TEST_CASE("a family's tracker is told its labels later, and may be told others") {
  const auto registry = page::empty_registry();
  const auto busy = registry.gauge<std::string_view, int>({.name = "busy"}, {"stage", "worker"});
  {
    auto tracker = busy.track();
    CHECK(busy.size() == 0);
    tracker.labels("read", 1);
    CHECK(busy("read", 1).value() == 1);
    tracker.labels("write", 1);
    CHECK(busy("read", 1).value() == 0);
    CHECK(busy("write", 1).value() == 1);
    auto moved = std::move(tracker);
    CHECK(busy("write", 1).value() == 1);
    auto other = busy.track(5);
    other.labels("write", 1);
    CHECK(busy("write", 1).value() == 6);
    other.end();
    other.labels("read", 1);
    CHECK(busy("write", 1).value() == 1);
    CHECK(busy("read", 1).value() == 0);
  }
  CHECK(busy("write", 1).value() == 0);
  { const auto never_told = busy.track(); }
  CHECK(busy.size() == 2);
}

TEST_CASE("a gauge is set to a duration, and to the time that a block took, in seconds") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "last_run_seconds"});
  gauge.set(std::chrono::milliseconds(1500));
  CHECK(gauge.value() == 1.5);
  quipu::GaugeTimer::Clock::duration least{};
  const auto before = quipu::GaugeTimer::Clock::now();
  {
    const auto timer = gauge.time();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    least = timer.elapsed();
    CHECK(gauge.value() == 1.5);
  }
  const auto most = quipu::GaugeTimer::Clock::now() - before;
  CHECK(gauge.value() >= quipu::Seconds(least).count());
  CHECK(gauge.value() <= quipu::Seconds(most).count());

  auto stopped = gauge.time();
  const quipu::Seconds time = stopped.stop();
  CHECK(gauge.value() == time.count());
  gauge.set(7);
  auto discarded = gauge.time();
  discarded.discard();
  CHECK(stopped.stop() == quipu::GaugeTimer::Clock::duration::zero());
  CHECK(gauge.value() == 7);

  const auto family = registry.gauge({.name = "step_seconds"}, {"step"});
  { family.time().stop("load"); }
  CHECK(family.size() == 1);
  CHECK(family("load").value() > 0);
}

TEST_CASE("a gauge without a series holds nothing") {
  const quipu::Gauge nowhere;
  nowhere.set(3);
  nowhere.inc();
  nowhere.set_to_current_time();
  { const auto tracker = nowhere.track(); }
  CHECK(nowhere.value() == 0);

  quipu::Gauge outlived;
  std::optional<quipu::GaugeTracker> tracker;
  {
    const auto registry = page::empty_registry();
    const auto family = registry.gauge({.name = "size"}, {"shard"});
    const auto removed = family("1");
    removed.set(3);
    CHECK(family.remove("1"));
    removed.set(4);
    CHECK(removed.value() == 0);
    CHECK(page::body(registry).empty());
    CHECK(family("1").value() == 0);
    outlived = family("2");
    tracker.emplace(outlived.track());
    CHECK(outlived.value() == 1);
  }
  tracker.reset();
  outlived.set(5);
  CHECK(outlived.value() == 0);
}

TEST_CASE("a tracker of a removed series leaves the series that comes after it alone") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge({.name = "size"}, {"shard"});
  {
    const auto tracker = family("1").track();
    CHECK(family("1").value() == 1);
    CHECK(family.remove("1"));
    CHECK(family("1").value() == 0);
  }
  CHECK(family("1").value() == 0);
}

TEST_CASE("a gauge that is set to a duration shows seconds") {
  const auto registry = page::empty_registry();
  const auto age = registry.gauge({.name = "age_seconds"});
  age.set(std::chrono::milliseconds(1500));
  CHECK(age.value() == 1.5);
  age.set(std::chrono::hours(-1));
  CHECK(age.value() == -3600);
  age.set(std::chrono::duration<float>(0.25F));
  CHECK(age.value() == 0.25);
}

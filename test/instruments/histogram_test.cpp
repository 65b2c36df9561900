#include "quipu/histogram.hpp"

#include <quipu/thread_cell_budget.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"

namespace {

using namespace std::chrono_literals;
using Counts = std::vector<std::uint64_t>;

static_assert(std::is_trivially_copyable_v<quipu::Histogram>);
static_assert(sizeof(quipu::Histogram) <= 3 * sizeof(void*));
static_assert(!std::is_copy_constructible_v<quipu::Timer>);
static_assert(std::is_nothrow_move_constructible_v<quipu::Timer>);

constexpr double infinity = std::numeric_limits<double>::infinity();

double seconds(quipu::Timer::Clock::duration time) { return quipu::Seconds(time).count(); }

}  // namespace

TEST_CASE("a histogram counts values by bucket and adds them up") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0, 4.0}});
  CHECK(histogram.snapshot().counts == Counts{0, 0, 0, 0});
  for (const double value : {0.5, 1.5, 1.75, 3.0, 100.0}) histogram.observe(value);
  const auto snapshot = histogram.snapshot();
  CHECK(snapshot.counts == Counts{1, 2, 1, 1});
  CHECK(snapshot.sum == 106.75);
  CHECK(snapshot.count() == 5);
  CHECK(page::samples(registry) == std::vector<std::string>{
                                       R"(size_bytes_bucket{le="1"} 1)",
                                       R"(size_bytes_bucket{le="2"} 3)",
                                       R"(size_bytes_bucket{le="4"} 4)",
                                       R"(size_bytes_bucket{le="+Inf"} 5)",
                                       "size_bytes_sum 106.75",
                                       "size_bytes_count 5",
                                   });
}

TEST_CASE("reading a histogram leaves it as it is") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0}});
  for (int i = 1; i <= 5; ++i) {
    histogram.observe(0.5);
    histogram.observe(2);
    for (int again = 0; again < 3; ++again) {
      const auto snapshot = histogram.snapshot();
      CHECK(snapshot.counts == Counts(2, static_cast<std::uint64_t>(i)));
      CHECK(snapshot.sum == 2.5 * i);
    }
  }
}

TEST_CASE("a value equal to a bound belongs to that bound's bucket") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {-1.0, 0.0, 0.1, 1e9}});
  for (const double bound : histogram.bounds()) histogram.observe(bound);
  CHECK(histogram.snapshot().counts == Counts{1, 1, 1, 1, 0});
  for (const double bound : histogram.bounds()) histogram.observe(std::nextafter(bound, infinity));
  CHECK(histogram.snapshot().counts == Counts{1, 2, 2, 2, 1});
}

TEST_CASE("zero and negative values have buckets") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "change", .buckets = {-10.0, 0.0, 10.0}});
  for (const double value : {-20.0, -10.0, -5.0, -0.0, 0.0, 5.0, 15.0}) histogram.observe(value);
  CHECK(histogram.snapshot().counts == Counts{2, 3, 1, 1});
  CHECK(histogram.snapshot().sum == -15);
}

TEST_CASE("a histogram without bounds counts and adds up") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = quipu::Buckets(std::vector<double>())});
  CHECK(histogram.bounds().empty());
  histogram.observe(3);
  histogram.observe(-infinity);
  CHECK(histogram.snapshot().counts == Counts{2});
  CHECK(page::value(registry, R"(size_bytes_bucket{le="+Inf"})") == "2");
  CHECK(page::value(registry, "size_bytes_count") == "2");
}

TEST_CASE("durations of any unit are observed in seconds") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "latency_seconds", .buckets = {1ms, 1s, 1min}});
  histogram.observe(500us);
  CHECK(histogram.snapshot().sum == 0.0005);
  histogram.observe(1ms);  // a bound
  CHECK(histogram.snapshot().counts == Counts{2, 0, 0, 0});
  histogram.observe(1000001ns);
  CHECK(histogram.snapshot().counts == Counts{2, 1, 0, 0});
  histogram.observe(2min);
  histogram.observe(std::chrono::hours(1));
  histogram.observe(std::chrono::duration<double, std::milli>(2.5));
  histogram.observe(std::chrono::duration<float>(30));
  CHECK(histogram.snapshot().counts == Counts{2, 2, 1, 2});
  CHECK(histogram.snapshot().sum == Approx(0.0005 + 0.001 + 0.001000001 + 120 + 3600 + 0.0025 + 30));
}

TEST_CASE("NaN is not observed, but counted as a rejected recording") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0}});
  histogram.observe(0.5);
  const auto before = page::rejected("not_a_number");
  histogram.observe(std::numeric_limits<double>::quiet_NaN());
  histogram.observe(-std::numeric_limits<double>::quiet_NaN());
  histogram.observe(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()));
  CHECK(page::rejected("not_a_number") == before + 3);
  CHECK(histogram.snapshot().counts == Counts{1, 0});
  CHECK(histogram.snapshot().sum == 0.5);
}

TEST_CASE("infinities are observed") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}});
  histogram.observe(infinity);
  CHECK(histogram.snapshot().counts == Counts{0, 0, 1});
  CHECK(histogram.snapshot().sum == infinity);
  histogram.observe(-infinity);
  CHECK(histogram.snapshot().counts == Counts{1, 0, 1});
  CHECK(std::isnan(histogram.snapshot().sum));
  CHECK(page::value(registry, "size_bytes_sum") == "NaN");
  CHECK(page::value(registry, "size_bytes_count") == "2");
}

TEST_CASE("a value may be observed any number of times at once") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}});
  histogram.observe(1.5, 1000);
  histogram.observe(0.5, std::uint64_t{1} << 40);
  histogram.observe(3s, 2);
  CHECK(histogram.snapshot().counts == Counts{std::uint64_t{1} << 40, 1000, 2});
  CHECK(histogram.snapshot().sum == 1506 + 0x1p39);
  histogram.observe(7, 0);
  CHECK(histogram.snapshot().count() == (std::uint64_t{1} << 40) + 1002);

  const auto negative = page::rejected("negative_step");
  histogram.observe(1, -1);
  histogram.observe(1ms, std::int8_t{-128});
  CHECK(page::rejected("negative_step") == negative + 2);
  const auto no_number = page::rejected("not_a_number");
  histogram.observe(std::numeric_limits<double>::quiet_NaN(), 3);
  CHECK(page::rejected("not_a_number") == no_number + 1);
  CHECK(histogram.snapshot().count() == (std::uint64_t{1} << 40) + 1002);
  quipu::Histogram().observe(1, 5);
}

TEST_CASE("values observed at once and one by one are the same histogram, also without thread cells") {
  const auto registry = page::empty_registry();
  const auto once = registry.histogram({.name = "once_bytes", .buckets = {1.0, 2.0}});
  const auto each = registry.histogram({.name = "each_bytes", .buckets = {1.0, 2.0}});
  const auto observe = [&] {
    for (const double value : {0.5, 1.0, 1.75, 40.0}) {
      for (int count = 0; count < 5; ++count) {
        once.observe(value, count);
        for (int i = 0; i < count; ++i) each.observe(value);
      }
    }
  };
  observe();
  CHECK(once.snapshot() == each.snapshot());
  quipu::set_thread_cell_budget(0);
  std::thread(observe).join();
  quipu::set_thread_cell_budget(std::size_t{64} << 20);
  CHECK(once.snapshot() == each.snapshot());
  CHECK(once.snapshot().count() == 80);
}

TEST_CASE("a timer observes seconds at the end of the scope") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "latency_seconds"});
  const auto before = quipu::Timer::Clock::now();
  {
    const auto timer = histogram.time();
    std::this_thread::sleep_for(5ms);
    CHECK(timer.elapsed() >= 5ms);
    CHECK(histogram.snapshot().count() == 0);
  }
  const auto most = quipu::Timer::Clock::now() - before;
  CHECK(histogram.snapshot().count() == 1);
  CHECK(histogram.snapshot().sum >= 0.005);
  CHECK(histogram.snapshot().sum <= seconds(most));
}

TEST_CASE("a timer that was stopped observes nothing more") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "latency_seconds"});
  {
    auto timer = histogram.time();
    std::this_thread::sleep_for(2ms);
    const auto time = timer.stop();
    CHECK(time >= 2ms);
    CHECK(histogram.snapshot().count() == 1);
    CHECK(histogram.snapshot().sum == seconds(time));
    CHECK(timer.stop() == quipu::Timer::Clock::duration::zero());
  }
  CHECK(histogram.snapshot().count() == 1);
}

TEST_CASE("a timer that was discarded observes nothing") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "latency_seconds"});
  {
    auto timer = histogram.time();
    timer.discard();
    CHECK(timer.stop() == quipu::Timer::Clock::duration::zero());
  }
  CHECK(histogram.snapshot().count() == 0);
}

TEST_CASE("a timer that is moved observes once") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "latency_seconds"});
  const auto other = registry.histogram({.name = "other_seconds"});

  SECTION("into a new one") {
    std::optional<quipu::Timer> kept;
    {
      auto timer = histogram.time();
      kept.emplace(std::move(timer));
    }
    CHECK(histogram.snapshot().count() == 0);
    kept.reset();
    CHECK(histogram.snapshot().count() == 1);
  }
  SECTION("into one that runs, which stops") {
    {
      auto timer = histogram.time();
      timer = other.time();
      CHECK(histogram.snapshot().count() == 1);
      CHECK(other.snapshot().count() == 0);
    }
    CHECK(histogram.snapshot().count() == 1);
    CHECK(other.snapshot().count() == 1);
  }
  SECTION("into itself") {
    auto timer = histogram.time();
    auto& same = timer;
    timer = std::move(same);
    CHECK(histogram.snapshot().count() == 0);
    timer.stop();
    CHECK(histogram.snapshot().count() == 1);
  }
}

TEST_CASE("a timer can observe in another histogram than the one it was made from") {
  const auto registry = page::empty_registry();
  const auto good = registry.histogram({.name = "good_seconds"});
  const auto bad = registry.histogram({.name = "bad_seconds"});
  {
    auto timer = good.time();
    std::this_thread::sleep_for(2ms);
    timer.into(bad);
  }
  CHECK(good.snapshot().count() == 0);
  CHECK(bad.snapshot().count() == 1);
  CHECK(bad.snapshot().sum >= 0.002);
}

TEST_CASE("a family's timer is told its labels at the end") {
  const auto registry = page::empty_registry();
  const auto family = registry.histogram<std::string_view, int>({.name = "latency_seconds"}, {"route", "code"});
  const auto count = [&](std::string_view route, int code) { return family(route, code).snapshot().count(); };

  SECTION("labels() chooses, the end of the scope observes") {
    {
      auto timer = family.time();
      CHECK(family.size() == 0);
      std::this_thread::sleep_for(2ms);
      timer.labels("/cart", 200);
      timer.labels("/cart", 500);
    }
    CHECK(count("/cart", 200) == 0);
    CHECK(count("/cart", 500) == 1);
    CHECK(family("/cart", 500).snapshot().sum >= 0.002);
  }
  SECTION("stop(values) observes now") {
    {
      auto timer = family.time();
      const auto time = timer.stop("/cart", 200);
      CHECK(count("/cart", 200) == 1);
      CHECK(family("/cart", 200).snapshot().sum == seconds(time));
      timer.labels("/cart", 404);
    }
    CHECK(count("/cart", 200) == 1);
    CHECK(count("/cart", 404) == 0);
  }
  SECTION("without labels, nothing is observed") {
    { const auto timer = family.time(); }
    auto timer = family.time();
    std::this_thread::sleep_for(1ms);
    CHECK(timer.elapsed() >= 1ms);
    CHECK(timer.stop() >= 1ms);
    CHECK(family.size() == 0);
  }
  SECTION("discard") {
    {
      auto timer = family.time();
      timer.labels("/cart", 200);
      timer.discard();
    }
    CHECK(count("/cart", 200) == 0);
  }
  SECTION("moved") {
    {
      auto timer = family.time();
      timer.labels("/cart", 200);
      const auto moved = std::move(timer);
    }
    CHECK(count("/cart", 200) == 1);
  }
}

TEST_CASE("a histogram without a series observes nothing") {
  const quipu::Histogram nowhere;
  nowhere.observe(1);
  nowhere.observe(1ms);
  nowhere.observe(-infinity);
  { const auto timer = nowhere.time(); }
  CHECK(nowhere.bounds().empty());
  CHECK(nowhere.snapshot().count() == 0);
  CHECK(nowhere.snapshot().counts == Counts{0});
  CHECK(nowhere.snapshot().sum == 0);
}

TEST_CASE("a histogram whose series was removed observes nothing") {
  const auto registry = page::empty_registry();
  const auto family = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}}, {"kind"});
  const auto removed = family("a");
  removed.observe(1);
  auto timer = removed.time();
  CHECK(family.remove("a"));
  removed.observe(1);
  timer.stop();
  CHECK(removed.snapshot().counts == Counts{0, 0, 0});
  CHECK(page::body(registry).empty());
  CHECK(family("a").snapshot().counts == Counts{0, 0, 0});
}

TEST_CASE("a histogram whose registry is gone observes nothing") {
  quipu::Histogram histogram;
  {
    const auto registry = page::empty_registry();
    histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}});
    histogram.observe(1);
    CHECK(histogram.snapshot().count() == 1);
  }
  histogram.observe(1);
  { const auto timer = histogram.time(); }
  CHECK(histogram.snapshot().counts == Counts{0, 0, 0});
  CHECK(histogram.bounds().size() == 2);
}

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/buckets.hpp"
#include "quipu/detail/cells/bucket_layout.hpp"
#include "support/page.hpp"

namespace {

using namespace std::chrono_literals;
using Bounds = std::vector<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double largest = std::numeric_limits<double>::max();
constexpr double smallest = std::numeric_limits<double>::denorm_min();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

Bounds bounds(const quipu::Buckets& buckets) { return {buckets.bounds().begin(), buckets.bounds().end()}; }

std::string refusal_of(std::vector<double> bounds) {
  return page::refusal([&] { static_cast<void>(quipu::Buckets(std::move(bounds))); });
}

double next(double value) { return std::nextafter(value, infinity); }
double previous(double value) { return std::nextafter(value, -infinity); }

/// Values that lie where a layout could go wrong.
std::vector<double> values_for(const Bounds& bounds) {
  std::vector<double> values = {0.0, -0.0, infinity, -infinity, largest, -largest, smallest,  -smallest,
                                1.0, -1.0, 1e-300,   1e300,     -1e-300, -1e300,   0x1p-1022, -0x1p-1022};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    const double bound = bounds[i];
    for (const double value : {bound, next(bound), previous(bound), next(next(bound)), previous(previous(bound)),
                               bound / 2, bound * 2, -bound}) {
      values.push_back(value);
    }
    if (i > 0) values.push_back(bounds[i - 1] / 2 + bound / 2);
    // The ends of the cells of a table.
    const auto bits = std::bit_cast<std::uint64_t>(bound);
    for (int shift = 1; shift < 64; shift += 3) {
      const std::uint64_t low = bits >> shift << shift;
      const std::uint64_t high = low | ((std::uint64_t{1} << shift) - 1);
      values.push_back(std::bit_cast<double>(low));
      values.push_back(std::bit_cast<double>(low - 1));
      values.push_back(std::bit_cast<double>(high));
      values.push_back(std::bit_cast<double>(high + 1));
    }
  }
  std::mt19937_64 random(42);
  for (int i = 0; i < 2000; ++i) values.push_back(std::bit_cast<double>(random()));
  std::uniform_real_distribution<double> near(-100, 100);
  for (int i = 0; i < 500; ++i) values.push_back(near(random));
  std::erase_if(values, [](double value) { return std::isnan(value); });
  return values;
}

/// "" if the layout puts every value where a search does.
std::string first_mistake(const Bounds& bounds) {
  const auto& layout = quipu::detail::bucket_layout(bounds);
  if (layout.buckets() != bounds.size() + 1) return "buckets() is " + std::to_string(layout.buckets());
  for (const double value : values_for(bounds)) {
    const auto expected =
        static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin());
    const std::size_t index = layout.index(value);
    if (index != expected) {
      return Catch::Detail::stringify(value) + " is in bucket " + std::to_string(index) + ", not in " +
             std::to_string(expected);
    }
  }
  return "";
}

Bounds neighbours(double first, int count) {
  Bounds result;
  for (double bound = first; static_cast<int>(result.size()) < count; bound = next(bound))
    result.push_back(bound + 0.0);
  return result;
}

Bounds random_bounds(std::mt19937_64& random, std::size_t count) {
  Bounds result;
  while (result.size() < count) {
    const double bound = std::bit_cast<double>(random());
    if (std::isfinite(bound)) result.push_back(bound + 0.0);
  }
  std::ranges::sort(result);
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

}  // namespace

TEST_CASE("the default buckets are those of every Prometheus client") {
  CHECK(bounds(quipu::buckets::defaults()) == Bounds{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10});
  const auto registry = page::empty_registry();
  const auto shown = registry.histogram({.name = "latency_seconds"}).bounds();
  CHECK(Bounds(shown.begin(), shown.end()) == bounds(quipu::buckets::defaults()));
}

TEST_CASE("linear buckets are the same width apart") {
  CHECK(bounds(quipu::buckets::linear(10, 5, 4)) == Bounds{10, 15, 20, 25});
  CHECK(bounds(quipu::buckets::linear(-1, 0.5, 5)) == Bounds{-1, -0.5, 0, 0.5, 1});
  CHECK(bounds(quipu::buckets::linear(0, 1, 1)) == Bounds{0});
  CHECK(bounds(quipu::buckets::linear(100ms, 250ms, 3)) == Bounds{0.1, 0.35, 0.6});
  CHECK(bounds(quipu::buckets::linear(1min, 30s, 3)) == Bounds{60, 90, 120});
  CHECK(bounds(quipu::buckets::linear(0, 1, 500)).back() == 499);
}

TEST_CASE("exponential buckets are the same factor apart") {
  CHECK(bounds(quipu::buckets::exponential(100, 1.2, 3)) == Bounds{100, 120, 144});
  CHECK(bounds(quipu::buckets::exponential(1, 2, 5)) == Bounds{1, 2, 4, 8, 16});
  CHECK(bounds(quipu::buckets::exponential(0.5, 10, 1)) == Bounds{0.5});
  CHECK(bounds(quipu::buckets::exponential(1ms, 2, 12)) ==
        Bounds{0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048});
  CHECK(bounds(quipu::buckets::exponential(1us, 10, 7)).size() == 7);
}

TEST_CASE("exponential_range ends where it is told") {
  CHECK(bounds(quipu::buckets::exponential_range(1, 4, 2)) == Bounds{1, 4});
  const auto found = bounds(quipu::buckets::exponential_range(1, 100, 10));
  REQUIRE(found.size() == 10);
  CHECK(found.front() == 1);
  CHECK(found.back() == 100);
  const Bounds expected = {1, 1.6681, 2.7825, 4.6415, 7.7426, 12.9154, 21.5443, 35.9381, 59.9484, 100};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-4));

  const auto durations = bounds(quipu::buckets::exponential_range(1ms, 10s, 5));
  REQUIRE(durations.size() == 5);
  CHECK(durations.front() == 0.001);
  CHECK(durations[1] == Approx(0.01));
  CHECK(durations[2] == Approx(0.1));
  CHECK(durations[3] == Approx(1));
  CHECK(durations.back() == 10);
}

TEST_CASE("exponential_range covers the whole range of doubles") {
  const auto found = bounds(quipu::buckets::exponential_range(smallest, largest, 500));
  CHECK(found.size() == 500);
  CHECK(found.front() == smallest);
  CHECK(found.back() == largest);
}

TEST_CASE("bounds are given as numbers, durations or a vector") {
  CHECK(bounds({1, 2.5, 1e9}) == Bounds{1, 2.5, 1e9});
  CHECK(bounds({5ms, 1s, 2min}) == Bounds{0.005, 1, 120});
  CHECK(bounds(quipu::Buckets(Bounds{-1, 0, 1})) == Bounds{-1, 0, 1});
  CHECK(bounds(quipu::Buckets(Bounds())).empty());
  CHECK(bounds(quipu::Buckets(Bounds{-largest, smallest, largest})) == Bounds{-largest, smallest, largest});
}

TEST_CASE("a trailing +Inf is dropped") {
  CHECK(bounds({1, 2, infinity}) == Bounds{1, 2});
  CHECK(bounds(quipu::Buckets(Bounds{infinity})).empty());
}

TEST_CASE("a bound of -0 is 0") {
  const auto found = bounds({-0.0, 1.0});
  CHECK(found == Bounds{0, 1});
  CHECK_FALSE(std::signbit(found[0]));
}

TEST_CASE("bounds that do not increase are refused, with both") {
  CHECK(refusal_of({1, 3, 2}) == "buckets: bound 2 (2) is not above bound 1 (3); bounds increase strictly");
  CHECK(refusal_of({1, 1}) == "buckets: bound 1 (1) is not above bound 0 (1); bounds increase strictly");
  CHECK(refusal_of({-0.0, 0.0}) == "buckets: bound 1 (0) is not above bound 0 (0); bounds increase strictly");
  CHECK(page::missing(page::refusal([] {
                        static_cast<void>(quipu::Buckets({1s, 500ms}));
                      }),
                      {"bound 1 (0.5)", "bound 0 (1)"}) == "");
}

TEST_CASE("bounds that are no finite numbers are refused") {
  CHECK(refusal_of({1, not_a_number}) == "buckets: bound 1 is nan; bounds are finite numbers");
  CHECK(refusal_of({not_a_number}) == "buckets: bound 0 is nan; bounds are finite numbers");
  CHECK(refusal_of({-infinity, 1}) == "buckets: bound 0 is -inf; bounds are finite numbers");
  CHECK(refusal_of({1, infinity, infinity}) == "buckets: bound 1 is inf; bounds are finite numbers");
  CHECK(refusal_of({infinity, 1}) == "buckets: bound 0 is inf; bounds are finite numbers");
}

TEST_CASE("more than 500 bounds are refused") {
  Bounds many;
  for (int i = 0; i < 500; ++i) many.push_back(i);
  CHECK(bounds(quipu::Buckets(many)).size() == 500);
  many.push_back(infinity);
  CHECK(bounds(quipu::Buckets(many)).size() == 500);
  many.back() = 1000;
  CHECK(refusal_of(many) == "buckets: 501 bounds, but a histogram has at most 500");
}

TEST_CASE("linear says what it needs") {
  const auto refusal = [](double start, double width, int count) {
    return page::refusal([=] { static_cast<void>(quipu::buckets::linear(start, width, count)); });
  };
  CHECK(refusal(0, 1, 0) == "buckets: linear(start 0, width 1, count 0) needs a count from 1 to 500");
  CHECK(refusal(0, 1, -1) == "buckets: linear(start 0, width 1, count -1) needs a count from 1 to 500");
  CHECK(refusal(0, 1, 501) == "buckets: linear(start 0, width 1, count 501) needs a count from 1 to 500");
  CHECK(refusal(1, 0, 2) == "buckets: linear(start 1, width 0, count 2) needs a width above 0");
  CHECK(refusal(1, -2, 2) == "buckets: linear(start 1, width -2, count 2) needs a width above 0");
  CHECK(refusal(1, not_a_number, 2) == "buckets: linear(start 1, width nan, count 2) needs a width above 0");
  CHECK(refusal(not_a_number, 1, 2) == "buckets: linear(start nan, width 1, count 2) needs finite bounds");
  CHECK(refusal(-infinity, 1, 2) == "buckets: linear(start -inf, width 1, count 2) needs finite bounds");
  CHECK(refusal(1e308, 1e308, 2) == "buckets: linear(start 1e+308, width 1e+308, count 2) needs finite bounds");
  // A width that is lost in rounding.
  CHECK(page::missing(refusal(1e18, 1, 3), {"bound 1", "is not above bound 0"}) == "");
}

TEST_CASE("exponential says what it needs") {
  const auto refusal = [](double start, double factor, int count) {
    return page::refusal([=] { static_cast<void>(quipu::buckets::exponential(start, factor, count)); });
  };
  CHECK(refusal(1, 2, 0) == "buckets: exponential(start 1, factor 2, count 0) needs a count from 1 to 500");
  CHECK(refusal(1, 2, 501) == "buckets: exponential(start 1, factor 2, count 501) needs a count from 1 to 500");
  CHECK(refusal(0, 2, 3) == "buckets: exponential(start 0, factor 2, count 3) needs a start above 0");
  CHECK(refusal(-1, 2, 3) == "buckets: exponential(start -1, factor 2, count 3) needs a start above 0");
  CHECK(refusal(1, 1, 3) == "buckets: exponential(start 1, factor 1, count 3) needs a factor above 1");
  CHECK(refusal(1, 0.5, 3) == "buckets: exponential(start 1, factor 0.5, count 3) needs a factor above 1");
  CHECK(refusal(1, not_a_number, 3) == "buckets: exponential(start 1, factor nan, count 3) needs a factor above 1");
  CHECK(refusal(not_a_number, 2, 3) == "buckets: exponential(start nan, factor 2, count 3) needs a start above 0");
  // Not fewer bounds than asked for, although a trailing +Inf is dropped elsewhere.
  CHECK(refusal(1e300, 1e10, 2) ==
        "buckets: exponential(start 1e+300, factor 10000000000, count 2) needs finite bounds");
  CHECK(refusal(1e300, 1e10, 5) ==
        "buckets: exponential(start 1e+300, factor 10000000000, count 5) needs finite bounds");
  CHECK(refusal(infinity, 2, 1) == "buckets: exponential(start inf, factor 2, count 1) needs finite bounds");
}

TEST_CASE("exponential_range says what it needs") {
  const auto refusal = [](double min, double max, int count) {
    return page::refusal([=] { static_cast<void>(quipu::buckets::exponential_range(min, max, count)); });
  };
  CHECK(refusal(1, 2, 1) == "buckets: exponential_range(min 1, max 2, count 1) needs a count from 2 to 500");
  CHECK(refusal(1, 2, 501) == "buckets: exponential_range(min 1, max 2, count 501) needs a count from 2 to 500");
  CHECK(refusal(0, 2, 3) == "buckets: exponential_range(min 0, max 2, count 3) needs a min above 0");
  CHECK(refusal(2, 2, 3) == "buckets: exponential_range(min 2, max 2, count 3) needs a finite max above min");
  CHECK(refusal(2, 1, 3) == "buckets: exponential_range(min 2, max 1, count 3) needs a finite max above min");
  CHECK(refusal(2, infinity, 3) == "buckets: exponential_range(min 2, max inf, count 3) needs a finite max above min");
  CHECK(refusal(2, not_a_number, 3) ==
        "buckets: exponential_range(min 2, max nan, count 3) needs a finite max above min");
}

TEST_CASE("a layout puts every value where a search does") {
  SECTION("the defaults") { CHECK(first_mistake(bounds(quipu::buckets::defaults())) == ""); }
  SECTION("none") { CHECK(first_mistake({}) == ""); }
  SECTION("one") {
    for (const double bound : {1.0, 0.0, -1.0, 0.1, smallest, -smallest, largest, -largest, 1e-300}) {
      INFO(bound);
      CHECK(first_mistake({bound}) == "");
    }
  }
  SECTION("two") {
    const Bounds ends = {-largest, -1, -smallest, 0, smallest, 1, next(1), 2, largest};
    for (std::size_t i = 0; i < ends.size(); ++i) {
      for (std::size_t j = i + 1; j < ends.size(); ++j) {
        INFO(ends[i] << " and " << ends[j]);
        CHECK(first_mistake({ends[i], ends[j]}) == "");
      }
    }
  }
  SECTION("exponential") {
    CHECK(first_mistake(bounds(quipu::buckets::exponential(1ms, 2, 12))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::exponential(1e-9, 1.1, 200))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::exponential(smallest, 4, 500))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::exponential_range(1e-300, 1e300, 500))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::exponential(1, 10, 300))) == "");
  }
  SECTION("linear") {
    CHECK(first_mistake(bounds(quipu::buckets::linear(0, 1, 10))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::linear(0, 0.1, 500))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::linear(-250, 1, 500))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::linear(-1000, 1.7, 500))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::linear(-50, 1, 20))) == "");
    CHECK(first_mistake(bounds(quipu::buckets::linear(1e15, 1, 500))) == "");
  }
  SECTION("next to each other") {
    for (const double first : {1.0, previous(1.0), -smallest * 20, -1.0, previous(largest), -largest, 0x1p-1022}) {
      INFO(first);
      CHECK(first_mistake(neighbours(first, 2)) == "");
    }
    CHECK(first_mistake(neighbours(previous(previous(1.0)), 5)) == "");
    CHECK(first_mistake(neighbours(-smallest * 250, 500)) == "");
    CHECK(first_mistake(neighbours(1, 500)) == "");
  }
  SECTION("crowded at one end, far away at the other") {
    Bounds crowded = neighbours(1, 100);
    crowded.push_back(largest);
    CHECK(first_mistake(crowded) == "");
    crowded.insert(crowded.begin(), -largest);
    CHECK(first_mistake(crowded) == "");
    CHECK(first_mistake({-largest, -1, -smallest, 0, smallest, 1, largest}) == "");
    CHECK(first_mistake({0, 1, 1e100}) == "");
    CHECK(first_mistake({0.001, 1000, 1001, 1002, 1003}) == "");
  }
  SECTION("random") {
    std::mt19937_64 random(7);
    for (int i = 0; i < 60; ++i) {
      const auto some = random_bounds(random, 1 + random() % 40);
      INFO(Catch::Detail::stringify(some));
      CHECK(first_mistake(some) == "");
    }
    CHECK(first_mistake(random_bounds(random, 500)) == "");
  }
}

TEST_CASE("equal bounds share one layout") {
  const auto& layout = quipu::detail::bucket_layout(Bounds{1, 2, 3.25});
  CHECK(&quipu::detail::bucket_layout(Bounds{1, 2, 3.25}) == &layout);
  CHECK(&quipu::detail::bucket_layout(Bounds{1, 2, 3.5}) != &layout);
}

namespace {

/// The first time that is not put where its seconds are, in nanoseconds; -1 if there is none.
std::int64_t first_misplaced(const std::vector<double>& bounds) {
  const auto& layout = quipu::detail::bucket_layout(bounds);
  std::vector<std::int64_t> times = {0, 1, 2, 3, std::numeric_limits<std::int64_t>::max()};
  for (const double bound : bounds) {
    if (bound < 0 || bound > 9e9) continue;
    const auto near = static_cast<std::int64_t>(bound * 1e9);
    for (std::int64_t time = std::max<std::int64_t>(near - 3, 0); time <= near + 3; ++time) times.push_back(time);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 10'000; ++i) times.push_back(static_cast<std::int64_t>(random() >> (1 + random() % 63)));
  for (const std::int64_t time : times) {
    const double seconds = quipu::Seconds(std::chrono::nanoseconds(time)).count();
    const auto expected = std::ranges::lower_bound(bounds, seconds) - bounds.begin();
    if (layout.nanoseconds->index(time) != static_cast<std::size_t>(expected)) return time;
  }
  return -1;
}

}  // namespace

TEST_CASE("a time in nanoseconds belongs where the same time in seconds does") {
  const auto bounds = [](const quipu::Buckets& buckets) {
    return std::vector<double>(buckets.bounds().begin(), buckets.bounds().end());
  };
  CHECK(first_misplaced(bounds(quipu::buckets::defaults())) == -1);
  CHECK(first_misplaced(bounds(quipu::buckets::exponential(1e-9, 1.5, 100))) == -1);
  CHECK(first_misplaced(bounds(quipu::buckets::exponential(1e-3, 1.02, 500))) == -1);
  CHECK(first_misplaced(bounds(quipu::buckets::linear(-1, 0.1, 40))) == -1);
  CHECK(first_misplaced(bounds(quipu::buckets::linear(0, 1e-9, 200))) == -1);
  CHECK(first_misplaced(bounds(quipu::buckets::exponential(1e-12, 3, 100))) == -1);
  CHECK(first_misplaced({}) == -1);
  CHECK(first_misplaced({-5}) == -1);
  CHECK(first_misplaced({1e-30, 1e-20, 1e300}) == -1);
}

TEST_CASE("a negative time is observed as negative seconds") {
  quipu::Registry registry;
  const auto histogram = registry.histogram({.name = "h", .buckets = {-1, 0, 1}});
  histogram.observe(-2s);
  histogram.observe(std::chrono::nanoseconds(-1));
  histogram.observe(std::chrono::nanoseconds(1));
  CHECK(histogram.snapshot().counts == std::vector<std::uint64_t>{1, 1, 1, 0});
}

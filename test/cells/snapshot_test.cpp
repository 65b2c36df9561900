#include "quipu/snapshot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/detail/cells/native_layout.hpp"
#include "quipu/error.hpp"
#include "support/page.hpp"

namespace {

using quipu::HistogramSnapshot;
using quipu::NativeHistogramSnapshot;
using quipu::detail::native_bound;
using Counts = std::vector<std::uint64_t>;
using Buckets = std::vector<NativeHistogramSnapshot::Bucket>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const quipu::SnapshotError& error) {
    return error.what();
  }
  return "(nothing was refused)";
}

/// Values of many sizes and both signs, and some zeros.
double any_value(std::mt19937_64& random) {
  if (random() % 20 == 0) return 0;
  const double size = std::ldexp(1 + std::generate_canonical<double, 53>(random), static_cast<int>(random() % 12) - 6);
  return random() % 4 == 0 ? -size : size;
}

}  // namespace

// The expected values were worked out by hand from Prometheus' rule. `promtool test rules` gives the same.
TEST_CASE("a quantile lies in its bucket as far as its rank is") {
  const HistogramSnapshot snapshot{.bounds = {1, 2, 4}, .counts = {2, 4, 4, 0}, .sum = 20};
  CHECK(snapshot.count() == 10);
  CHECK(snapshot.mean() == 2);
  CHECK(snapshot.quantile(0) == 0);
  CHECK(snapshot.quantile(0.1) == 0.5);
  CHECK(snapshot.quantile(0.2) == 1);
  CHECK(snapshot.quantile(0.4) == 1.5);
  CHECK(snapshot.quantile(0.8) == 3);
  CHECK(snapshot.quantile(1) == 4);
}

TEST_CASE("a quantile in the +Inf bucket is the last bound") {
  const HistogramSnapshot snapshot{.bounds = {1, 2}, .counts = {1, 0, 9}, .sum = 900};
  CHECK(snapshot.quantile(0.1) == 1);
  CHECK(snapshot.quantile(0.5) == 2);
  CHECK(snapshot.quantile(1) == 2);
}

TEST_CASE("a quantile in a first bucket that ends at 0 or below is the bound") {
  const HistogramSnapshot negative{.bounds = {-5, 0, 5}, .counts = {4, 4, 2, 0}, .sum = 0};
  CHECK(negative.quantile(0.2) == -5);
  CHECK(negative.quantile(0.6) == -2.5);
  CHECK(HistogramSnapshot{.bounds = {0, 1}, .counts = {1, 1, 0}, .sum = 0}.quantile(0.5) == 0);
  CHECK(HistogramSnapshot{.bounds = {4}, .counts = {1, 0}, .sum = 0}.quantile(0.5) == 2);
}

TEST_CASE("quantiles that there are not are NaN or infinite, as in PromQL") {
  const HistogramSnapshot some{.bounds = {1, 2}, .counts = {0, 3, 0}, .sum = 4};
  CHECK(std::isnan(some.quantile(not_a_number)));
  CHECK(some.quantile(-0.1) == -infinity);
  CHECK(some.quantile(1.1) == infinity);
  CHECK(std::isnan(some.quantile(0)));  // 0/0 of the first bucket
  CHECK(std::isnan(HistogramSnapshot{.bounds = {1}, .counts = {0, 0}, .sum = 0}.quantile(0.5)));
  CHECK(std::isnan(HistogramSnapshot{.bounds = {}, .counts = {7}, .sum = 0}.quantile(0.5)));
  CHECK(std::isnan(HistogramSnapshot().quantile(0.5)));
  CHECK(std::isnan(HistogramSnapshot().mean()));
  CHECK(HistogramSnapshot().count() == 0);

  const NativeHistogramSnapshot native{.positive = {{1, 3}}, .counts = {3}, .sum = 4};
  CHECK(std::isnan(native.quantile(not_a_number)));
  CHECK(native.quantile(-0.1) == -infinity);
  CHECK(native.quantile(1.1) == infinity);
  CHECK(std::isnan(NativeHistogramSnapshot().quantile(0.5)));
  CHECK(std::isnan(NativeHistogramSnapshot().mean()));
}

TEST_CASE("a quantile of a native histogram lies in its bucket on a logarithmic scale") {
  // (1, 2] and (4, 8]
  const NativeHistogramSnapshot snapshot{.schema = 0, .positive = {{1, 4}, {3, 4}}, .counts = {8}, .sum = 30};
  CHECK(snapshot.quantile(0) == 1);
  CHECK(snapshot.quantile(0.25) == Approx(std::sqrt(2)));
  CHECK(snapshot.quantile(0.375) == Approx(std::exp2(0.75)));
  CHECK(snapshot.quantile(0.5) == 4);  // counted from above, where this is the lower end
  CHECK(snapshot.quantile(0.75) == Approx(std::sqrt(32)));
  CHECK(snapshot.quantile(1) == 8);

  const NativeHistogramSnapshot mirrored{.schema = 0, .negative = {{1, 4}, {3, 4}}, .counts = {8}, .sum = -30};
  CHECK(mirrored.quantile(0) == -8);
  CHECK(mirrored.quantile(0.25) == Approx(-std::sqrt(32)));
  CHECK(mirrored.quantile(0.75) == Approx(-std::sqrt(2)));
  CHECK(mirrored.quantile(1) == -1);
}

TEST_CASE("a quantile in the zero bucket is interpolated linearly, on that side of 0 where there are values") {
  NativeHistogramSnapshot snapshot{.zero_threshold = 0.5, .zero_count = 4, .positive = {{1, 4}}, .counts = {8}};
  CHECK(snapshot.quantile(0.25) == 0.25);
  snapshot.negative = std::move(snapshot.positive);
  snapshot.positive.clear();
  CHECK(snapshot.quantile(0.75) == -0.25);
  snapshot.positive = snapshot.negative;
  CHECK(snapshot.quantile(0.5) == 0);
  CHECK(snapshot.quantile(5.0 / 12) == Approx(-0.25));
  CHECK(NativeHistogramSnapshot{.zero_threshold = 1, .zero_count = 2, .counts = {2}}.quantile(0.25) == -0.5);
  // A bucket that the zero bucket cuts begins where that one ends.
  const NativeHistogramSnapshot cut{.zero_threshold = 1.5, .positive = {{1, 4}}, .counts = {4}};
  CHECK(cut.quantile(0) == 1.5);
}

TEST_CASE("a quantile among infinities is infinite, and none is larger than the largest number otherwise") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "a"});
  histogram.observe(std::numeric_limits<double>::max(), 2);
  CHECK(histogram.snapshot().quantile(1) == std::numeric_limits<double>::max());
  histogram.observe(infinity, 2);
  histogram.observe(-infinity, 2);
  const auto snapshot = histogram.snapshot();
  CHECK(snapshot.quantile(0) == -infinity);
  CHECK(snapshot.quantile(0.3) == -infinity);
  CHECK(std::isfinite(snapshot.quantile(0.5)));
  CHECK(snapshot.quantile(0.9) == infinity);
  CHECK(snapshot.quantile(1) == infinity);

  const auto tiny = registry.native_histogram({.name = "tiny", .zero_threshold = 0});
  tiny.observe(std::numeric_limits<double>::denorm_min(), 2);
  CHECK(tiny.snapshot().quantile(0.5) >= 0);
  CHECK(tiny.snapshot().quantile(0.5) <= std::numeric_limits<double>::denorm_min());
}

TEST_CASE("a native quantile is in the bucket of the value that has its rank") {
  const auto registry = page::empty_registry();
  std::mt19937_64 random(5);
  for (int round = 0; round < 20; ++round) {
    const auto family = registry.native_histogram<int>({.name = "a", .zero_threshold = 0.1}, {"round"});
    const auto histogram = family(round);
    std::vector<double> values;
    for (int i = 0; i < 200; ++i) {
      values.push_back(any_value(random));
      histogram.observe(values.back());
    }
    std::ranges::sort(values);
    const auto snapshot = histogram.snapshot();
    const double width = native_bound(1, snapshot.schema);
    for (std::size_t rank = 1; rank < values.size(); ++rank) {
      const double value = values[rank - 1];
      const double found = snapshot.quantile((static_cast<double>(rank) - 0.5) / 200);
      INFO(value << " " << found << " " << snapshot.schema);
      if (std::fabs(value) <= 0.1) {
        CHECK(std::fabs(found) <= 0.1);
      } else {
        CHECK(found / value <= width * (1 + 1e-9));
        CHECK(value / found <= width * (1 + 1e-9));
      }
    }
  }
}

TEST_CASE("merged histograms are the histogram of all their observations") {
  const auto registry = page::empty_registry();
  const auto family = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}}, {"shard"});
  family("a").observe(0.5, 3);
  family("b").observe(5, 2);
  HistogramSnapshot all;
  all.merge(family("a").snapshot()).merge(HistogramSnapshot()).merge(family("b").snapshot());
  CHECK(all == HistogramSnapshot{.bounds = {1, 2}, .counts = {3, 0, 2}, .sum = 11.5});
  CHECK(family("a").snapshot().merge(family("b").snapshot()) == all);
}

TEST_CASE("merged native histograms are the histogram of all their observations, in the coarser buckets") {
  const auto registry = page::empty_registry();
  const auto family = [&](const char* name, double factor, double zero) {
    return registry.native_histogram<int>(
        {.name = quipu::runtime(name), .growth_factor = factor, .zero_threshold = zero, .max_buckets = 400}, {"n"});
  };
  const auto fine = family("fine", 1.1, 0.01);
  const auto coarse = family("coarse", 1.5, 0.02);
  // The zero bucket of `coarse` would cut a bucket of `fine`, and with that one, a bucket of `coarse`.
  double zero = 0;
  for (std::int32_t index = -100; zero < 0.02; ++index) zero = native_bound(index, 1);
  const auto both = family("both", 1.5, zero);
  std::mt19937_64 random(7);
  for (int n = 0; n < 30; ++n) {
    fine(n).observe(0.0199);
    coarse(n).observe(0.0201);
    both(n).observe(0.02, 2);
    for (int i = 0; i < 60; ++i) {
      const double value = any_value(random);
      (i % 2 == 0 ? fine : coarse)(n).observe(value);
      both(n).observe(value);
    }
    NativeHistogramSnapshot all;
    all.merge(fine(n).snapshot()).merge(coarse(n).snapshot());
    auto other_way = coarse(n).snapshot();
    other_way.merge(fine(n).snapshot()).merge(NativeHistogramSnapshot());
    const auto expected = both(n).snapshot();
    CHECK(all.schema == expected.schema);
    CHECK(all.zero_threshold == expected.zero_threshold);
    CHECK(all.zero_count == expected.zero_count);
    CHECK(all.positive == expected.positive);
    CHECK(all.negative == expected.negative);
    CHECK(all.counts == expected.counts);
    CHECK(all.sum == Approx(expected.sum));
    CHECK(all.created == std::min(fine(n).snapshot().created, coarse(n).snapshot().created));
    CHECK(other_way.positive == all.positive);
    CHECK(other_way.zero_count == all.zero_count);
  }
}

TEST_CASE("a native histogram without observations leaves the one it is merged with as it is") {
  const auto registry = page::empty_registry();
  const auto fine = registry.native_histogram({.name = "fine", .growth_factor = 1.1});
  const auto coarse = registry.native_histogram({.name = "coarse", .growth_factor = 60'000, .buckets = {{1.0}}});
  fine.observe(3);
  auto all = fine.snapshot();
  CHECK(all.merge(coarse.snapshot()) == fine.snapshot());
  CHECK(coarse.snapshot().merge(all) == all);
}

TEST_CASE("histograms with other bounds are neither merged nor compared") {
  const HistogramSnapshot one{.bounds = {1, 2}, .counts = {1, 0, 0}, .sum = 1};
  const HistogramSnapshot other{.bounds = {1, 3}, .counts = {1, 0, 0}, .sum = 1};
  HistogramSnapshot changed = one;
  CHECK(refusal([&] { changed.merge(other); }) ==
        "cannot merge snapshots: the one histogram has the bounds [1, 2], the other [1, 3]; take histograms with the "
        "same "
        "bounds");
  CHECK(changed == one);
  CHECK(refusal([&] { static_cast<void>(one.since(other)); }).starts_with("cannot compare snapshots: "));

  const NativeHistogramSnapshot plain{.positive = {{1, 1}}, .counts = {1}};
  const NativeHistogramSnapshot classic{.positive = {{1, 1}}, .bounds = {1}, .counts = {0, 1}};
  NativeHistogramSnapshot copy = plain;
  CHECK(refusal([&] { copy.merge(classic); }).starts_with("cannot merge snapshots: "));
  CHECK(refusal([&] { static_cast<void>(classic.since(plain)); }).starts_with("cannot compare snapshots: "));
}

TEST_CASE("the difference of two snapshots is what was observed between them") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}});
  histogram.observe(0.5);
  const auto before = histogram.snapshot();
  histogram.observe(1.5, 3);
  histogram.observe(7);
  const auto between = histogram.snapshot().since(before);
  CHECK(between == HistogramSnapshot{.bounds = {1, 2}, .counts = {0, 3, 1}, .sum = 11.5});
  CHECK(between.quantile(0.5) == Approx(1 + 2.0 / 3));
  CHECK(histogram.snapshot().since({}) == histogram.snapshot());
  CHECK(histogram.snapshot().since(histogram.snapshot()).count() == 0);
}

TEST_CASE("the difference of two native snapshots is what was observed between them, in the coarser buckets") {
  const auto registry = page::empty_registry();
  std::mt19937_64 random(3);
  const auto family = registry.native_histogram<int>(
      {.name = "a", .zero_threshold = 0, .max_buckets = 12, .max_zero_threshold = 0.1}, {"n"});
  for (int n = 0; n < 30; ++n) {
    const auto histogram = family(n);
    for (int i = 0; i < 5; ++i) histogram.observe(any_value(random));
    const auto before = histogram.snapshot();
    std::vector<double> values;
    for (int i = 0; i < n; ++i) values.push_back(any_value(random));
    for (const double value : values) histogram.observe(value);
    const auto after = histogram.snapshot();
    const auto between = after.since(before);
    CHECK(between.schema == after.schema);
    CHECK(between.zero_threshold == after.zero_threshold);
    CHECK(between.count() == values.size());
    CHECK(between.counts == Counts{values.size()});
    auto again = before;
    again.merge(between);
    CHECK(again.positive == after.positive);
    CHECK(again.negative == after.negative);
    CHECK(again.zero_count == after.zero_count);
    CHECK(again.sum == Approx(after.sum));
    for (const auto& bucket : between.positive) CHECK(bucket.count > 0);
  }
}

TEST_CASE("since a histogram began anew, it has observed all that it shows") {
  const auto registry = page::empty_registry();
  const auto family = registry.histogram({.name = "size_bytes", .buckets = {1.0, 2.0}}, {"n"});
  family("a").observe(0.5, 5);
  const auto before = family("a").snapshot();
  family.remove("a");
  family("a").observe(0.5);
  CHECK(family("a").snapshot().since(before) == family("a").snapshot());

  const auto native = registry.native_histogram({.name = "native"}, {"n"});
  native("a").observe(3, 5);
  const auto native_before = native("a").snapshot();
  native.remove("a");
  native("a").observe(3, 7);  // more than before: only the time tells
  CHECK(native("a").snapshot().since(native_before) == native("a").snapshot());
  native("a").observe(3);
  auto fewer = native("a").snapshot();
  fewer.positive.front().count = 1;
  CHECK(fewer.since(native("a").snapshot()) == fewer);
}

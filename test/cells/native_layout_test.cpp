// Where values belong in a native histogram.

#include "quipu/detail/cells/native_layout.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "catch.hpp"

namespace {

using namespace quipu::detail;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double largest = std::numeric_limits<double>::max();
constexpr double smallest = std::numeric_limits<double>::denorm_min();
constexpr int lowest_schema = -4;
constexpr int finest_schema = 8;

/// The bounds of a schema in [0.5, 1).
std::vector<double> bounds_of(int schema) {
  std::vector<double> bounds;
  for (int k = 0; k < 1 << schema; ++k) bounds.push_back(native_bound(k - (1 << schema), schema));
  return bounds;
}

/// What the format's definition says, word for word.
int plain_index(double value, int schema) {
  const bool is_infinite = std::isinf(value);
  if (is_infinite) value = largest;
  int exponent = 0;
  const double part = std::frexp(std::fabs(value), &exponent);
  int index = 0;
  if (schema > 0) {
    static const std::vector<double> bounds[] = {bounds_of(0), bounds_of(1), bounds_of(2), bounds_of(3), bounds_of(4),
                                                 bounds_of(5), bounds_of(6), bounds_of(7), bounds_of(8)};
    const auto& of_schema = bounds[schema];
    const auto place = std::ranges::lower_bound(of_schema, part) - of_schema.begin();
    index = static_cast<int>(place) + (exponent - 1) * (1 << schema);
  } else {
    index = part == 0.5 ? exponent - 1 : exponent;
    index = (index + (1 << -schema) - 1) >> -schema;
  }
  return is_infinite ? index + 1 : index;
}

struct Place {
  int index;
  bool is_negative;
  bool is_zero;

  friend bool operator==(const Place&, const Place&) = default;
};

Place plain_place(double value, const NativeResolution& resolution) {
  if (std::fabs(value) <= resolution.zero_threshold) return {0, false, true};
  return {plain_index(value, resolution.schema), value < 0, false};
}

Place place(NativeKey key, int schema) {
  if (is_native_zero(key)) return {0, (key & native_sign) != 0, true};
  return {native_index(key, schema), (key & native_sign) != 0, false};
}

/// How many of the values are somewhere else.
int misplaced(const std::vector<double>& values, const NativeResolution& resolution) {
  const NativeLayout layout = native_layout(resolution);
  return static_cast<int>(std::ranges::count_if(values, [&](double value) {
    const NativeKey key = layout.key(value);
    return (key & native_classic) != 0 || place(key, resolution.schema) != plain_place(value, resolution);
  }));
}

/// Doubles of any size: random bits, but no NaN.
std::vector<double> any_doubles(std::size_t count) {
  std::mt19937_64 random(1);
  std::vector<double> values;
  while (values.size() < count) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isnan(value)) values.push_back(value);
  }
  return values;
}

void add_around(std::vector<double>& values, double value) {
  for (const double near : {value, std::nextafter(value, 0), std::nextafter(value, infinity)}) {
    values.push_back(near);
    values.push_back(-near);
  }
}

}  // namespace

TEST_CASE("the bounds of native histograms are those of Prometheus, to the last bit") {
  CHECK(bounds_of(0) == std::vector<double>{0.5});
  CHECK(bounds_of(1) == std::vector<double>{0.5, 0.7071067811865475});
  CHECK(bounds_of(2) == std::vector<double>{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144});
  CHECK(bounds_of(3) == std::vector<double>{0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
                                            0.7071067811865475, 0.7711054127039704, 0.8408964152537144,
                                            0.9170040432046711});
  // Every second bound is one of the schema below.
  for (int schema = 1; schema <= finest_schema; ++schema) {
    const auto fine = bounds_of(schema);
    const auto coarse = bounds_of(schema - 1);
    for (std::size_t k = 0; k < coarse.size(); ++k) CHECK(fine[2 * k] == coarse[k]);
  }
  // They are not all the doubles nearest to the powers.
  const auto bounds = bounds_of(finest_schema);
  int different = 0;
  for (std::size_t k = 0; k < bounds.size(); ++k) {
    const auto nearest = static_cast<double>(std::exp2(static_cast<long double>(k) / 256) / 2);
    const auto steps = std::bit_cast<std::int64_t>(bounds[k]) - std::bit_cast<std::int64_t>(nearest);
    CHECK(std::abs(steps) <= 4);
    different += static_cast<int>(steps != 0);
  }
  CHECK(different == 178);
}

TEST_CASE("1 is the upper bound of bucket 0 in every schema, and the largest double that of the last finite one") {
  for (int schema = lowest_schema; schema <= finest_schema; ++schema) {
    CAPTURE(schema);
    const int last = schema >= 0 ? 1024 << schema : 1024 >> -schema;
    CHECK(native_bound(0, schema) == 1);
    CHECK(native_bound(last, schema) == largest);
    CHECK(native_bound(last + 1, schema) == infinity);
    CHECK(native_bound(last - 1, schema) < largest);
    const NativeLayout layout = native_layout({schema, 0});
    CHECK(native_index(layout.key(1), schema) == 0);
    CHECK(native_index(layout.key(largest), schema) == last);
    CHECK(native_index(layout.key(infinity), schema) == last + 1);
    CHECK(native_index(layout.key(-infinity), schema) == last + 1);
    CHECK((layout.key(-infinity) & native_sign) != 0);
  }
}

TEST_CASE("values of any size are in the bucket that the format's definition says") {
  auto values = any_doubles(200'000);
  std::mt19937_64 random(2);
  std::lognormal_distribution<double> usual(0, 3);
  for (int i = 0; i < 40'000; ++i) values.push_back(usual(random));
  for (int i = 0; i < 20'000; ++i) values.push_back(std::bit_cast<double>(random() >> 12));  // subnormal
  for (const double edge : {0.0, smallest, std::numeric_limits<double>::min(), 1.0, largest, infinity}) {
    values.push_back(edge);
    values.push_back(-edge);
  }
  for (int schema = lowest_schema; schema <= finest_schema; ++schema) {
    for (const double threshold : {0.0, 0x1p-128, 0.3, 1.0}) {
      CAPTURE(schema, threshold);
      CHECK(misplaced(values, {schema, threshold}) == 0);
    }
  }
}

TEST_CASE("a value at a bound belongs to the bucket below it, in every bucket of every schema") {
  for (int schema = lowest_schema; schema <= finest_schema; ++schema) {
    CAPTURE(schema);
    std::vector<double> values;
    const int first = plain_index(smallest, schema);
    const int last = plain_index(largest, schema);
    int wrong = 0;
    for (int index = first; index <= last; ++index) {
      const double bound = native_bound(index, schema);
      wrong += static_cast<int>(index > first && bound <= native_bound(index - 1, schema) && bound > 0x1p-1022);
      if (bound > 0x1p-1022) wrong += static_cast<int>(plain_index(bound, schema) != index);
      if (bound > 0) add_around(values, bound);
    }
    std::erase(values, infinity);
    CHECK(wrong == 0);
    CHECK(misplaced(values, {schema, 0}) == 0);
    CHECK(misplaced(values, {schema, 0x1p-128}) == 0);
  }
}

TEST_CASE("a bucket in a coarser resolution is the one that its values have there") {
  const auto values = any_doubles(20'000);
  for (int from = lowest_schema; from <= finest_schema; ++from) {
    for (int to = lowest_schema; to <= from; ++to) {
      for (const int widened : {-2000, -40, 0, 900}) {
        const double threshold =
            widened == -2000 ? 0x1p-128 : native_bound(plain_index(std::ldexp(1, widened), to), to);
        const NativeResolution fine{from, 0x1p-128};
        const NativeResolution coarse{to, threshold};
        const NativeLayout in_fine = native_layout(fine);
        const NativeLayout in_coarse = native_layout(coarse);
        const auto wrong = std::ranges::count_if(values, [&](double value) {
          return coarser(in_fine.key(value) | 5, fine, coarse) != (in_coarse.key(value) | 5);
        });
        CAPTURE(from, to, threshold);
        CHECK(wrong == 0);
      }
    }
  }
}

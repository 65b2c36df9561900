#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// The same as BucketLayout, for times in whole nanoseconds.
///
/// A time in seconds is the number of nanoseconds divided by 1e9, and rounded. A bound here is the largest number of
/// nanoseconds that does not come out above the bound in seconds. So the bucket is found without waiting for the
/// division. The chain of dependent instructions is also shorter, which counts for a timer that has just read the
/// clock.
struct NanosecondLayout {
  struct Entry {
    std::int64_t bound;  // of the first bucket that a time in this interval may belong to
    std::size_t bucket;  // the index of that bucket
  };

  const Entry* table;          // 2^detail intervals for each power of two
  const std::int64_t* bounds;  // and, at the end, the largest std::int64_t
  std::uint32_t detail;
  std::uint32_t comparisons;  // the largest number of bounds in one interval; at least 1

  [[nodiscard]] static std::size_t interval(std::int64_t count, std::uint32_t detail) noexcept {
    const auto number = static_cast<std::uint64_t>(count) | 1;
    const int zeros = std::countl_zero(number);
    const std::size_t power = static_cast<std::size_t>(63 - zeros) << detail;
    const std::size_t part = (number << zeros) >> (63 - detail);  // the leading one, and `detail` bits after it
    return power + part - (std::size_t{1} << detail);
  }

  /// The bucket of `count`, which is not negative.
  [[nodiscard]] std::size_t index(std::int64_t count) const noexcept {
    const Entry& entry = table[interval(count, detail)];
    std::size_t i = entry.bucket + static_cast<std::size_t>(count > entry.bound);
    for (std::uint32_t n = comparisons; n > 1; --n) i += static_cast<std::size_t>(count > bounds[i]);
    return i;
  }
};

/// Where a value belongs among a histogram's bounds, found without a search.
///
/// Doubles of one sign have the order of their bit patterns, so `ordered()` can turn any double into an integer of the
/// same order. The upper bits of that integer (the exponent, and as much of the mantissa as it takes to tell the bounds
/// apart) say in which interval the value lies, and index a table. The entry of an interval holds the number of bounds
/// that lie below the interval, and the next bound. The value is compared with that bound as a double. If several
/// bounds share an interval, which no usual layout has, there are as many comparisons. The cost does not depend on the
/// number of buckets, and there is no branch on the value.
///
/// A layout is made once for each distinct list of bounds and lives until the process ends, so an instrument may hold a
/// plain pointer to it.
struct BucketLayout {
  struct Entry {
    double bound;        // of the first bucket that a value in this interval may belong to
    std::size_t bucket;  // the index of that bucket
  };

  const double* bounds;  // `count` finite bounds, then +Inf
  const Entry* table;
  std::int64_t first_interval;  // has the first entry, which also serves all values below
  std::int64_t last_entry;      // the index of the last entry, which also serves all values above
  std::uint32_t count;
  std::uint32_t shift;        // 1 … 63
  std::uint32_t comparisons;  // the largest number of bounds in one interval; at least 1
  const NanosecondLayout* nanoseconds;

  [[nodiscard]] static std::uint64_t ordered(double value) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint64_t>(static_cast<std::int64_t>(bits) >> 63);
    return bits ^ (sign | (std::uint64_t{1} << 63));
  }

  /// The bucket of `value`, which is not NaN: 0 … count. The last one is the +Inf bucket.
  [[nodiscard]] std::size_t index(double value) const noexcept {
    // Clamped to 0 … last_entry by sign masks. A branch, as compilers make it, could not be predicted.
    auto entry = static_cast<std::int64_t>(ordered(value) >> shift) - first_interval;
    entry &= ~(entry >> 63);
    const std::int64_t room = last_entry - entry;
    entry += room & (room >> 63);
    std::size_t i = table[entry].bucket + static_cast<std::size_t>(value > table[entry].bound);
    for (std::uint32_t n = comparisons; n > 1; --n) i += static_cast<std::size_t>(value > bounds[i]);
    return i;
  }

  [[nodiscard]] std::size_t buckets() const noexcept { return std::size_t{count} + 1; }
};

/// The layout of a single bucket, +Inf. It exists at compile time.
inline constexpr double no_bound = std::numeric_limits<double>::infinity();
inline constexpr BucketLayout::Entry no_entry{no_bound, 0};
inline constexpr std::array<NanosecondLayout::Entry, 64> no_nanosecond_entries{};
inline constexpr std::int64_t no_nanosecond_bound = std::numeric_limits<std::int64_t>::max();
inline constexpr NanosecondLayout no_nanosecond_bounds{no_nanosecond_entries.data(), &no_nanosecond_bound, 0, 1};
inline constexpr BucketLayout no_bounds{&no_bound, &no_entry, 0, 0, 0, 63, 1, &no_nanosecond_bounds};

/// The layout for these bounds (finite, strictly increasing). Thread-safe. Takes a lock. Throws std::bad_alloc.
QUIPU_EXPORT [[nodiscard]] const BucketLayout& bucket_layout(std::span<const double> bounds);

}  // namespace quipu::detail

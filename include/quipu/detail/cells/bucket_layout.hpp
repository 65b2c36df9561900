#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace quipu::detail {

/// The same as BucketLayout for times in whole nanoseconds. A time in seconds is that number divided by 1e9, and
/// rounded; a bound here is the largest number that does not come out above the bound in seconds. So the bucket is
/// known before the division is done, and from fewer instructions one after the other: a timer that has read the clock
/// waits for them.
struct NanosecondLayout {
  struct Entry {
    std::int64_t bound;  // of the first bucket that a time of this cell may belong to
    std::size_t bucket;  // and its index
  };

  const Entry* table;          // of 2^detail cells for each power of two
  const std::int64_t* bounds;  // then the largest number there is
  std::uint32_t detail;
  std::uint32_t comparisons;  // how many bounds share a cell at the most; at least 1

  [[nodiscard]] static std::size_t cell(std::int64_t count, std::uint32_t detail) noexcept {
    const auto number = static_cast<std::uint64_t>(count) | 1;
    const int zeros = std::countl_zero(number);
    const std::size_t power = static_cast<std::size_t>(63 - zeros) << detail;
    const std::size_t part = (number << zeros) >> (63 - detail);  // the leading one, and `detail` bits after it
    return power + part - (std::size_t{1} << detail);
  }

  /// The bucket of `count`, which is not negative.
  [[nodiscard]] std::size_t index(std::int64_t count) const noexcept {
    const Entry& entry = table[cell(count, detail)];
    std::size_t i = entry.bucket + static_cast<std::size_t>(count > entry.bound);
    for (std::uint32_t n = comparisons; n > 1; --n) i += static_cast<std::size_t>(count > bounds[i]);
    return i;
  }
};

/// Where a value belongs among a histogram's bounds, found without a search.
///
/// Doubles of one sign are ordered as their bit patterns are, so `ordered()` turns any double into an integer of the
/// same order. The upper bits of it (exponent, and as much of the mantissa as it takes to part the bounds) index a
/// table. An entry says how many bounds lie wholly below its cell, and which is the next one; with that one the value
/// is compared, as a double. Where several bounds share a cell, which no usual layout has, as many are compared. The
/// cost does not depend on the number of buckets, and there is no branch on the value.
///
/// Layouts are made once for each distinct list of bounds and live until the process ends, so an instrument may hold a
/// plain pointer to one.
struct BucketLayout {
  struct Entry {
    double bound;        // of the first bucket that a value of this cell may belong to
    std::size_t bucket;  // and its index
  };

  const double* bounds;  // `count` finite bounds, then +Inf
  const Entry* table;
  std::int64_t first_cell;  // values below it are looked up in it
  std::int64_t last_entry;  // likewise for values above: the index of the last table entry
  std::uint32_t count;
  std::uint32_t shift;        // 1 … 63
  std::uint32_t comparisons;  // how many bounds share a cell at the most; at least 1
  const NanosecondLayout* nanoseconds;

  [[nodiscard]] static std::uint64_t ordered(double value) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint64_t>(static_cast<std::int64_t>(bits) >> 63);
    return bits ^ (sign | (std::uint64_t{1} << 63));
  }

  /// The bucket of `value`, which is not NaN: 0 … count, where count is the +Inf bucket.
  [[nodiscard]] std::size_t index(double value) const noexcept {
    // Between 0 and last_entry, by sign masks: which side a value is on cannot be predicted, and compilers branch.
    auto entry = static_cast<std::int64_t>(ordered(value) >> shift) - first_cell;
    entry &= ~(entry >> 63);
    const std::int64_t room = last_entry - entry;
    entry += room & (room >> 63);
    std::size_t i = table[entry].bucket + static_cast<std::size_t>(value > table[entry].bound);
    for (std::uint32_t n = comparisons; n > 1; --n) i += static_cast<std::size_t>(value > bounds[i]);
    return i;
  }

  [[nodiscard]] std::size_t cells() const noexcept { return std::size_t{count} + 1; }
};

/// A layout that is there without being made: of one bucket, +Inf.
inline constexpr double no_bound = std::numeric_limits<double>::infinity();
inline constexpr BucketLayout::Entry no_entry{no_bound, 0};
inline constexpr std::array<NanosecondLayout::Entry, 64> no_nanosecond_entries{};
inline constexpr std::int64_t no_nanosecond_bound = std::numeric_limits<std::int64_t>::max();
inline constexpr NanosecondLayout no_nanosecond_bounds{no_nanosecond_entries.data(), &no_nanosecond_bound, 0, 1};
inline constexpr BucketLayout no_bounds{&no_bound, &no_entry, 0, 0, 0, 63, 1, &no_nanosecond_bounds};

/// The layout for these bounds (finite, strictly increasing). Takes a lock and may allocate.
[[nodiscard]] const BucketLayout& bucket_layout(std::span<const double> bounds);

}  // namespace quipu::detail

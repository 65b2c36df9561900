#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace quipu::detail {

/// Where a value belongs among a histogram's bounds, found without a search.
///
/// Doubles of one sign are ordered as their bit patterns are, so `ordered()` turns any double into an integer of the
/// same order. The upper bits of it (exponent, and as much of the mantissa as it takes to part the bounds) index a
/// table that says how many bounds lie wholly below that cell. The bounds inside the cell, one at most for all usual
/// layouts, are then compared as doubles. The cost does not depend on the number of buckets, and there is no branch to
/// mispredict.
///
/// Layouts are made once for each distinct list of bounds and live until the process ends, so an instrument may hold a
/// plain pointer to one.
struct BucketLayout {
  const double* bounds;        // `count` finite bounds, then +Inf
  const std::uint16_t* table;  // for each cell: how many bounds are below all of its values
  std::int64_t first_cell;     // values below it are looked up in it
  std::int64_t last_entry;     // likewise for values above: the index of the last table entry
  std::uint32_t count;
  std::uint32_t shift;    // 1 … 63
  std::uint32_t fix_ups;  // the most bounds that share a cell

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
    std::size_t i = table[entry];
    for (std::uint32_t n = fix_ups; n != 0; --n) i += static_cast<std::size_t>(value > bounds[i]);
    return i;
  }

  [[nodiscard]] std::size_t cells() const noexcept { return std::size_t{count} + 1; }
};

/// The layout for these bounds (finite, strictly increasing). Takes a lock and may allocate.
[[nodiscard]] const BucketLayout& bucket_layout(std::span<const double> bounds);

}  // namespace quipu::detail

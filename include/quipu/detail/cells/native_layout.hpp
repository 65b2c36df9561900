#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace quipu::detail {

/// How finely a native histogram tells values apart. Of schema n (-4 … 8), bucket i holds the values in (b^(i-1), b^i],
/// where b = 2^(2^-n), and a negative bucket mirrors it. Values up to the zero threshold, of both signs, are in the
/// zero bucket. Two buckets of schema n, of which the upper one is even, are one of schema n-1.
struct NativeResolution {
  std::int32_t schema = 3;
  double zero_threshold = 0;

  friend bool operator==(const NativeResolution&, const NativeResolution&) = default;
};

/// A bucket, and a classic one, as one number: from the top, the index and a bias, by which it is above 1; whether it
/// is negative; and in seven bits the classic bucket. 1 stands for the index of the zero bucket. Ordered by index.
using NativeKey = std::uint32_t;

inline constexpr int native_index_shift = 8;
inline constexpr NativeKey native_sign = 1u << 7;
inline constexpr NativeKey native_classic = native_sign - 1;  // the mask of the classic bucket
inline constexpr NativeKey native_zero = 1u << native_index_shift;

/// Powers of two are counted from 2^-1104: a bucket of schema -4 spans 16 of them, so it is a multiple of 16.
inline constexpr std::int32_t native_bias = 1104;

[[nodiscard]] constexpr std::int32_t native_bias_of(std::int32_t schema) noexcept {
  return schema >= 0 ? native_bias << schema : native_bias >> -schema;
}
[[nodiscard]] constexpr bool is_native_zero(NativeKey key) noexcept { return key >> native_index_shift == 1; }
[[nodiscard]] constexpr std::int32_t native_index(NativeKey key, std::int32_t schema) noexcept {
  return static_cast<std::int32_t>(key >> native_index_shift) - native_bias_of(schema);
}

/// The upper bound of a bucket; of the last but one, the largest finite double, as the last one is for infinities.
[[nodiscard]] double native_bound(std::int32_t index, std::int32_t schema) noexcept;

/// The bucket `key` of one resolution in a coarser one: of a lower schema, or with a wider zero bucket, or both.
[[nodiscard]] NativeKey coarser(NativeKey key, const NativeResolution& from, const NativeResolution& to) noexcept;

/// Where a value belongs, found without a search, as in BucketLayout.
///
/// An index is a power of two, which the exponent of the double says, and a part of it. Of schema n, 2^n bounds part a
/// power. They are further apart than 2^-(n+1), so the upper n+1 bits of the mantissa index a table whose entries have
/// one bound each, at most: an entry says how many bounds of the power lie below it, and which is its own. Schemas from
/// 0 down have one bound, at the power itself, and join powers.
///
/// The bounds are the numbers that Prometheus and its other clients have, to the last bit, which are not all the
/// nearest to the true powers. A value at a bound belongs to the bucket below it.
struct NativeLayout {
  struct Part {
    std::uint64_t bound;  // a mantissa; the largest number if there is none
    std::uint64_t below;
  };

  const Part* parts;
  std::uint64_t zero;   // the zero threshold's bits
  std::uint32_t base;   // what is added to an index before powers are joined
  std::uint8_t split;   // the logarithm of how many buckets a power has
  std::uint8_t joined;  // of how many powers a bucket has
  std::uint8_t part_shift;

  /// The key of `value`, which is not NaN, with classic bucket 0.
  [[nodiscard]] NativeKey key(double value) const noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t magnitude = bits & (sign_bit - 1);
    if (magnitude <= zero) return native_zero;
    const auto sign = static_cast<NativeKey>(bits >> 63) * native_sign;
    if (magnitude - smallest_normal >= infinity - smallest_normal) [[unlikely]] {
      return key_of_extreme(magnitude) | sign;
    }
    return key_of(magnitude >> mantissa_bits, magnitude & (smallest_normal - 1)) | sign;
  }

 private:
  static constexpr int mantissa_bits = 52;
  static constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t smallest_normal = std::uint64_t{1} << mantissa_bits;
  static constexpr std::uint64_t infinity = std::uint64_t{2047} << mantissa_bits;

  [[nodiscard]] NativeKey key_of(std::uint64_t exponent, std::uint64_t mantissa) const noexcept {
    const Part& part = parts[mantissa >> part_shift];
    const std::uint64_t index =
        (exponent << split) + base + part.below + static_cast<std::uint64_t>(mantissa > part.bound);
    return static_cast<NativeKey>(index >> joined) << native_index_shift;
  }
  /// Of a number below the normal ones, or an infinity.
  [[nodiscard]] NativeKey key_of_extreme(std::uint64_t magnitude) const noexcept;
};

[[nodiscard]] NativeLayout native_layout(const NativeResolution& resolution) noexcept;

}  // namespace quipu::detail

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// How finely a native histogram tells values apart. In schema n (-4 … 8), bucket i holds the values in (b^(i-1), b^i],
/// where b = 2^(2^-n). A negative bucket mirrors it. Values of either sign up to the zero threshold are in the zero
/// bucket. Buckets i-1 and i of schema n, where i is even, together are bucket i/2 of schema n-1.
struct NativeResolution {
  std::int32_t schema = 3;
  double zero_threshold = 0;

  friend bool operator==(const NativeResolution&, const NativeResolution&) = default;
};

/// A native bucket and a classic one, as one number. From the top: the index plus a bias, which makes it greater than
/// 1; one bit for the sign; seven bits for the classic bucket. For the zero bucket the upper part is 1. Keys have the
/// order of the indices.
using NativeKey = std::uint32_t;

inline constexpr int native_index_shift = 8;
inline constexpr NativeKey native_sign = 1u << 7;
inline constexpr NativeKey native_classic = native_sign - 1;  // the mask of the classic bucket
inline constexpr NativeKey native_zero = 1u << native_index_shift;

/// Powers of two are counted from 2^-1104. It is a multiple of 16, as a bucket of schema -4 spans 16 powers.
inline constexpr std::int32_t native_bias = 1104;

[[nodiscard]] constexpr std::int32_t native_bias_of(std::int32_t schema) noexcept {
  return schema >= 0 ? native_bias << schema : native_bias >> -schema;
}
[[nodiscard]] constexpr bool is_native_zero(NativeKey key) noexcept { return key >> native_index_shift == 1; }
[[nodiscard]] constexpr std::int32_t native_index(NativeKey key, std::int32_t schema) noexcept {
  return static_cast<std::int32_t>(key >> native_index_shift) - native_bias_of(schema);
}

/// The index, in schema `to`, of the bucket that has `index` in schema `from`. `to` is not higher.
[[nodiscard]] constexpr std::int32_t coarser_index(std::int32_t index, std::int32_t from, std::int32_t to) noexcept {
  return (index + (1 << (from - to)) - 1) >> (from - to);  // rounded up
}

/// The upper bound of a bucket. For the last but one it is the largest finite double, as the last one is for
/// infinities.
[[nodiscard]] QUIPU_EXPORT double native_bound(std::int32_t index, std::int32_t schema) noexcept;

/// The key, in resolution `to`, of the bucket that is `key` in resolution `from`. `to` is coarser: it has a lower
/// schema, or a wider zero bucket, or both.
[[nodiscard]] QUIPU_EXPORT NativeKey coarser(NativeKey key, const NativeResolution& from,
                                             const NativeResolution& to) noexcept;

/// Where a value belongs, found without a search, as in BucketLayout.
///
/// An index consists of a power of two, which is the exponent of the double, and a part of that power. In schema n, 2^n
/// bounds divide each power. They are further apart than 2^-(n+1), so the upper n+1 bits of the mantissa can index a
/// table with at most one bound in each entry. An entry holds that bound, and the number of bounds of the power below
/// the entry. Schemas 0 and below have one bound for each power, at the power itself, and join powers.
///
/// The bounds are those of Prometheus and its other clients, to the last bit. Not all of them are the doubles nearest
/// to the true powers. A value equal to a bound belongs to the bucket below the bound.
struct NativeLayout {
  struct Part {
    std::uint64_t bound;  // a mantissa; the largest std::uint64_t if there is none
    std::uint64_t below;  // how many bounds of the power lie below
  };

  const Part* parts;
  std::uint64_t zero;       // the bits of the zero threshold
  std::uint32_t base;       // added to an index before powers are joined
  std::uint8_t split;       // a power has 2^split buckets
  std::uint8_t joined;      // a bucket has 2^joined powers
  std::uint8_t part_shift;  // the upper bits of a mantissa, shifted by this, index `parts`

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
  /// The key of a subnormal number or an infinity.
  QUIPU_EXPORT [[nodiscard]] NativeKey key_of_extreme(std::uint64_t magnitude) const noexcept;
};

[[nodiscard]] QUIPU_EXPORT NativeLayout native_layout(const NativeResolution& resolution) noexcept;

}  // namespace quipu::detail

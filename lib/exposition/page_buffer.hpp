#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace quipu::detail {

// Most of a page is texts of a few bytes and whole numbers, so the functions for these make no calls. Each function
// returns the position after what it put. It may write up to `slack` bytes beyond that.

inline constexpr std::size_t slack = 32;

/// Copies blocks of 16 bytes. The last block overlaps the one before it.
[[nodiscard]] inline char* put(char* to, std::string_view text) noexcept {
  constexpr std::size_t block = 16;
  const char* from = text.data();
  const std::size_t size = text.size();
  const auto copy_ends = [&]<std::size_t part>(std::integral_constant<std::size_t, part>) {
    char last[part];
    std::memcpy(last, from + size - part, part);
    std::memcpy(to, from, part);
    std::memcpy(to + size - part, last, part);
  };
  if (size >= block) {
    for (std::size_t i = 0; i + block < size; i += block) std::memcpy(to + i, from + i, block);
    std::memcpy(to + size - block, from + size - block, block);
  } else if (size >= 8) {
    copy_ends(std::integral_constant<std::size_t, 8>());
  } else if (size >= 4) {
    copy_ends(std::integral_constant<std::size_t, 4>());
  } else {
    for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
  }
  return to + size;
}

/// Up to eight digits, without a branch. The number is split into halves, these into pairs, and these into digits, each
/// step for all parts at once. Divisions are multiplications by a rounded inverse, which is exact in these ranges.
[[nodiscard]] inline std::uint64_t eight_digits(std::uint64_t number) noexcept {
  const std::uint64_t fours = number / 10'000 | (number % 10'000) << 32;
  const std::uint64_t hundreds = ((fours * 10'486) >> 20) & 0x0000'007F'0000'007F;  // exact below 10,000
  const std::uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
  const std::uint64_t tens = ((twos * 103) >> 10) & 0x000F'000F'000F'000F;  // exact below 100
  return tens | (twos - 10 * tens) << 8;
}

[[nodiscard]] inline char* put(char* to, std::uint64_t whole) noexcept {
  constexpr std::uint64_t limit = 100'000'000;
  constexpr std::uint64_t zeros = 0x3030'3030'3030'3030;
  if (whole >= limit) [[unlikely]] {
    to = put(to, whole / limit);
    const std::uint64_t digits = eight_digits(whole % limit) + zeros;
    std::memcpy(to, &digits, sizeof digits);
    return to + sizeof digits;
  }
  const std::uint64_t digits = eight_digits(whole);
  const auto leading = static_cast<unsigned>(std::countr_zero(digits | std::uint64_t{1} << 56)) / 8;  // zeros
  const std::uint64_t shown = (digits + zeros) >> (8 * leading);
  std::memcpy(to, &shown, sizeof shown);
  return to + sizeof shown - leading;
}

/// The shortest digits that read back as the same double, in the form of Go's 'g'.
[[nodiscard]] char* put(char* to, double real) noexcept;

/// Puts the text with a backslash before backslash, line feed (as n) and `quote`. Everything else stays as it is. Takes
/// up to twice the text's size.
[[nodiscard]] char* put_escaped(char* to, std::string_view text, char quote) noexcept;

/// The piece of a page that an encoder is writing. It grows as needed, and keeps its memory for the next piece.
class PageBuffer {
 public:
  explicit PageBuffer(std::size_t capacity);

  /// The place for the next `bytes`, with `slack` behind them. Throws std::bad_alloc.
  [[nodiscard]] char* reserve(std::size_t bytes) {
    if (capacity_ - size_ < bytes) [[unlikely]] {
      grow(bytes);
    }
    return bytes_.get() + size_;
  }
  void end_at(const char* end) noexcept { size_ = static_cast<std::size_t>(end - bytes_.get()); }

  void put(std::string_view text) { end_at(detail::put(reserve(text.size()), text)); }
  void put_escaped(std::string_view text, char quote) {
    end_at(detail::put_escaped(reserve(2 * text.size()), text, quote));
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }
  void clear() noexcept { size_ = 0; }

 private:
  void grow(std::size_t bytes);

  std::size_t capacity_;  // without the slack
  std::size_t size_ = 0;
  std::unique_ptr<char[]> bytes_;
};

}  // namespace quipu::detail

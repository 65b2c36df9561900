#pragma once

#include <cstddef>
#include <string_view>

namespace quipu::detail {

struct Utf8Part {
  std::size_t size;  // bytes
  bool is_valid;
};

/// The code point at the front of `text`, or the longest beginning of one that breaks off there.
constexpr Utf8Part first_utf8_part(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  std::size_t size = 0;
  unsigned char low = 0x80;  // the range of the second byte
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  for (std::size_t i = 1; i < size; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {size, true};
}

/// Whether `text` is well-formed UTF-8 (Unicode, table 3-7): no overlong forms, no surrogates, nothing beyond U+10FFFF.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const Utf8Part part = first_utf8_part(text);
    if (!part.is_valid) return false;
    text.remove_prefix(part.size);
  }
  return true;
}

}  // namespace quipu::detail

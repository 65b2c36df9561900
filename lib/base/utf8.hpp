#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/utf8.hpp"

namespace quipu::detail {

/// Whether a byte of UTF-8 belongs to the code point that began before it.
constexpr bool continues_code_point(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0u) == 0x80u; }

/// How many code points there are in valid UTF-8.
[[nodiscard]] constexpr std::size_t count_code_points(std::string_view text) noexcept {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues_code_point));
}

/// What stands for an ill-formed part of a text: U+FFFD.
inline constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Removes the code point at the front of `text`, which is valid UTF-8 and not empty, and returns it.
std::uint32_t take_code_point(std::string_view& text) noexcept;

/// `text` with U+FFFD for every ill-formed part, as web browsers and Go do it. Of a result of more than `max_size`
/// bytes, the code points that fit into so many. Reads hardly more of `text` than it returns.
[[nodiscard]] QUIPU_EXPORT std::string to_utf8(std::string_view text, std::size_t max_size = std::string::npos);

}  // namespace quipu::detail

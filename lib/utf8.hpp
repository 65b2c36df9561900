#pragma once

#include <string>
#include <string_view>

namespace quipu::detail {

/// Whether `text` is well-formed UTF-8 (Unicode, table 3-7): no overlong forms, no surrogates, nothing beyond U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// `text` with U+FFFD for every ill-formed part, as web browsers and Go do it.
[[nodiscard]] std::string to_utf8(std::string_view text);

}  // namespace quipu::detail

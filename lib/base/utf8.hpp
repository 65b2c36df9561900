#pragma once

#include <string>
#include <string_view>

#include "quipu/detail/base/utf8.hpp"

namespace quipu::detail {

/// `text` with U+FFFD for every ill-formed part, as web browsers and Go do it.
[[nodiscard]] std::string to_utf8(std::string_view text);

}  // namespace quipu::detail

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// One line, for people: control characters and invalid UTF-8 are shown as \x1F, and text of more than `max_size` bytes
/// is cut where a code point ends.
[[nodiscard]] QUIPU_EXPORT std::string printable(std::string_view text, std::size_t max_size = 300);

}  // namespace quipu::detail

#pragma once

#include <cstddef>
#include <string_view>

namespace quipu::http {

/// More than so many at a time would need more descriptors than programs have.
inline constexpr std::size_t scrape_limit = 1000;

/// Throws ListenError if it cannot be ExposerOptions::path.
void check_path(std::string_view path);

}  // namespace quipu::http

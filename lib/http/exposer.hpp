#pragma once

#include <cstddef>
#include <string_view>

#include "quipu/detail/base/export.hpp"

namespace quipu::http {

/// The limit of ExposerOptions::max_concurrent_scrapes. More would need more descriptors than programs usually have.
inline constexpr std::size_t scrape_limit = 1000;
/// The least for ExposerOptions::max_response_bytes.
inline constexpr std::size_t min_response_bytes = std::size_t{1} << 20;

/// Throws ListenError for an invalid ExposerOptions::path.
QUIPU_EXPORT void check_path(std::string_view path);

}  // namespace quipu::http

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "quipu/exposition.hpp"

namespace quipu {

/// Whether this build can compress.
[[nodiscard]] bool can_gzip() noexcept;

/// A page that is compressed while it is made, in pieces of up to 64 KiB. The input is `begun`, then `piece`, the
/// latest piece of `page`, and then the rest of `page`. Throws std::bad_alloc, as does `next()`. Requires `can_gzip()`.
[[nodiscard]] std::unique_ptr<PageStream> gzip(std::unique_ptr<PageStream> page, std::string begun,
                                               std::string_view piece);

}  // namespace quipu

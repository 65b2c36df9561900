#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "quipu/exposition.hpp"

namespace quipu {

/// Whether this build can compress.
[[nodiscard]] bool can_gzip() noexcept;

/// The rest of a page, compressed while it is made, in pieces of up to 64 KiB: `begun` and `piece`, and then what is
/// left of `page`, whose latest piece that is. Throws std::bad_alloc, as does `next()`. Not where `can_gzip()` is
/// false.
[[nodiscard]] std::unique_ptr<PageStream> gzip(std::unique_ptr<PageStream> page, std::string begun,
                                               std::string_view piece);

}  // namespace quipu

#pragma once

#include <mutex>

namespace quipu::detail {

/// For changes to native histograms. Held for a moment, while nothing is waited for, and so taken under guards too; and
/// over a fork, so that the child does not find it taken.
extern std::mutex native_lock;

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// Why a recording was not counted.
enum class Rejection : std::uint8_t { negative_step, not_a_number, unknown_state };
inline constexpr std::size_t rejection_kinds = 3;
/// How many recordings were rejected since the start of the process, by reason.
QUIPU_EXPORT inline constinit std::atomic<std::uint64_t> rejections[rejection_kinds]{};

inline void reject(Rejection why) noexcept {
  rejections[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace quipu::detail

#pragma once

#include <cstddef>

namespace quipu::detail {

/// Zeroed memory from the system, which is not resident until it is touched. Null if there is none.
[[nodiscard]] void* map_memory(std::size_t bytes) noexcept;

}  // namespace quipu::detail

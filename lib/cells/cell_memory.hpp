#pragma once

#include <mutex>

namespace quipu::detail {

/// Held by acquire_cell() and release_cell(); and over a fork, so that the child does not find it taken.
extern std::mutex cell_memory_lock;

}  // namespace quipu::detail

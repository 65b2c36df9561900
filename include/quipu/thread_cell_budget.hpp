#pragma once

#include <cstddef>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// Sets how many bytes the cells of all threads in the process may take up; 64 MiB by default. Each thread counts in
/// cells of its own, which it gets in blocks of 4 KiB. A thread that gets no block adds to a cell that all threads
/// share, which is slower by a locked instruction, and as correct. Memory that is already in use stays in use, so set
/// it at the beginning of the program. Thread-safe.
QUIPU_EXPORT void set_thread_cell_budget(std::size_t bytes) noexcept;

/// How many bytes of the budget are in use (`quipu_thread_cell_bytes` on a page). Thread-safe.
[[nodiscard]] QUIPU_EXPORT std::size_t thread_cell_bytes() noexcept;

}  // namespace quipu

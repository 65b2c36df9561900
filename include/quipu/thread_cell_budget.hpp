#pragma once

#include <cstddef>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// Each thread counts in cells of its own, which it gets in pages of 4 KiB. This is how much all of them may take up in
/// the process, in bytes; 64 MiB unless set. A thread that gets no page adds to a cell that it shares with other
/// threads: slower by a locked instruction, and as correct. What is in use already is not taken away. Thread-safe; for
/// the beginning of a program.
QUIPU_EXPORT void set_thread_cell_budget(std::size_t bytes) noexcept;

/// How much of it is in use (`quipu_thread_cell_bytes` on a page). Thread-safe.
[[nodiscard]] QUIPU_EXPORT std::size_t thread_cell_bytes() noexcept;

}  // namespace quipu

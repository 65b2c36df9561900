#pragma once

namespace quipu::detail {

/// From the first call on, the child of a fork can record and read. Thread-safe.
void handle_forks() noexcept;

}  // namespace quipu::detail

#pragma once

namespace quipu::detail {

/// In a forked child: the guards of threads that the parent kept are not waited for. A guard without a slab that the
/// forking thread itself holds, because a signal handler forks, is not waited for either. It ends before that thread
/// can reuse any memory.
void begin_guards_of_child() noexcept;

/// Whether quiesce() can return true. It can not where the system refuses the barrier. May be called under a guard.
[[nodiscard]] bool can_quiesce() noexcept;

}  // namespace quipu::detail

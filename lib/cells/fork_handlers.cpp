#include "cells/fork_handlers.hpp"

#include <pthread.h>

#include <atomic>

#include "cells/fork_exclusion.hpp"
#include "cells/locks.hpp"
#include "quipu/detail/cells/thread_cells.hpp"

namespace quipu::detail {
namespace {

void before_fork() {
  ForkExclusion::before_fork();
  native_lock.lock();
  slabs_lock.lock();
  cell_memory_lock.lock();
}
void after_fork_in_parent() {
  cell_memory_lock.unlock();
  slabs_lock.unlock();
  native_lock.unlock();
  ForkExclusion::after_fork_in_parent();
}

/// In the child only this thread is left. The values of the other threads still count, but nobody adds to their slabs
/// any more: a thread may have been in the middle of an observation.
void after_fork_in_child() {
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    if (slab != own_slab && slab->owner.load(std::memory_order_relaxed) == Slab::Owner::thread) {
      slab->guards.store(0, std::memory_order_relaxed);
      slab->owner.store(Slab::Owner::lost, std::memory_order_relaxed);
    }
  }
  Guard::without_slab.store(0, std::memory_order_relaxed);
  after_fork_in_parent();
  ForkExclusion::after_fork_in_child();
}

}  // namespace

void handle_forks() noexcept {
  static const bool handles [[maybe_unused]] =
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

}  // namespace quipu::detail

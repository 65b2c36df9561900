#include <pthread.h>

#include <atomic>

#include "cells/fork_exclusion.hpp"
#include "cells/guards.hpp"
#include "cells/locks.hpp"
#include "quipu/detail/cells/thread_cells.hpp"

namespace quipu::detail {

// Defined here so that a program that is linked with a static library has the handlers whenever it has the locks.
constinit std::mutex native_lock;
constinit std::mutex slabs_lock;
constinit std::mutex cell_memory_lock;

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
    if (slab != own_slab && slab->has_owner.load(std::memory_order_relaxed)) {
      slab->guards.store(0, std::memory_order_relaxed);
      slab->has_owner.store(false, std::memory_order_relaxed);
    }
    slab->has_reader.store(false, std::memory_order_relaxed);
  }
  begin_guards_of_child();
  after_fork_in_parent();
  ForkExclusion::after_fork_in_child();
}

/// Registered when the library is loaded, before any other initialization: handlers run in the reverse order before a
/// fork. So those of the program run before these take the locks and after these have released them, and may record and
/// make series. 101 is the first priority that is not reserved.
[[gnu::constructor(101)]] void handle_forks() noexcept {
  static_cast<void>(pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child));
}

}  // namespace
}  // namespace quipu::detail

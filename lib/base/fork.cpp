#include "base/fork.hpp"

#include <pthread.h>

#include <atomic>
#include <new>

namespace quipu::detail {
namespace {

/// Forks between the first process and this one. Relaxed throughout: only the child's first thread writes it, before it
/// returns from fork().
constinit std::atomic<std::uint32_t> forks{0};

}  // namespace

ProcessGeneration::ProcessGeneration() {
  static const bool is_counting =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) == 0;
  if (!is_counting) throw std::bad_alloc();
  number_ = forks.load(std::memory_order_relaxed);
}

bool ProcessGeneration::is_current() const noexcept { return forks.load(std::memory_order_relaxed) == number_; }

}  // namespace quipu::detail

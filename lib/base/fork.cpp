#include "base/fork.hpp"

#include <pthread.h>

#include <atomic>

namespace quipu::detail {
namespace {

/// Forks between the first process and this one. Relaxed throughout: only the child's first thread writes it, before it
/// returns from fork().
constinit std::atomic<std::uint32_t> forks{0};

/// Registered when the library is loaded: the handlers of the program, which are registered later, already see a new
/// generation in the child.
[[gnu::constructor(101)]] void count_forks() noexcept {
  static_cast<void>(::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }));
}

}  // namespace

std::uint32_t forks_before_this_process() noexcept { return forks.load(std::memory_order_relaxed); }

ProcessGeneration::ProcessGeneration() noexcept : number_(forks_before_this_process()) {}

bool ProcessGeneration::is_current() const noexcept { return forks_before_this_process() == number_; }

}  // namespace quipu::detail

#include "base/fork.hpp"

#include <pthread.h>

#include <atomic>
#include <new>

namespace quipu::detail {
namespace {

/// Forks between the first process and this one. Relaxed throughout: only the child's first thread writes it, before it
/// returns from fork().
constinit std::atomic<std::uint32_t> forks{0};

constinit bool is_counting = false;  // written once, before main

/// Begins to count when the library is loaded, before any static object of the program can fork or ask. Beginning later
/// would need a lock, which a fork in another thread could leave locked.
[[gnu::constructor(101)]] void count_forks() noexcept {
  is_counting = ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) == 0;
}

}  // namespace

ProcessGeneration::ProcessGeneration() : number_(forks.load(std::memory_order_relaxed)) {
  if (!is_counting) throw std::bad_alloc();
}

bool ProcessGeneration::is_current() const noexcept { return forks.load(std::memory_order_relaxed) == number_; }

}  // namespace quipu::detail

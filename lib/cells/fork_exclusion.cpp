#include "cells/fork_exclusion.hpp"

#include <atomic>
#include <cstdint>

#include "base/backoff.hpp"

namespace quipu::detail {
namespace {

/// How many exclusions there are, or `forking`. The latter is only stored where the number is 0. So a thread that has
/// one can have another one at any time.
constinit std::atomic<std::uint32_t> exclusions{0};
constexpr std::uint32_t forking = 1u << 31;

}  // namespace

ForkExclusion::ForkExclusion() noexcept {
  std::uint32_t known = exclusions.load(std::memory_order_relaxed);
  for (Backoff backoff;;) {
    if (known == forking) {
      backoff.wait();
      known = exclusions.load(std::memory_order_relaxed);
    } else if (exclusions.compare_exchange_weak(known, known + 1, std::memory_order_relaxed)) {
      return;
    }
  }
}

// Release: pairs with the acquire in before_fork(). All that was done is in the child's memory.
ForkExclusion::~ForkExclusion() { exclusions.fetch_sub(1, std::memory_order_release); }

void ForkExclusion::before_fork() noexcept {
  for (Backoff backoff; !backoff.is_exhausted(); backoff.wait()) {
    std::uint32_t none = 0;
    if (exclusions.compare_exchange_strong(none, forking, std::memory_order_acquire, std::memory_order_relaxed)) return;
  }
}

void ForkExclusion::after_fork_in_parent() noexcept { exclusions.fetch_and(~forking, std::memory_order_relaxed); }

void ForkExclusion::after_fork_in_child() noexcept { exclusions.store(0, std::memory_order_relaxed); }

}  // namespace quipu::detail

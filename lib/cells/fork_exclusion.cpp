#include "cells/fork_exclusion.hpp"

#include <atomic>
#include <cstdint>

#include "base/backoff.hpp"

namespace quipu::detail {
namespace {

/// From the bottom: 32 bits for how many threads have an exclusion, 16 for how many want to fork or are forking, 16 for
/// how many are forking.
constinit std::atomic<std::uint64_t> users{0};
constexpr std::uint64_t to_fork = std::uint64_t{1} << 32;
constexpr std::uint64_t forking = std::uint64_t{1} << 48;

/// How many exclusions this thread has.
constinit thread_local std::uint32_t own{0};

}  // namespace

ForkExclusion::ForkExclusion(Begin begin) noexcept {
  if (own++ > 0) return;
  std::uint64_t known = users.load(std::memory_order_relaxed);
  for (Backoff backoff;;) {
    if (known >= (begin == Begin::at_once ? forking : to_fork)) {
      backoff.wait();
      known = users.load(std::memory_order_relaxed);
    } else if (users.compare_exchange_weak(known, known + 1, std::memory_order_relaxed)) {
      return;
    }
  }
}

ForkExclusion::~ForkExclusion() {
  // Release: pairs with the acquire in before_fork(). All that was done under it is in the child's memory.
  if (--own == 0) users.fetch_sub(1, std::memory_order_release);
}

void ForkExclusion::before_fork() noexcept {
  std::uint64_t known = users.fetch_add(to_fork, std::memory_order_relaxed) + to_fork;
  // Not for itself, as a signal handler may fork.
  const std::uint64_t none = own > 0 ? 1 : 0;
  for (Backoff backoff; !backoff.is_exhausted();) {
    if (known % to_fork != none) {
      backoff.wait();
      known = users.load(std::memory_order_relaxed);
      // Acquire: pairs with the release in ~ForkExclusion().
    } else if (users.compare_exchange_weak(known, known + forking, std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
      return;
    }
  }
  users.fetch_add(forking, std::memory_order_relaxed);
}

void ForkExclusion::after_fork_in_parent() noexcept { users.fetch_sub(forking + to_fork, std::memory_order_relaxed); }

void ForkExclusion::after_fork_in_child() noexcept { users.store(own > 0 ? 1 : 0, std::memory_order_relaxed); }

}  // namespace quipu::detail

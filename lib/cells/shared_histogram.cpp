#include "cells/shared_histogram.hpp"

#include <bit>
#include <memory>
#include <new>

#include "base/backoff.hpp"
#include "base/fork.hpp"
#include "cells/cell_access.hpp"
#include "cells/fork_exclusion.hpp"

namespace quipu::detail {

SharedHistogram::SharedHistogram(std::size_t buckets) : forks_(forks_before_this_process()) {
  for (Half& half : halves_) half.buckets = decltype(half.buckets)(buckets);
}

SharedHistogram* SharedHistogram::make(std::size_t buckets) noexcept {
  void* memory = acquire_memory(sizeof(SharedHistogram));
  if (memory == nullptr) return nullptr;
  try {
    return new (memory) SharedHistogram(buckets);
  } catch (...) {
    release_memory(memory, sizeof(SharedHistogram));
    return nullptr;
  }
}

void SharedHistogram::destroy(SharedHistogram* histogram) noexcept {
  if (histogram == nullptr) return;
  std::destroy_at(histogram);
  release_memory(histogram, sizeof(SharedHistogram));
}

std::uint64_t SharedHistogram::begin() noexcept {
  // Acquire: pairs with the release in add_to(). The hot half has its epoch.
  return started_.fetch_add(1, std::memory_order_acquire);
}

void SharedHistogram::add(std::uint64_t ticket, std::size_t bucket, double sum, std::uint64_t count) noexcept {
  half_of(ticket).buckets[bucket].fetch_add(count, std::memory_order_relaxed);
  add_shared(half_of(ticket).sum, sum);
}

void SharedHistogram::end(std::uint64_t ticket) noexcept {
  std::atomic<std::uint64_t>& ended = half_of(ticket).ended;
  std::uint64_t known = ended.load(std::memory_order_relaxed);
  // Release: pairs with the acquire of the reader that waits for it.
  while (epoch_of(known) == epoch_of(ticket) &&
         !ended.compare_exchange_weak(known, known + 1, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void SharedHistogram::move(Half& from, Half& to, HistogramReading* into) noexcept {
  // Relaxed: the next reader takes the lock after this one.
  for (std::size_t i = 0; i < from.buckets.size(); ++i) {
    const std::uint64_t count = from.buckets[i].exchange(0, std::memory_order_relaxed);
    to.buckets[i].fetch_add(count, std::memory_order_relaxed);
    if (into != nullptr) into->counts[i] += count;
  }
  const double sum = std::bit_cast<double>(from.sum.exchange(0, std::memory_order_relaxed));
  add_shared(to.sum, sum);
  if (into != nullptr) into->sum += sum;
}

void SharedHistogram::take_off(std::span<const std::uint64_t> counts, double shared_sum, double sum_of_threads) {
  const ForkExclusion no_fork(ForkExclusion::Begin::at_once);
  const std::lock_guard lock(reader_);
  Half& hot = half_of(started_.load(std::memory_order_relaxed));
  for (std::size_t i = 0; i < counts.size(); ++i) hot.buckets[i].fetch_sub(counts[i], std::memory_order_relaxed);
  std::uint64_t old = hot.sum.load(std::memory_order_relaxed);
  // In this order, so that nothing is left of a sum to which nothing was added since.
  const auto rest = [&](double sum) { return std::bit_cast<std::uint64_t>((sum - shared_sum) - sum_of_threads); };
  while (!hot.sum.compare_exchange_weak(old, rest(std::bit_cast<double>(old)), std::memory_order_relaxed)) {
  }
}

std::uint64_t SharedHistogram::count() const noexcept {
  std::uint64_t total = 0;
  for (const Half& half : halves_) {
    for (const auto& bucket : half.buckets) total += bucket.load(std::memory_order_relaxed);
  }
  return total;
}

void SharedHistogram::add_to(HistogramReading& into) {
  const ForkExclusion no_fork(ForkExclusion::Begin::at_once);
  const std::lock_guard lock(reader_);
  const std::uint32_t forks = forks_before_this_process();
  const bool was_forked = forks != forks_;
  forks_ = forks;

  // Relaxed: only readers change the epoch.
  const std::uint64_t known = started_.load(std::memory_order_relaxed);
  const std::uint64_t next = (epoch_of(known) + 1) << epoch_shift;
  Half& cold = half_of(known);
  Half& hot = half_of(next);
  if (is_one_late_) move(hot, cold, nullptr);
  hot.ended.store(next, std::memory_order_relaxed);
  // Release: pairs with the acquire in begin().
  const std::uint64_t started = started_.exchange(next, std::memory_order_release);
  // Acquire: pairs with the release in end().
  for (Backoff backoff; cold.ended.load(std::memory_order_acquire) != started; backoff.wait()) {
    if (backoff.is_exhausted() || (was_forked && backoff.is_sleeping())) {
      is_one_late_ = true;
      break;
    }
  }
  move(cold, hot, &into);
}

}  // namespace quipu::detail

#include "cells/shared_histogram.hpp"

#include <bit>
#include <memory>
#include <new>

#include "base/backoff.hpp"
#include "cells/cell_access.hpp"

namespace quipu::detail {

SharedHistogram::SharedHistogram(std::size_t buckets) {
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

void SharedHistogram::observe(std::size_t bucket, double value) noexcept {
  // Acquire: pairs with the release of the reader's flip. The hot half is as the previous reading left it.
  const std::uint64_t ticket = started_.fetch_add(1, std::memory_order_acquire);
  Half& half = halves_[ticket >> 63];
  half.buckets[bucket].fetch_add(1, std::memory_order_relaxed);
  add_shared(half.sum, value);
  half.ended.fetch_add(1, std::memory_order_release);  // pairs with the acquire of the reader that waits for it
}

void SharedHistogram::add_to(HistogramSnapshot& into) {
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  const std::lock_guard lock(reader_);
  // Release: pairs with the writers' acquire. They see the other half as the previous reading left it.
  const std::uint64_t ticket = started_.fetch_add(top, std::memory_order_acq_rel);
  Half& cold = halves_[ticket >> 63];
  Half& hot = halves_[1 - (ticket >> 63)];
  // Acquire: pairs with the release that ends each observation.
  for (Backoff backoff; cold.ended.load(std::memory_order_acquire) != (ticket & ~top); backoff.wait()) {
  }
  for (std::size_t i = 0; i < cold.buckets.size(); ++i) {
    const std::uint64_t count = cold.buckets[i].exchange(0, std::memory_order_relaxed);
    into.counts[i] += count;
    hot.buckets[i].fetch_add(count, std::memory_order_relaxed);
  }
  const double sum = std::bit_cast<double>(cold.sum.exchange(0, std::memory_order_relaxed));
  into.sum += sum;
  add_shared(hot.sum, sum);
  // Release: pairs with the acquire of the next reading.
  hot.ended.fetch_add(cold.ended.exchange(0, std::memory_order_relaxed), std::memory_order_release);
}

}  // namespace quipu::detail

#include "quipu/detail/cells.hpp"

#include <thread>

namespace quipu::detail {

SharedHistogram::SharedHistogram(const BucketLayout& layout) {
  for (Half& half : halves_) half.buckets = std::vector<std::atomic<std::uint64_t>>(layout.cells());
}

void SharedHistogram::read(HistogramSnapshot& into) {
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  const std::lock_guard lock(reader_);
  // Release: pairs with the writers' acquire (they see the other half as the last reading left it).
  const std::uint64_t ticket = started_.fetch_add(top, std::memory_order_acq_rel);
  Half& cold = halves_[ticket >> 63];
  Half& hot = halves_[1 - (ticket >> 63)];
  // Acquire: pairs with the release that ends each observation.
  while (cold.ended.load(std::memory_order_acquire) != (ticket & ~top)) std::this_thread::yield();

  into.counts.resize(cold.buckets.size());
  for (std::size_t i = 0; i < cold.buckets.size(); ++i) {
    into.counts[i] = cold.buckets[i].exchange(0, std::memory_order_relaxed);
    hot.buckets[i].fetch_add(into.counts[i], std::memory_order_relaxed);
  }
  const std::uint64_t sum = cold.sum.exchange(0, std::memory_order_relaxed);
  into.sum = std::bit_cast<double>(sum);
  add_real(hot.sum, into.sum);
  // Release: pairs with the acquire of the next reading.
  hot.ended.fetch_add(cold.ended.exchange(0, std::memory_order_relaxed), std::memory_order_release);
}

}  // namespace quipu::detail

#include "quipu/detail/cells/histogram_cells.hpp"

#include <array>
#include <bit>
#include <mutex>
#include <new>

#include "base/backoff.hpp"
#include "cells/cell_access.hpp"
#include "cells/shared_histogram.hpp"

namespace quipu::detail {
namespace {

/// The histogram that threads without cells share, made when it is first needed. Null if memory ran out. To be called
/// under a guard, for a live series.
SharedHistogram* shared_histogram(Cell& cell, const BucketLayout& layout) noexcept {
  std::uint64_t bits = cell.bits.load(std::memory_order_acquire);  // pairs with the release below
  if (bits == 0) {
    auto* made = new (std::nothrow) SharedHistogram(layout.buckets());
    if (made == nullptr) return nullptr;
    // Release: pairs with the acquires of other threads, which then find the histogram complete.
    // Acquire: pairs with that release, if another thread was faster.
    if (cell.bits.compare_exchange_strong(bits, std::bit_cast<std::uint64_t>(made), std::memory_order_acq_rel)) {
      return made;
    }
    delete made;
  }
  return std::bit_cast<SharedHistogram*>(bits);
}

/// Reads the thread cells of one histogram in one slab. To be used under a guard, so that the cells stay those of the
/// histogram.
class ThreadHistogramReader {
 public:
  ThreadHistogramReader(std::uint32_t slot, std::size_t buckets, Slab& slab, ThreadCell& cell)
      : slot_(slot), buckets_(buckets), slab_(slab), cell_(cell) {}

  /// Adds buckets and sum of one moment.
  void add_to(HistogramSnapshot& into) {
    read();
    for (std::size_t i = 0; i < buckets_; ++i) into.counts[i] += read_[i];
    into.sum += sum_;
  }

 private:
  /// How often a reader tries by itself before it asks the owner.
  static constexpr int attempts = 4;

  void read() {
    for (int i = 0; i < attempts; ++i) {
      if (try_cells()) return;
    }
    // Cells without an owner do not change any more. They are taken as they are.
    if (slab_.owner.load(std::memory_order_relaxed) == Slab::Owner::lost) return settle();
    static constinit std::mutex readers;  // one request at a time
    const std::lock_guard lock(readers);
    const std::uint64_t request = (std::uint64_t{++slab_.requests} << 32) | slot_;
    slab_.wanted.store(request, std::memory_order_release);  // pairs with serve_reader()
    for (Backoff backoff;; backoff.wait()) {
      if (slab_.served.load(std::memory_order_acquire) == request) return take_copy();  // pairs with serve_reader()
      if (try_cells()) break;
      // A reader that has waited long enough takes the cells as they are. The sum may then lack one observation.
      if (backoff.is_exhausted()) {
        settle();
        break;
      }
    }
    slab_.wanted.store(0, std::memory_order_relaxed);
  }

  /// Whether buckets, sum and count are of one moment; see observe().
  bool try_cells() {
    // Acquire, both: pair with the releases in observe(), which stores in the opposite order.
    count_ = cell_.count.load(std::memory_order_acquire);
    sum_ = std::bit_cast<double>(cell_.bits.load(std::memory_order_acquire));
    total_ = 0;
    for (std::size_t i = 0; i < buckets_; ++i) {
      read_[i] = cell_.buckets()[i].load(std::memory_order_relaxed);
      total_ += static_cast<std::uint32_t>(read_[i]);
    }
    return total_ == count_;
  }

  /// Makes the count what the buckets add up to, so that no later reading waits for that; see observe().
  void settle() {
    // Release: pairs with the acquire in try_cells(). Who sees the count sees these buckets, or newer ones.
    cell_.count.compare_exchange_strong(count_, total_, std::memory_order_release, std::memory_order_relaxed);
  }

  void take_copy() {
    sum_ = std::bit_cast<double>(slab_.copy[0].load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < buckets_; ++i) read_[i] = slab_.copy[i + 1].load(std::memory_order_relaxed);
  }

  const std::uint32_t slot_;
  const std::size_t buckets_;
  Slab& slab_;
  ThreadCell& cell_;
  std::array<std::uint64_t, 2 * cells_per_block> read_;
  std::uint32_t total_ = 0;  // of `read_`, modulo 2^32
  std::uint32_t count_ = 0;
  double sum_ = 0;
};

}  // namespace

void observe_slowly(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept {
  if (claim(to, histogram_cells(layout.buckets()), 0) != nullptr) return observe(to, layout, bucket, value);
  const Guard guard;
  if (!to.is_live()) return;
  if (SharedHistogram* shared = shared_histogram(*to.cell, layout)) shared->observe(bucket, value);
}

void serve_reader(std::uint32_t slot, std::size_t words) noexcept {
  Slab& slab = *own_slab;
  std::uint64_t request = slab.wanted.load(std::memory_order_acquire);  // pairs with the reader's request
  if (static_cast<std::uint32_t>(request) != slot) return;
  // The request is withdrawn before the copy is made. So a signal handler that observes meanwhile finds nothing wanted,
  // and leaves the copy alone. Nor does a later observation change the copy while the reader takes it.
  if (!slab.wanted.compare_exchange_strong(request, 0, std::memory_order_relaxed)) return;
  ThreadCell& cell = *slab.cell(slot);
  const std::uint32_t before = cell.count.load(std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  slab.copy[0].store(cell.bits.load(std::memory_order_relaxed), std::memory_order_relaxed);
  std::uint32_t total = 0;
  for (std::size_t i = 1; i < words; ++i) {
    const std::uint64_t count = cell.buckets()[i - 1].load(std::memory_order_relaxed);
    slab.copy[i].store(count, std::memory_order_relaxed);
    total += static_cast<std::uint32_t>(count);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const bool is_undisturbed = cell.count.load(std::memory_order_relaxed) == before;
  if (is_undisturbed && total == before) {
    slab.served.store(request, std::memory_order_release);  // pairs with the reader's acquire
    return;
  }
  // The count is put right (see observe()), and the reader served at the end of the next observation. If this one is in
  // a signal handler that interrupted another one, that has come to its end by then.
  if (is_undisturbed) cell.count.store(total, std::memory_order_release);  // pairs as in observe()
  std::uint64_t none = 0;
  slab.wanted.compare_exchange_strong(none, request, std::memory_order_relaxed);
}

void read_histogram(CellRef from, const BucketLayout& layout, HistogramSnapshot& into) {
  into.counts.assign(layout.buckets(), 0);
  into.sum = 0;
  const Guard guard;
  if (!from.is_live()) return;
  // Acquire: pairs with the release in shared_histogram().
  if (auto* shared = std::bit_cast<SharedHistogram*>(from.cell->bits.load(std::memory_order_acquire))) {
    shared->add_to(into);
  }
  for_each_thread(from, [&](Slab& slab, ThreadCell& cell) {
    ThreadHistogramReader(from.slot, layout.buckets(), slab, cell).add_to(into);
  });
}

void recycle_histogram(Cell& cell) noexcept {
  // Relaxed: quiesce() has ordered all other uses before.
  delete std::bit_cast<SharedHistogram*>(cell.bits.exchange(0, std::memory_order_relaxed));
}

}  // namespace quipu::detail

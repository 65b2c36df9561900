#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/detail/cells/cell.hpp"

/// Recording and reading histograms.
namespace quipu::detail {

/// What was read of cells: buckets and sum of one moment.
struct HistogramReading {
  std::vector<std::uint64_t> counts;  // one for each bound, and one for +Inf; not cumulative
  double sum = 0;

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t total = 0;
    for (const std::uint64_t n : counts) total += n;
    return total;
  }
};

/// How many thread cells a histogram takes: one for sum and count, and half of one for each bucket.
[[nodiscard]] constexpr std::size_t histogram_cells(std::size_t buckets) noexcept { return 1 + (buckets + 1) / 2; }

/// For a thread's first values, and for all values without a thread cell.
QUIPU_EXPORT void observe_slowly(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept;
/// Observes a value `count` times.
QUIPU_EXPORT void observe_many(CellRef to, const BucketLayout& layout, std::size_t bucket, double value,
                               std::uint64_t count) noexcept;
/// Copies the sum and the buckets of this thread's cells of the slot, `words` words in all, for the reader that waits
/// for them.
QUIPU_EXPORT void serve_reader(std::uint32_t slot, std::size_t words) noexcept;

/// How a reader gets buckets, sum and count of one moment:
///
/// The owner adds to the bucket, then to the sum, then to the count. A reader loads in the opposite order: the count,
/// then the sum, then the buckets. Sum and count are stored with release and loaded with acquire. So the sum that is
/// loaded is not older than the count, and the buckets are not older than the sum. If the buckets add up to the count,
/// all three are of the moment of the count.
///
/// A thread that observes without a pause would rarely let a reader load a dozen cells undisturbed. So after a few
/// attempts the reader asks for a copy, in the `wanted` of the slab. The owner, which is busy with this very histogram,
/// makes the copy at the end of its next observation. So no writer waits, and a reader waits only as long as a thread
/// that is inside an observation takes to come out of it, and not for ever (see read_histogram()).
///
/// The additions are not locked. If a signal handler observes in the histogram that it interrupted in the same thread,
/// one of the two observations may be lost in each of the three places, and buckets and count then disagree. They also
/// do if a thread ended, or a fork left it, inside an observation. The count only serves to recognise a moment, so the
/// owner makes it what the buckets add up to when it is asked for a copy.
///
/// `count` equal values are one observation here: the bucket and the count go up by `count`, and the sum by `sum`.
inline void observe_in(ThreadCell& cell, CellRef to, const BucketLayout& layout, std::size_t bucket, double sum,
                       std::uint64_t count) noexcept {
  // Relaxed: the release of the sum, which follows, orders it.
  add_to(cell.buckets()[bucket], count);
  // Release, both: pair with the reader's loads in the opposite order, in CellsReading::collect().
  add_to(cell.bits, sum, std::memory_order_release);
  cell.count.store(cell.count.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(count),
                   std::memory_order_release);
  if (static_cast<std::uint32_t>(own_slab->wanted.load(std::memory_order_relaxed)) == to.slot) [[unlikely]] {
    serve_reader(to.slot, layout.buckets() + 1);
  }
}

inline void observe(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept {
  ThreadCell* cell = own_cell(to);
  if (cell == nullptr) [[unlikely]] {
    return observe_slowly(to, layout, bucket, value);
  }
  observe_in(*cell, to, layout, bucket, value, 1);
}

/// How long all readings of one scrape together wait for threads that are inside an observation.
inline constexpr std::chrono::nanoseconds reading_patience = std::chrono::seconds(1);

/// Zeros for a removed series. Reuses the memory of `into`. Waits at most for `patience`, from which it takes off what
/// it waited. What threads have not finished by then is read as it is: the sum may lack an observation of a thread that
/// the buckets have. Not to be called under a guard. Throws std::bad_alloc.
QUIPU_EXPORT void read_histogram(CellRef from, const BucketLayout& layout, HistogramReading& into,
                                 std::chrono::nanoseconds& patience);
inline void read_histogram(CellRef from, const BucketLayout& layout, HistogramReading& into) {
  std::chrono::nanoseconds patience = reading_patience;
  read_histogram(from, layout, into, patience);
}

/// Takes off all that was observed before. Nothing that is observed meanwhile is lost, except that an observation that
/// is under way for longer than `patience` may be in the sum and not in the buckets from then on. Waits as
/// read_histogram(). Throws std::bad_alloc.
void reset_histogram(CellRef histogram, const BucketLayout& layout, std::chrono::nanoseconds& patience);

/// A number that changes with each observation. While another thread reads the histogram, it may change without one. 0
/// for a removed series. Does not wait.
[[nodiscard]] std::uint64_t count_observations(CellRef from) noexcept;

/// Frees what a histogram's cell points to, after the series has ended and quiesce() has returned true.
QUIPU_EXPORT void recycle_histogram(Cell& cell) noexcept;

}  // namespace quipu::detail

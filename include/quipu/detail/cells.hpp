#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "quipu/detail/bucket_layout.hpp"

/// The one place with atomics on the recording path. Nothing in it knows a name or a label.
///
/// Values are recorded with relaxed operations: a cell is a number of its own, and no other memory is read on the
/// strength of it. A scrape that happens after a recording (by any synchronisation of the program's, e.g. a request
/// that arrives later at the same thread) sees it, because coherence forbids reading an older value of the same cell.
namespace quipu::detail {

/// The value of one series, or the way to it. Cells are never freed, so a handle that outlives its series writes to
/// memory that is still a cell.
struct alignas(16) Cell {
  /// Identifies the series that lives here, 0 for none. A handle carries the tag of its series, and what it writes
  /// under another tag is thrown away.
  std::atomic<std::uint32_t> tag{0};
  /// A whole number (counter), the bits of a double (gauge, fractional counter), or a SharedHistogram*.
  std::atomic<std::uint64_t> bits{0};
};

/// Where handles point that were never given a series.
inline constinit Cell nowhere{};

struct CellRef {
  Cell* cell = &nowhere;
  std::uint32_t tag = 1;

  [[nodiscard]] bool is_live() const noexcept { return cell->tag.load(std::memory_order_relaxed) == tag; }
  friend bool operator==(const CellRef&, const CellRef&) = default;
};

/// Recordings that made no sense and were not counted, since the start of the process.
enum class Rejection : std::uint8_t { negative_step, not_a_number };
inline constexpr std::size_t rejection_kinds = 2;
inline constinit std::atomic<std::uint64_t> rejections[rejection_kinds]{};

inline void reject(Rejection why) noexcept {
  rejections[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

// Whole numbers.

inline void add_whole(CellRef to, std::uint64_t step) noexcept {
  if (to.is_live()) to.cell->bits.fetch_add(step, std::memory_order_relaxed);
}

[[nodiscard]] inline std::uint64_t read_whole(const Cell& cell) noexcept {
  return cell.bits.load(std::memory_order_relaxed);
}

// Doubles.

inline void add_real(std::atomic<std::uint64_t>& bits, double step) noexcept {
  std::uint64_t old = bits.load(std::memory_order_relaxed);
  while (!bits.compare_exchange_weak(old, std::bit_cast<std::uint64_t>(std::bit_cast<double>(old) + step),
                                     std::memory_order_relaxed)) {
  }
}

inline void add_real(CellRef to, double step) noexcept {
  if (to.is_live()) add_real(to.cell->bits, step);
}

inline void set_real(CellRef to, double value) noexcept {
  if (to.is_live()) to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
}

[[nodiscard]] inline double read_real(const Cell& cell) noexcept {
  return std::bit_cast<double>(cell.bits.load(std::memory_order_relaxed));
}

/// Buckets and sum of one moment.
struct HistogramSnapshot {
  std::vector<std::uint64_t> counts;  // for each bound, and +Inf; not cumulative
  double sum = 0;

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t total = 0;
    for (const std::uint64_t n : counts) total += n;
    return total;
  }
};

/// A histogram that any number of threads write, and whose reader gets the buckets and the sum of one moment without
/// making a writer wait.
///
/// There are two halves. Writers add to the hot one; the reader makes the other one hot, waits until the writers that
/// were inside the old one have left it, and then has it to itself.
/// `started_` counts observations that have begun, and its top bit says which half is hot: one atomic addition both
/// chooses the half and announces the writer in it, so no writer can be in a half unannounced. Each half counts the
/// observations that have ended in it. Between two readings every observation ended in the hot half, so the cold half
/// is quiet when its count of ended observations, together with what earlier readings moved over, equals the number
/// started up to the flip.
///
/// The reader waits for writers that are inside an observation at the flip, never the other way round.
class SharedHistogram {
 public:
  explicit SharedHistogram(const BucketLayout& layout);

  /// Thread-safe, lock-free.
  void observe(std::size_t bucket, double value) noexcept {
    // Acquire: pairs with the reader's flip, after which the half it made hot holds all that earlier readings moved.
    const std::uint64_t ticket = started_.fetch_add(1, std::memory_order_acquire);
    Half& half = halves_[ticket >> 63];
    half.buckets[bucket].fetch_add(1, std::memory_order_relaxed);
    add_real(half.sum, value);
    half.ended.fetch_add(1,
                         std::memory_order_release);  // pairs with the reader's acquire: what is above is in the half
  }

  /// Thread-safe; readers exclude each other. Reuses the memory of `into`.
  void read(HistogramSnapshot& into);

 private:
  struct Half {
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> sum{0};  // the bits of a double
    std::vector<std::atomic<std::uint64_t>> buckets;
  };

  std::atomic<std::uint64_t> started_{0};
  Half halves_[2];
  std::mutex reader_;
};

inline void observe(CellRef to, const BucketLayout& layout, double value) noexcept {
  if (!to.is_live()) return;
  std::bit_cast<SharedHistogram*>(to.cell->bits.load(std::memory_order_relaxed))->observe(layout.index(value), value);
}

/// Needs a cell that holds a histogram.
inline void read_histogram(const Cell& cell, HistogramSnapshot& into) {
  std::bit_cast<SharedHistogram*>(cell.bits.load(std::memory_order_relaxed))->read(into);
}

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/detail/cells/thread_cells.hpp"

/// Recording and reading the values of series. With thread_cells.hpp, the one place with atomics on the recording path;
/// nothing in it knows a name or a label.
///
/// The value of a series is what its own cell holds, plus the sum of its thread cells.
///
/// A recording that happens before a reading (by any synchronisation of the program's) is in what is read: each cell is
/// a single atomic, and coherence forbids reading an older value of it. A whole number never goes down from one reading
/// to the next, because no cell of it does and nothing is ever moved from one to another.
namespace quipu::detail {

struct GaugeState {
  enum : std::uint32_t { counted, being_set, set };
};

/// What the threads share of a series. Cells are never destroyed, so that a handle that outlives its series still
/// points to one; they are used again.
struct alignas(16) Cell {
  /// Identifies the series that lives here; 0 when it was removed. Handles carry the tag of their series, and no two
  /// series have the same one (until 2^32 have been made).
  std::atomic<std::uint32_t> tag{0};
  /// Of a gauge, a GaugeState: whether it has ever been set; see set_gauge(). Of every other series, when it was made,
  /// as seconds_now() says it. Which of them, those know who know the series; an old handle does nothing by it.
  std::atomic<std::uint32_t> state{GaugeState::counted};
  /// A whole number (counter), the bits of a double (gauge, fractional counter), a bit for each state (stateset), or a
  /// SharedHistogram*, null until it is needed.
  std::atomic<std::uint64_t> bits{0};
};

/// Where handles point that were never given a series.
inline constinit Cell discard_cell{};

struct CellRef {
  Cell* cell = &discard_cell;
  std::uint32_t tag = 1;
  std::uint32_t slot = 0;  // of the thread cells; 0 for a series that has none

  /// Acquire: pairs with the release that removes the series.
  [[nodiscard]] bool is_live() const noexcept { return cell->tag.load(std::memory_order_acquire) == tag; }
  friend bool operator==(const CellRef&, const CellRef&) = default;
};

/// This thread's cell for the series, or null if it has none or has not written to it yet.
[[nodiscard]] inline ThreadCell* own_cell(CellRef series) noexcept {
  ThreadCell* cell = own_slab->cell(series.slot);
  if (cell == nullptr || cell->tag.load(std::memory_order_relaxed) != series.tag) [[unlikely]] {
    return nullptr;
  }
  return cell;
}

/// Recordings that made no sense and were not counted, since the start of the process.
enum class Rejection : std::uint8_t { negative_step, not_a_number, unknown_state };
inline constexpr std::size_t rejection_kinds = 3;
inline constinit std::atomic<std::uint64_t> rejections[rejection_kinds]{};

inline void reject(Rejection why) noexcept {
  rejections[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

// The owner's additions to a cell: a plain addition, as nobody else writes to it.

inline void add_to(std::atomic<std::uint64_t>& whole, std::uint64_t step) noexcept {
  whole.store(whole.load(std::memory_order_relaxed) + step, std::memory_order_relaxed);
}

inline void add_to(std::atomic<std::uint64_t>& real, double step,
                   std::memory_order order = std::memory_order_relaxed) noexcept {
  const double sum = std::bit_cast<double>(real.load(std::memory_order_relaxed)) + step;
  real.store(std::bit_cast<std::uint64_t>(sum), order);
}

// Counters.

/// The first writes of a thread to a series, and all that have no thread cell.
void add_whole_slowly(CellRef to, std::uint64_t step) noexcept;
void add_real_slowly(CellRef to, double step) noexcept;

inline void add_whole(CellRef to, std::uint64_t step) noexcept {
  if (ThreadCell* cell = own_cell(to)) [[likely]] {
    return add_to(cell->bits, step);
  }
  add_whole_slowly(to, step);
}

inline void add_real(CellRef to, double step) noexcept {
  if (ThreadCell* cell = own_cell(to)) [[likely]] {
    return add_to(cell->bits, step);
  }
  add_real_slowly(to, step);
}

/// 0 for a series that was removed. So for all readings.
[[nodiscard]] std::uint64_t read_whole(CellRef from) noexcept;
/// The same of several counters, which takes a third of the time.
void read_whole(std::span<const CellRef> from, std::uint64_t* into) noexcept;
[[nodiscard]] double read_real(CellRef from) noexcept;

// Gauges.

/// A gauge that is only added to (in flight, queue length) is counted in thread cells, as a counter is, as long as the
/// steps are whole. Once it has been set, which only one cell can be, all of it happens in the cell of the series, and
/// what the thread cells hold does not count any more.
///
/// The first set makes the state `being_set`, stores the value, and makes the state `set`. Whatever happens between is
/// ordered before it: additions that are under way and go to either place, and other sets, which have no effect. Only a
/// reader, which could not tell which of the two values the cell holds, waits for the end.
void set_gauge_slowly(CellRef to, double value) noexcept;
void add_gauge_slowly(CellRef to, double step) noexcept;

inline void set_gauge(CellRef to, double value) noexcept {
  if (has_slab() && to.cell->state.load(std::memory_order_relaxed) == GaugeState::set) [[likely]] {
    const Guard guard;
    if (to.is_live()) to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
    return;
  }
  set_gauge_slowly(to, value);
}

/// Whether `step` may be counted in a thread cell, and as what.
[[nodiscard]] inline bool is_trackable(CellRef gauge, double step, std::uint64_t& whole) noexcept {
  constexpr double most = 1e15;  // whole doubles up to here are exact, and so is their sum for long enough
  if (!(step >= -most && step <= most)) return false;
  const auto rounded = static_cast<std::int64_t>(step);
  whole = static_cast<std::uint64_t>(rounded);
  // Acquire: pairs with set_gauge_slowly(). What comes after the first set goes to the cell of the series.
  return static_cast<double>(rounded) == step &&
         gauge.cell->state.load(std::memory_order_acquire) == GaugeState::counted;
}

inline void add_gauge(CellRef to, double step) noexcept {
  std::uint64_t whole = 0;
  if (is_trackable(to, step, whole)) [[likely]] {
    if (ThreadCell* cell = own_cell(to)) [[likely]] {
      return add_to(cell->bits, whole);
    }
  }
  add_gauge_slowly(to, step);
}

[[nodiscard]] double read_gauge(CellRef from) noexcept;

// Statesets. All states are bits of one cell, so whoever reads it sees those of one moment.

void set_states(CellRef to, std::uint64_t bits) noexcept;
void switch_states(CellRef to, std::uint64_t bits, bool is_in) noexcept;
[[nodiscard]] std::uint64_t read_states(CellRef from) noexcept;

// Histograms.

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

/// The thread cells of a histogram: the first, and the buckets.
[[nodiscard]] constexpr std::size_t histogram_cells(std::size_t buckets) noexcept { return 1 + (buckets + 1) / 2; }

void observe_slowly(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept;
/// Copies this thread's cells for the reader that waits for them.
void serve_reader(std::uint32_t slot) noexcept;

/// The owner adds to the bucket, then to the sum, then to the count, which is what makes one moment recognisable. A
/// reader loads the count, then the sum, then the buckets. The sum it loads is of no earlier moment than the count, and
/// the buckets of no earlier one than the sum (each store is a release, each load an acquire). So if the buckets add up
/// to the count, all three are of the moment of the count.
///
/// A thread that observes without a pause would rarely let a reader load a dozen cells undisturbed. So after a few
/// attempts the reader asks for a copy, in the `wanted` of the slab, and the owner, which is busy with just this
/// histogram, makes one at the end of its next observation. Thus no writer waits, and the reader waits for no longer
/// than it takes a thread that is inside an observation to come out of it.
inline void observe(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept {
  ThreadCell* cell = own_cell(to);
  if (cell == nullptr) [[unlikely]] {
    return observe_slowly(to, layout, bucket, value);
  }
  add_to(cell->buckets()[bucket], std::uint64_t{1});
  // Release, both: pair with the reader's loads in the other order, in ThreadHistogramReader::try_cells().
  add_to(cell->bits, value, std::memory_order_release);
  cell->count.store(cell->count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if (static_cast<std::uint32_t>(own_slab->wanted.load(std::memory_order_relaxed)) == to.slot) [[unlikely]] {
    serve_reader(to.slot);
  }
}

/// Reuses the memory of `into`.
void read_histogram(CellRef from, const BucketLayout& layout, HistogramSnapshot& into);

/// A histogram that any number of threads write: what is observed without a thread cell.
///
/// There are two halves. Writers add to the hot one; the reader makes the other one hot, waits until the writers that
/// were inside the old one have left it, and then has it to itself.
/// `started_` counts observations that have begun, and its top bit says which half is hot: one atomic addition both
/// chooses the half and announces the writer in it, so no writer can be in a half unannounced. Each half counts the
/// observations that have ended in it. Between two readings every observation ended in the hot half, so the cold half
/// is quiet when its count of ended observations, together with what earlier readings moved over, equals the number
/// started up to the flip.
class SharedHistogram {
 public:
  explicit SharedHistogram(std::size_t buckets);
  SharedHistogram(const SharedHistogram&) = delete;
  SharedHistogram& operator=(const SharedHistogram&) = delete;

  /// Thread-safe, lock-free.
  void observe(std::size_t bucket, double value) noexcept;
  /// Adds buckets and sum of one moment. Thread-safe; readers exclude each other.
  void add_to(HistogramSnapshot& into);

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

// Lives of series.

/// A cell that is empty, with memory behind it: `bytes` in all. Behind a cell that was used before there is what was
/// left there. Thread-safe; takes a lock. Throws std::bad_alloc.
[[nodiscard]] Cell& acquire_cell(std::size_t bytes);
/// Gives it to the next who wants as many bytes.
void release_cell(Cell& cell, std::size_t bytes);

/// The tag of the series that was made last, in this process. Tags are given in order.
[[nodiscard]] std::uint32_t last_tag() noexcept;
/// The wall clock, in whole seconds since the Unix epoch, which 32 bits hold until 2106. Rounded down, so that what was
/// made then never lies in the future.
[[nodiscard]] std::uint32_t seconds_now() noexcept;
/// Puts a new series into `cell`, which is empty. `cells` is how many thread cells it takes; `state` and `bits` are
/// what the cell's are to be.
[[nodiscard]] CellRef begin_series(Cell& cell, std::size_t cells, std::uint32_t state, std::uint64_t bits = 0) noexcept;
/// Ends its recording: from now on what handles write goes nowhere.
void end_series(Cell& cell) noexcept;
/// Frees what the series held, after it has ended and quiesce() has returned true. `cell` is empty again.
void recycle_series(Cell& cell, std::uint32_t slot, std::size_t cells, bool is_histogram) noexcept;

}  // namespace quipu::detail

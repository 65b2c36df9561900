#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"

/// Recording and reading gauges.
///
/// A gauge that is only added to (in flight, queue length) is counted in thread cells, as a counter is, as long as the
/// steps are whole numbers. All other steps go to its *shared sum*: those that are not whole, and those of threads
/// without a cell. The value is the shared sum plus the thread cells.
///
/// To set a gauge takes a single place. The first set turns the gauge, for good, into one whose value is Cell::bits.
/// It stores the value there, where nobody looks yet, and then changes the state. So the change is a single atomic
/// operation: a thread that never comes to the end of its first set, because the process forked or the thread ended,
/// has not set the gauge. The shared sum and the thread cells do not count any more. Steps that are still on their way
/// there are ordered before the set.
///
/// How a reader gets the value of one moment, while steps go to many cells: it looks at all cells twice, and at the
/// shared sum in between. If no cell has changed from the first look to the second, then all cells had these values
/// when the shared sum was read. `ThreadCell::count` numbers the changes of a cell, so that a value that went away and
/// came back is a change.
///
/// The owner stores the value of change n, and then n, both with release. The first look loads the number, and then the
/// value. The second look loads in the opposite order. All four are acquire. If both looks find number n, the value is
/// that of change n, or of change n + 1 whose number was not stored yet. It cannot be a later one, as whoever sees its
/// value sees number n + 1. So equal values are of one change, and the cell held them from the first look to the
/// second.
///
/// A reading that includes a change also includes all changes that happen before it. The load that sees the one is an
/// acquire, and the reader's later loads then see the others: the shared sum is loaded after all first looks, and the
/// second look at each cell after that. What the second look sees, the first one has seen, as they are equal. So there
/// is an order of all changes, one that every thread could have seen, in which the gauge had the value of the reading.
///
/// A thread cell that did not exist at the first look counts as one without a change. If there is a new slab, the
/// reader begins again. Numbers are modulo 2^32, which a cell does not go through between two looks.
///
/// Threads that change a gauge without a pause would rarely let a reader find two equal looks. So after a few attempts
/// the reader makes the gauge `shared` for a moment: all steps then go to the shared sum, and the thread cells come to
/// rest. The value does not depend on where a step goes, so no thread waits for another one.
namespace quipu::detail {

/// Cell::state of a gauge. While it is added to, the state says where its shared sum is: how many words after the cell
/// begins.
struct GaugeState {
  static constexpr std::uint32_t set = 0;
  /// The flag of a `shared` gauge. The value does not depend on it.
  static constexpr std::uint32_t shared = 1u << 31;
  /// A gauge that was set, and not written to since look_at_gauge() has found that. The next write makes it `set`.
  static constexpr std::uint32_t set_and_idle = shared;

  [[nodiscard]] static constexpr bool is_set(std::uint32_t state) noexcept { return (state & ~shared) == 0; }

  /// Whether steps are counted in thread cells.
  [[nodiscard]] static constexpr bool is_counted(std::uint32_t state) noexcept {
    return static_cast<std::int32_t>(state) > 0;
  }
};

/// Begins a new gauge in an empty cell. The word `sum_at` words after the beginning of the cell becomes its shared sum;
/// it lies behind the cell.
[[nodiscard]] QUIPU_EXPORT CellRef begin_gauge(Cell& cell, std::uint32_t sum_at) noexcept;

QUIPU_EXPORT void set_gauge_slowly(CellRef to, double value) noexcept;
QUIPU_EXPORT void add_gauge_slowly(CellRef to, double step) noexcept;

inline void set_gauge(CellRef to, double value) noexcept {
  // Acquire: pairs with the release in set_gauge_slowly(). This value comes after that of the first set.
  if (has_slab() && to.cell->state.load(std::memory_order_acquire) == GaugeState::set) [[likely]] {
    const Guard guard;
    if (to.is_live()) to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
    return;
  }
  set_gauge_slowly(to, value);
}

/// Whether `step` may be counted in a thread cell. If so, `whole` is what to add to it.
[[nodiscard]] inline bool is_trackable(CellRef gauge, double step, std::uint64_t& whole) noexcept {
  constexpr double most = 1e15;  // whole doubles up to here are exact, and so is their sum for long enough
  if (!(step >= -most && step <= most)) return false;
  const auto rounded = static_cast<std::int64_t>(step);
  whole = static_cast<std::uint64_t>(rounded);
  // Acquire: pairs with the release in set_gauge_slowly(). What comes after the first set is added to its value.
  return static_cast<double>(rounded) == step &&
         GaugeState::is_counted(gauge.cell->state.load(std::memory_order_acquire));
}

/// The owner's step in a thread cell.
inline void add_to_gauge(ThreadCell& cell, std::uint64_t whole) noexcept {
  // Release, both: pair with the acquires of a reader's two looks.
  cell.bits.store(cell.bits.load(std::memory_order_relaxed) + whole, std::memory_order_release);
  cell.count.store(cell.count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

inline void add_gauge(CellRef to, double step) noexcept {
  std::uint64_t whole = 0;
  if (is_trackable(to, step, whole)) [[likely]] {
    if (ThreadCell* cell = own_cell(to)) [[likely]] {
      return add_to_gauge(*cell, whole);
    }
  }
  add_gauge_slowly(to, step);
}

/// 0 for a removed series.
QUIPU_EXPORT [[nodiscard]] double read_gauge(CellRef from) noexcept;

/// Makes it 0. A gauge that is only added to loses no step that is made meanwhile. Of sets that are made meanwhile one
/// may win. Takes a lock if threads change the gauge without a pause.
void reset_gauge(CellRef gauge) noexcept;

/// What look_at_gauge() finds.
struct GaugeLook {
  /// A gauge that was set: it was written to since the last look. Another one: its value is not 0, so what it counts is
  /// there; or it is changing.
  bool is_in_use;
  std::uint64_t changes;  // changes when the gauge does, except that steps of a shared sum may cancel out
};
/// Looks at a gauge to find out whether it is in use. A write that was begun before the last look may not be found.
/// Does not wait. One look at a gauge at a time.
[[nodiscard]] GaugeLook look_at_gauge(CellRef gauge) noexcept;

}  // namespace quipu::detail

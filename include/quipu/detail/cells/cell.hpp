#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/thread_cells.hpp"

/// The memory of a series. Cells know no names and no labels.
///
/// The value of a series is the value in its own cell plus the sum of its thread cells.
///
/// A reading includes every recording that happens before it, by any synchronisation of the program. For each cell is a
/// single atomic, and coherence forbids reading an older value of it. A whole number never goes down from one reading
/// to the next, because no cell of it does, and nothing is ever moved from one cell to another.
///
/// A reset takes what was read off the part that all threads share. For a whole number that is exact, modulo 2^64,
/// whatever threads record meanwhile. It is released, and readers acquire the shared part before they load the thread
/// cells. So who sees the reset sees in the thread cells at least what the reset has taken off, and no reading is below
/// 0. Whoever resets excludes other resets of the same series.
namespace quipu::detail {

/// The part of a series that its threads share. Cells are reused, and never destroyed: a handle that outlives its
/// series still points to a cell.
struct alignas(16) Cell {
  /// Identifies the series that uses this cell. 0 after the series was removed. A handle carries the tag of its series.
  /// No two series have the same tag, until 2^32 series have been made.
  std::atomic<std::uint32_t> tag{0};
  /// For a gauge, its GaugeState. For every other series, its creation time as by seconds_now(). The cell does not say
  /// which of the two it is; only code that knows the kind of the series uses it.
  std::atomic<std::uint32_t> state{0};
  /// A whole number (counter), the bits of a double (fractional counter, gauge that was set), a bit for each state
  /// (stateset), a SharedHistogram*, null until it is needed (histogram), or a NativeCells* (native histogram).
  std::atomic<std::uint64_t> bits{0};
};

/// Where a handle points that was never given a series.
QUIPU_EXPORT inline constinit Cell discard_cell{};

struct CellRef {
  Cell* cell = &discard_cell;
  std::uint32_t tag = 1;
  std::uint32_t slot = 0;  // of the thread cells; 0 for a series that has none

  /// Acquire: pairs with the release in end_series(), and with the one in begin_series().
  [[nodiscard]] bool is_live() const noexcept { return cell->tag.load(std::memory_order_acquire) == tag; }
  friend bool operator==(const CellRef&, const CellRef&) = default;
};

/// This thread's cell for the series. Null if the thread has none, or has not written to it yet.
[[nodiscard]] inline ThreadCell* own_cell(CellRef series) noexcept {
  ThreadCell* cell = own_slab->cell(series.slot);
  if (cell == nullptr || cell->tag.load(std::memory_order_relaxed) != series.tag) [[unlikely]] {
    return nullptr;
  }
  return cell;
}

// The owner's additions to a thread cell. Nobody else writes to it, so a load and a store are enough.

inline void add_to(std::atomic<std::uint64_t>& whole, std::uint64_t step) noexcept {
  whole.store(whole.load(std::memory_order_relaxed) + step, std::memory_order_relaxed);
}

inline void add_to(std::atomic<std::uint64_t>& real, double step,
                   std::memory_order order = std::memory_order_relaxed) noexcept {
  const double sum = std::bit_cast<double>(real.load(std::memory_order_relaxed)) + step;
  real.store(std::bit_cast<std::uint64_t>(sum), order);
}

/// An empty cell, followed by memory: `bytes` in all. The memory behind a reused cell still holds its old contents.
/// Thread-safe; takes a lock. Throws std::bad_alloc.
[[nodiscard]] QUIPU_EXPORT Cell& acquire_cell(std::size_t bytes);
/// Keeps the cell for the next acquire_cell() of the same size. Its tag is 0. Thread-safe; takes a lock.
QUIPU_EXPORT void release_cell(Cell& cell, std::size_t bytes) noexcept;

/// The tag of the newest series in this process. Tags are given in order.
[[nodiscard]] QUIPU_EXPORT std::uint32_t last_tag() noexcept;
/// The wall clock in whole seconds since the Unix epoch, which fit 32 bits until 2106. Rounded down, so that a creation
/// time never lies in the future.
[[nodiscard]] QUIPU_EXPORT std::uint32_t seconds_now() noexcept;
/// Begins a new series in an empty cell. `cells` is the number of its thread cells; `state` and `bits` are what the
/// cell starts with.
[[nodiscard]] QUIPU_EXPORT CellRef begin_series(Cell& cell, std::size_t cells, std::uint32_t state,
                                                std::uint64_t bits = 0) noexcept;
/// Ends recording: from now on handles of the series record nothing.
QUIPU_EXPORT void end_series(Cell& cell) noexcept;
/// Frees the slot of a series that has ended, after quiesce() has returned true.
QUIPU_EXPORT void recycle_series(std::uint32_t slot, std::size_t cells) noexcept;

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <bit>
#include <cstdint>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"

/// Recording and reading gauges.
///
/// A gauge that is only added to (in flight, queue length) is counted in thread cells, as a counter is, as long as the
/// steps are whole numbers. To set a gauge takes a single cell. So the first set turns the gauge, for good, into one
/// that uses only the cell of the series, and its thread cells do not count any more.
///
/// The first set changes the state to `being_set`, stores the value, and changes the state to `set`. Whatever else
/// happens in between is ordered before the first set: additions that are under way, in either cell, and other sets,
/// which therefore have no effect. Only a reader waits for the end, as it could not tell which of the two values the
/// cell holds.
namespace quipu::detail {

struct GaugeState {
  enum : std::uint32_t { counted, being_set, set };
};

QUIPU_EXPORT void set_gauge_slowly(CellRef to, double value) noexcept;
QUIPU_EXPORT void add_gauge_slowly(CellRef to, double step) noexcept;

inline void set_gauge(CellRef to, double value) noexcept {
  if (has_slab() && to.cell->state.load(std::memory_order_relaxed) == GaugeState::set) [[likely]] {
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
  // Acquire: pairs with the release in set_gauge_slowly(). What comes after the first set goes to the series' cell.
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

/// 0 for a removed series.
QUIPU_EXPORT [[nodiscard]] double read_gauge(CellRef from) noexcept;

}  // namespace quipu::detail

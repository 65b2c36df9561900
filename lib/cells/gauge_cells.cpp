#include "quipu/detail/cells/gauge_cells.hpp"

#include "base/backoff.hpp"
#include "cells/cell_access.hpp"

namespace quipu::detail {

void set_gauge_slowly(CellRef to, double value) noexcept {
  static_cast<void>(acquire_slab());
  const Guard guard;
  if (!to.is_live()) return;
  std::atomic<std::uint32_t>& state = to.cell->state;
  std::uint32_t known = GaugeState::counted;
  const bool is_first = state.compare_exchange_strong(known, GaugeState::being_set, std::memory_order_relaxed);
  if (known == GaugeState::being_set) return;  // this set counts as one that came just before the first set
  to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
  // Release: pairs with the acquires in read_gauge() and is_trackable(). The value has been stored.
  if (is_first) state.store(GaugeState::set, std::memory_order_release);
}

void add_gauge_slowly(CellRef to, double step) noexcept {
  std::uint64_t whole = 0;
  if (is_trackable(to, step, whole)) {
    if (ThreadCell* cell = claim(to, 1, misses_for_a_block)) return add_to(cell->bits, whole);
  }
  const Guard guard;
  // Release: pairs with the acquire of `shared` in read_gauge(). A reader that sees a step from after the change of the
  // state then sees the change.
  if (to.is_live()) add_shared(to.cell->bits, step, std::memory_order_release);
}

double read_gauge(CellRef from) noexcept {
  const Guard guard;
  const std::atomic<std::uint32_t>& state = from.cell->state;
  for (Backoff backoff;; backoff.wait()) {
    if (!from.is_live()) return 0;
    const std::uint32_t before = state.load(std::memory_order_acquire);  // pairs with the release in set_gauge_slowly()
    // Acquire: pairs with the release in add_gauge_slowly().
    const double shared = std::bit_cast<double>(from.cell->bits.load(std::memory_order_acquire));
    if (before == GaugeState::set) return shared;
    if (before == GaugeState::being_set) {
      if (backoff.is_exhausted()) return shared;
      continue;
    }
    std::uint64_t tracked = 0;
    for_each_thread(from, [&](Slab&, ThreadCell& cell) { tracked += cell.bits.load(std::memory_order_relaxed); });
    // Relaxed: the acquire of `shared` orders this load after that one.
    if (state.load(std::memory_order_relaxed) == GaugeState::counted) {
      return shared + static_cast<double>(static_cast<std::int64_t>(tracked));
    }
  }
}

}  // namespace quipu::detail

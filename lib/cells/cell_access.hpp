#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/cells/cell.hpp"

/// How writers get their thread cells, and readers the cells of all threads.
namespace quipu::detail {

/// How many writes without a thread cell earn a block: a thread that touches a series now and then should not take up
/// 4 KiB for it.
inline constexpr std::uint8_t misses_for_a_block = 8;

/// This thread's first cell of the series, with `cells` cells cleared for it. Null if it can have none, or has not
/// earned it by `misses_needed` writes yet.
ThreadCell* claim(CellRef series, std::size_t cells, std::uint8_t misses_needed) noexcept;

/// Another thread's first cell of the series, or null if it has none. To be called under a guard.
inline ThreadCell* cell_of(Slab& slab, CellRef series) noexcept {
  // Acquire: pairs with the release in claim().
  ThreadCell* block = slab.blocks[series.slot / cells_per_block].load(std::memory_order_acquire);
  if (block == nullptr) return nullptr;  // as always for slot 0
  ThreadCell& cell = block[series.slot % cells_per_block];
  // Acquire: pairs with the release in claim(), which clears the cell before.
  return cell.tag.load(std::memory_order_acquire) == series.tag ? &cell : nullptr;
}

/// Calls visit(slab, cell) for each thread's cell of the series. To be called under a guard.
template <class Visit>
void for_each_thread(CellRef series, Visit visit) {
  if (series.slot == 0) return;
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    if (ThreadCell* cell = cell_of(*slab, series)) visit(*slab, *cell);
  }
}

/// Adds to a double that several threads write to.
inline void add_shared(std::atomic<std::uint64_t>& real, double step,
                       std::memory_order order = std::memory_order_relaxed) noexcept {
  std::uint64_t old = real.load(std::memory_order_relaxed);
  while (!real.compare_exchange_weak(old, std::bit_cast<std::uint64_t>(std::bit_cast<double>(old) + step), order,
                                     std::memory_order_relaxed)) {
  }
}

}  // namespace quipu::detail

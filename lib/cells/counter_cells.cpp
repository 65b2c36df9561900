#include "quipu/detail/cells/counter_cells.hpp"

#include <bit>

#include "cells/cell_access.hpp"

namespace quipu::detail {

void add_whole_slowly(CellRef to, std::uint64_t step) noexcept {
  if (ThreadCell* cell = claim(to, 1, misses_for_a_block)) return add_to(cell->bits, step);
  const Guard guard;
  if (to.is_live()) to.cell->bits.fetch_add(step, std::memory_order_relaxed);
}

void add_real_slowly(CellRef to, double step) noexcept {
  if (ThreadCell* cell = claim(to, 1, misses_for_a_block)) return add_to(cell->bits, step);
  const Guard guard;
  if (to.is_live()) add_shared(to.cell->bits, step);
}

std::uint64_t read_whole(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  std::uint64_t total = from.cell->bits.load(std::memory_order_relaxed);
  for_each_thread(from, [&](Slab&, ThreadCell& cell) { total += cell.bits.load(std::memory_order_relaxed); });
  return total;
}

void read_whole(std::span<const CellRef> from, std::uint64_t* into) noexcept {
  const Guard guard;
  for (std::size_t i = 0; i < from.size(); ++i) {
    into[i] = from[i].is_live() ? from[i].cell->bits.load(std::memory_order_relaxed) : 0;
  }
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (const ThreadCell* cell = cell_of(*slab, from[i])) into[i] += cell->bits.load(std::memory_order_relaxed);
    }
  }
}

double read_real(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  double total = std::bit_cast<double>(from.cell->bits.load(std::memory_order_relaxed));
  for_each_thread(from, [&](Slab&, ThreadCell& cell) {
    total += std::bit_cast<double>(cell.bits.load(std::memory_order_relaxed));
  });
  return total;
}

}  // namespace quipu::detail

#include "quipu/detail/cells/counter_cells.hpp"

#include <bit>

#include "cells/cell_access.hpp"

namespace quipu::detail {
namespace {

/// In the same order each time, so that the same cells have the same sum. Adding is monotonic, so the sum never goes
/// down, however it is rounded.
double sum_of_threads(CellRef counter) noexcept {
  double total = 0;
  for_each_thread(counter, [&](Slab&, ThreadCell& cell) {
    total += std::bit_cast<double>(cell.bits.load(std::memory_order_relaxed));
  });
  return total;
}

}  // namespace

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
  std::uint64_t total = from.cell->bits.load(std::memory_order_acquire);  // pairs with reset_whole()
  for_each_thread(from, [&](Slab&, ThreadCell& cell) { total += cell.bits.load(std::memory_order_relaxed); });
  return total;
}

void read_whole(std::span<const CellRef> from, std::uint64_t* into) noexcept {
  const Guard guard;
  for (std::size_t i = 0; i < from.size(); ++i) {
    // Acquire: pairs with reset_whole().
    into[i] = from[i].is_live() ? from[i].cell->bits.load(std::memory_order_acquire) : 0;
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
  // Acquire: pairs with reset_real().
  const double shared = std::bit_cast<double>(from.cell->bits.load(std::memory_order_acquire));
  return sum_of_threads(from) + shared;
}

void reset_whole(CellRef counter) noexcept {
  const Guard guard;
  // Release: pairs with the acquires of readers.
  if (counter.is_live()) counter.cell->bits.fetch_sub(read_whole(counter), std::memory_order_release);
}

void reset_real(CellRef counter) noexcept {
  const Guard guard;
  if (!counter.is_live()) return;
  std::uint64_t shared = counter.cell->bits.load(std::memory_order_relaxed);
  double threads = sum_of_threads(counter);
  // Release: pairs with the acquire in read_real(). Steps that threads without cells make meanwhile come before it.
  while (!counter.cell->bits.compare_exchange_weak(shared, std::bit_cast<std::uint64_t>(-threads),
                                                   std::memory_order_release, std::memory_order_relaxed)) {
    threads = sum_of_threads(counter);
  }
}

}  // namespace quipu::detail

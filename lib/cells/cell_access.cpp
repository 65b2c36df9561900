#include "cells/cell_access.hpp"

#include <span>

namespace quipu::detail {

ThreadCell* claim(CellRef series, std::size_t cells, std::uint8_t misses_needed) noexcept {
  if (series.slot == 0 || !acquire_slab()) return nullptr;
  const Guard guard;  // the slot does not change hands meanwhile
  if (!series.is_live()) return nullptr;
  const std::size_t block = series.slot / cells_per_block;
  if (own_slab->blocks[block].load(std::memory_order_relaxed) == nullptr) {
    if (own_slab->misses[block] < misses_needed) {
      ++own_slab->misses[block];
      return nullptr;
    }
    ThreadCell* fresh = acquire_block();
    if (fresh == nullptr) return nullptr;
    own_slab->blocks[block].store(fresh, std::memory_order_release);  // pairs with cell_of()
  }
  ThreadCell* cell = own_slab->cell(series.slot);
  if (cell->tag.load(std::memory_order_relaxed) != series.tag) {
    cell->count.store(0, std::memory_order_relaxed);
    cell->bits.store(0, std::memory_order_relaxed);
    for (std::atomic<std::uint64_t>& bucket : std::span(cell->buckets(), 2 * (cells - 1))) {
      bucket.store(0, std::memory_order_relaxed);
    }
    cell->tag.store(series.tag, std::memory_order_release);  // pairs with cell_of(): the cell has been cleared
  }
  return cell;
}

}  // namespace quipu::detail

#include "quipu/detail/cells/cell_memory.hpp"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <new>
#include <utility>

#include "cells/locks.hpp"
#include "cells/map_memory.hpp"
#include "quipu/detail/cells/cell.hpp"

namespace quipu::detail {

void* map_memory(std::size_t bytes) noexcept {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

namespace {

/// Memory that is taken and given back in any order. Used with `cell_memory_lock` held.
///
/// What is free begins with a cell of tag 0, whose `bits` hold the address of the next free memory of the same size
/// class. So a free cell is one that handles of a removed series may still look at.
class Pool {
 public:
  /// `step` is the unit of sizes, and the alignment.
  constexpr explicit Pool(std::size_t step) : step_(step) {}

  /// Memory that begins with a cell of tag 0, or null.
  [[nodiscard]] Cell* take(std::size_t bytes) noexcept {
    const Size size = size_of(bytes);
    Cell*& first = free_[size.size_class];
    if (first != nullptr) {
      return std::exchange(first, std::bit_cast<Cell*>(first->bits.load(std::memory_order_relaxed)));
    }
    void* memory = fresh(size.bytes);
    return memory == nullptr ? nullptr : new (memory) Cell;
  }
  void put(Cell& cell, std::size_t bytes) noexcept {
    Cell*& first = free_[size_of(bytes).size_class];
    cell.bits.store(std::bit_cast<std::uint64_t>(first), std::memory_order_relaxed);
    first = &cell;
  }

 private:
  /// Up to so many steps, each number of steps is a class; above, each power of two.
  static constexpr std::size_t exact_classes = 256;
  static constexpr std::size_t chunk = std::size_t{64} << 10;  // what is taken from the system at a time

  struct Size {
    std::size_t bytes;
    std::size_t size_class;
  };
  [[nodiscard]] Size size_of(std::size_t bytes) const noexcept {
    const std::size_t steps = (bytes + step_ - 1) / step_;
    if (steps <= exact_classes) return {steps * step_, steps};
    const std::size_t rounded = std::bit_ceil(steps);
    return {rounded * step_, exact_classes + static_cast<std::size_t>(std::bit_width(rounded))};
  }

  void* fresh(std::size_t bytes) noexcept {
    if (bytes > chunk / 16) return map_memory(bytes);
    if (left_ < bytes) {
      void* memory = map_memory(chunk);
      if (memory == nullptr) return nullptr;
      rest_ = static_cast<char*>(memory);
      left_ = chunk;
    }
    left_ -= bytes;
    return std::exchange(rest_, rest_ + bytes);
  }

  const std::size_t step_;
  std::array<Cell*, exact_classes + 66> free_{};
  char* rest_ = nullptr;
  std::size_t left_ = 0;
};

// Cells have a pool of their own: what was a cell once is never anything else, as handles of removed series load its
// tag.
constinit Pool cells(alignof(Cell));
constinit Pool others(64);

}  // namespace

Cell& acquire_cell(std::size_t bytes) {
  const std::lock_guard lock(cell_memory_lock);
  Cell* cell = cells.take(bytes);
  if (cell == nullptr) throw std::bad_alloc();
  cell->bits.store(0, std::memory_order_relaxed);
  return *cell;
}

void release_cell(Cell& cell, std::size_t bytes) noexcept {
  const std::lock_guard lock(cell_memory_lock);
  cells.put(cell, bytes);
}

void* acquire_memory(std::size_t bytes) noexcept {
  const std::lock_guard lock(cell_memory_lock);
  return others.take(bytes);
}

void release_memory(void* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return;
  const std::lock_guard lock(cell_memory_lock);
  others.put(*new (memory) Cell, bytes);
}

}  // namespace quipu::detail

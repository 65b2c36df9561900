#include <new>
#include <utility>
#include <vector>

#include "cells/locks.hpp"
#include "quipu/detail/cells/cells.hpp"

namespace quipu::detail {

constinit std::mutex cell_memory_lock;

namespace {

/// Sizes are in steps, which are also what cells are aligned to.
constexpr std::size_t step = alignof(Cell);
constexpr std::size_t chunk = 4096;  // steps; taken from the system at a time, for small blocks

[[nodiscard]] std::size_t in_steps(std::size_t bytes) noexcept { return (bytes + step - 1) / step; }

/// For each size, the cells that were released.
std::vector<std::vector<Cell*>>& released() {
  static auto& cells = *new std::vector<std::vector<Cell*>>;
  return cells;
}

void* from_system(std::size_t steps) { return ::operator new (steps* step, std::align_val_t{step}); }

/// Memory in which there was no cell yet.
void* fresh(std::size_t steps) {
  static constinit char* rest = nullptr;
  static constinit std::size_t left = 0;
  if (steps > chunk / 16) return from_system(steps);
  if (left < steps) {
    rest = static_cast<char*>(from_system(chunk));
    left = chunk;
  }
  left -= steps;
  return std::exchange(rest, rest + steps * step);
}

}  // namespace

Cell& acquire_cell(std::size_t bytes) {
  const std::size_t steps = in_steps(bytes);
  const std::lock_guard lock(cell_memory_lock);
  auto& cells = released();
  // A cell that was used is left as it is: old handles may be looking at its tag, which is 0.
  if (steps >= cells.size() || cells[steps].empty()) return *new (fresh(steps)) Cell;
  Cell* used = cells[steps].back();
  cells[steps].pop_back();
  return *used;
}

void release_cell(Cell& cell, std::size_t bytes) {
  const std::size_t steps = in_steps(bytes);
  const std::lock_guard lock(cell_memory_lock);
  auto& cells = released();
  if (cells.size() <= steps) cells.resize(steps + 1);
  cells[steps].push_back(&cell);
}

}  // namespace quipu::detail

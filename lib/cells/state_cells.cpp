#include "quipu/detail/cells/state_cells.hpp"

namespace quipu::detail {

void set_states(CellRef to, std::uint64_t bits) noexcept {
  const Guard guard;
  if (to.is_live()) to.cell->bits.store(bits, std::memory_order_relaxed);
}

void switch_states(CellRef to, std::uint64_t bits, bool is_in) noexcept {
  const Guard guard;
  if (!to.is_live()) return;
  if (is_in) {
    to.cell->bits.fetch_or(bits, std::memory_order_relaxed);
  } else {
    to.cell->bits.fetch_and(~bits, std::memory_order_relaxed);
  }
}

std::uint64_t read_states(CellRef from) noexcept {
  const Guard guard;
  return from.is_live() ? from.cell->bits.load(std::memory_order_relaxed) : 0;
}

}  // namespace quipu::detail

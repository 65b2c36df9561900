#pragma once

#include <cstdint>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"

/// Recording and reading statesets. All states are bits of one cell, so a reader sees the states of one moment.
namespace quipu::detail {

QUIPU_EXPORT void set_states(CellRef to, std::uint64_t bits) noexcept;
/// Sets `bits` if `is_in`, and clears them if not. The other bits stay as they are.
QUIPU_EXPORT void switch_states(CellRef to, std::uint64_t bits, bool is_in) noexcept;
/// 0 for a removed series.
QUIPU_EXPORT [[nodiscard]] std::uint64_t read_states(CellRef from) noexcept;

}  // namespace quipu::detail

#pragma once

#include <cstdint>
#include <span>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"

/// Recording and reading counters: whole numbers, and sums of doubles.
namespace quipu::detail {

/// For a thread's first writes to a series, and for all writes without a thread cell.
QUIPU_EXPORT void add_whole_slowly(CellRef to, std::uint64_t step) noexcept;
QUIPU_EXPORT void add_real_slowly(CellRef to, double step) noexcept;

inline void add_whole(CellRef to, std::uint64_t step) noexcept {
  if (ThreadCell* cell = own_cell(to)) [[likely]] {
    return add_to(cell->bits, step);
  }
  add_whole_slowly(to, step);
}

inline void add_real(CellRef to, double step) noexcept {
  if (ThreadCell* cell = own_cell(to)) [[likely]] {
    return add_to(cell->bits, step);
  }
  add_real_slowly(to, step);
}

/// 0 for a removed series.
QUIPU_EXPORT [[nodiscard]] std::uint64_t read_whole(CellRef from) noexcept;
/// The same for several counters, in a third of the time. `into` has room for all.
QUIPU_EXPORT void read_whole(std::span<const CellRef> from, std::uint64_t* into) noexcept;
/// 0 for a removed series.
QUIPU_EXPORT [[nodiscard]] double read_real(CellRef from) noexcept;

/// Take off all that was recorded before. Nothing that is recorded meanwhile is lost. A real number is then as exact as
/// the difference between what it was and what it becomes.
void reset_whole(CellRef counter) noexcept;
void reset_real(CellRef counter) noexcept;

}  // namespace quipu::detail

#pragma once

#include "quipu/detail/family/series_table.hpp"

namespace quipu::detail {

/// How the series of a table use their cells.
struct CellUse {
  /// Each bucket has thread cells and exemplars, instead of one set for the series. For a native histogram these are
  /// its classic buckets: its generations have thread cells of their own.
  bool has_buckets = false;
  bool has_histogram = false;    // Cell::bits is a SharedHistogram*
  bool has_native = false;       // Cell::bits is a NativeCells*
  bool has_gauge_state = false;  // Cell::state is a GaugeState, and a shared sum follows the key; otherwise the time
                                 // when the series was made
};

/// A new kind must be added here, in InstrumentWalk::show_some() and in describe(Definition).
[[nodiscard]] constexpr CellUse use_of(CellKind kind) noexcept {
  switch (kind) {
    case CellKind::whole:
    case CellKind::real:
    case CellKind::states:
      return {};
    case CellKind::gauge:
      return {.has_gauge_state = true};
    case CellKind::histogram:
      return {.has_buckets = true, .has_histogram = true};
    case CellKind::native:
      return {.has_buckets = true, .has_native = true};
    case CellKind::summary:
      return {.has_native = true};
  }
  return {};
}

}  // namespace quipu::detail

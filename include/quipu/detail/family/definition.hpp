#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/label.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// The definition of a family. Registering an equal definition again gives the same family.
struct Definition {
  MetricType type = MetricType::counter;
  CellKind cells = CellKind::whole;
  std::string name{};  // with its prefix
  std::string help{};
  std::string unit{};
  std::vector<std::string> label_names{};
  std::vector<LabelColumn> columns{};
  std::vector<double> bounds{};  // of a histogram
  std::optional<NativeSpec> native{};
  std::uint64_t first_states = 0;  // of a stateset: the states in which a series begins, a bit each
  std::chrono::nanoseconds idle_expiry{0};

  /// The columns of the labels that tell series apart. The last label of a stateset is not among them, because its
  /// states share a cell.
  [[nodiscard]] std::span<const LabelColumn> key_columns() const noexcept {
    return std::span(columns).first(columns.size() - (type == MetricType::stateset ? 1 : 0));
  }

  friend bool operator==(const Definition&, const Definition&) = default;
};

}  // namespace quipu::detail

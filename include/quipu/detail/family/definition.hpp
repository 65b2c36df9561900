#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/label.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// Names and values of const labels, as valid UTF-8.
using OwnedLabels = std::vector<std::pair<std::string, std::string>>;

/// The definition of a family, or of a part of one. The parts of a family have the same definition (is_same_family()),
/// but for the values of their const labels. Registering the definition of a part again gives the same part.
struct Definition {
  MetricType type = MetricType::counter;
  CellKind cells = CellKind::whole;
  std::string name{};  // with its prefix
  std::string help{};
  std::string unit{};
  OwnedLabels const_labels{};  // of the registry, its subsystems and the family, in this order
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
};

}  // namespace quipu::detail

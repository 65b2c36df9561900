#pragma once

#include <string>
#include <vector>

#include "quipu/sample.hpp"

namespace quipu {

/// A label of a family, and its values, as far as they are known beforehand.
struct DescribedLabel {
  std::string name;
  /// Of a const label, one value for each part of the family. Of another label, all that there may be, if it is an
  /// enum, a bool or the state of a stateset; empty if it may have any value. (A family that is full has "overflow",
  /// too.)
  std::vector<std::string> values;

  friend bool operator==(const DescribedLabel&, const DescribedLabel&) = default;
};

/// A family of a registry, whether it has a series or not.
struct DescribedFamily {
  std::string name;  // as on the page: with its prefix, and its suffix (`_total`, `_info`)
  std::string help;
  std::string unit;
  MetricType type = MetricType::counter;
  std::vector<DescribedLabel> const_labels = {};  // the first labels of every series
  std::vector<DescribedLabel> labels = {};        // the others, in their order, without `le`

  friend bool operator==(const DescribedFamily&, const DescribedFamily&) = default;
};

}  // namespace quipu

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "family/definition.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// One series that a collector showed.
struct CollectedSeries {
  std::vector<std::string> label_values;
  Number value;
};

/// What a collector showed of one family in one scrape.
struct CollectedFamily {
  std::shared_ptr<const Definition> definition;
  std::string local_name;       // without the prefix
  std::size_t max_label_value;  // in bytes
  std::vector<CollectedSeries> series{};
};

}  // namespace quipu::detail

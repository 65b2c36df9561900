#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// A callback, as a collector of one series.
[[nodiscard]] std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                                       std::function<double()> read);

}  // namespace quipu::detail

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

/// A function, as a collector of the families that it describes, or of any.
[[nodiscard]] std::shared_ptr<Collector> make_collector(std::vector<FamilyDescription> families,
                                                        std::function<void(Samples&)> collect);

}  // namespace quipu::detail

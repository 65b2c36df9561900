#pragma once

#include <functional>
#include <memory>

#include "quipu/collector.hpp"
#include "quipu/health.hpp"

namespace quipu::detail {

/// A collector that shows what `report` returns as numbers: the program's status, and that of each component. With
/// `version_label` each series has the version as a label.
[[nodiscard]] std::shared_ptr<Collector> make_health_collector(std::function<HealthReport()> report,
                                                               bool version_label);

}  // namespace quipu::detail

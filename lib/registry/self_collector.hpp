#pragma once

#include <memory>

#include "quipu/collector.hpp"

namespace quipu::detail {

class RegistryCore;

/// The collector of the library's own metrics: those of the process, and those of this registry, which must outlive the
/// collector.
[[nodiscard]] std::shared_ptr<Collector> make_self_collector(RegistryCore& registry);

/// Describes `quipu_collector_up`, for the collector of this role (RegisteredCollector::Role::status).
[[nodiscard]] std::shared_ptr<Collector> make_status_collector();

}  // namespace quipu::detail

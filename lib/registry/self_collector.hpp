#pragma once

#include <memory>

#include "quipu/collector.hpp"

namespace quipu::detail {

class RegistryCore;

/// The collector of what the library counts of recordings in the process.
[[nodiscard]] std::shared_ptr<Collector> make_recording_collector();

/// The collector of what the library counts of this registry, which must outlive the collector.
[[nodiscard]] std::shared_ptr<Collector> make_self_collector(RegistryCore& registry);

/// Describes `quipu_collector_up`, for the collector of this role (RegisteredCollector::Role::status).
[[nodiscard]] std::shared_ptr<Collector> make_status_collector();

}  // namespace quipu::detail

#pragma once

#include <cstddef>
#include <memory>

#include "quipu/collector.hpp"

namespace quipu::detail {

class RegistryCore;

/// The collector of what the library counts of recordings in the process.
[[nodiscard]] std::shared_ptr<Collector> make_recording_collector();

/// The collector of what the library counts of this registry, which must outlive the collector.
[[nodiscard]] std::shared_ptr<Collector> make_self_collector(RegistryCore& registry);

/// The families of the collector of this role (RegisteredCollector::Role::status), in its order:
/// `quipu_collector_up` and `quipu_collector_duration_seconds`.
inline constexpr std::size_t up_family = 0;
inline constexpr std::size_t duration_family = 1;
[[nodiscard]] std::shared_ptr<Collector> make_status_collector();

}  // namespace quipu::detail

#pragma once

#include <memory>

#include "quipu/collector.hpp"

namespace quipu::detail {

class RegistryCore;

/// What the library counts of itself: in the process, and in this registry, which must live as long.
[[nodiscard]] std::shared_ptr<Collector> make_self_collector(RegistryCore& registry);

}  // namespace quipu::detail

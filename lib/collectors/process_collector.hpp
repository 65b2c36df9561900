#pragma once

#include <memory>
#include <string>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// The process_* metrics of every Prometheus client, from Linux' /proc, or a copy of it at `root`. What cannot be read
/// is left out, each value on its own. On other systems it shows nothing.
[[nodiscard]] std::shared_ptr<Collector> make_process_collector(std::string root = "/proc");

}  // namespace quipu::detail

#pragma once

#include <memory>
#include <string>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// The process_* metrics that every Prometheus client has. They come from /proc of Linux, or from a copy of it at
/// `root`. Each value that cannot be read is left out by itself. On other systems it shows nothing.
[[nodiscard]] std::shared_ptr<Collector> make_process_collector(std::string root = "/proc");

}  // namespace quipu::detail

#pragma once

#include <memory>
#include <string>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// The C++ runtime's metrics of the process, named cxx_*; clients for other languages name theirs go_*, python_*. It
/// repeats nothing of the process collector. What is not known on this system is left out. `root` is the path of /proc.
[[nodiscard]] std::shared_ptr<Collector> make_runtime_collector(std::string root = "/proc");

}  // namespace quipu::detail

#pragma once

#include <memory>
#include <string>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// What the C++ runtime knows of the process, as cxx_* metrics: other languages' clients call theirs go_*, python_*. It
/// repeats nothing of the process collector. What is not known on this system is left out. `root` is that of /proc.
[[nodiscard]] std::shared_ptr<Collector> make_runtime_collector(std::string root = "/proc");

}  // namespace quipu::detail

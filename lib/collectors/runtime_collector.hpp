#pragma once

#include <memory>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// The C++ runtime's metrics of the process, named cxx_*; clients for other languages name theirs go_*, python_*. It
/// repeats nothing of the process collector. What is not known on this system is left out.
[[nodiscard]] std::shared_ptr<Collector> make_runtime_collector();

}  // namespace quipu::detail

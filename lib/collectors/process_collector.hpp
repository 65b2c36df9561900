#pragma once

#include <memory>
#include <string>

#include "quipu/collector.hpp"

namespace quipu::detail {

/// Which families a process collector has.
struct ProcessFamilies {
  bool standard = true;  // those of every Prometheus client
  bool io = false;
  bool pressure = false;
  bool peaks = false;

  [[nodiscard]] bool any() const noexcept { return standard || io || pressure || peaks; }
};

/// The process_* metrics. They come from /proc of Linux, or from a copy of it at `root`, and from the cgroups at
/// `cgroups` (version 2). Each value that cannot be read is left out by itself. On other systems it shows nothing.
[[nodiscard]] std::shared_ptr<Collector> make_process_collector(ProcessFamilies families = {},
                                                                std::string root = "/proc",
                                                                std::string cgroups = "/sys/fs/cgroup");

}  // namespace quipu::detail

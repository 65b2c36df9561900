#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/executor.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// What the collectors showed in one scrape. Those that failed are missing.
using Collected = std::map<const RegisteredCollector*, std::vector<CollectedFamily>>;

/// What went wrong with collectors, since the registry was made.
struct CollectorErrors {
  std::atomic<std::uint64_t> exceptions{0};
  std::atomic<std::uint64_t> timeouts{0};
  std::atomic<std::uint64_t> duplicates{0};  // series that were shown twice on a page
};

/// Calls all collectors. Returns at the deadline, without those that are not done by then: they are called on other
/// threads, the prompt ones on this one. Without a deadline (time_point::max()) all are called on this thread.
[[nodiscard]] Collected collect(std::span<const std::shared_ptr<RegisteredCollector>> collectors,
                                std::chrono::steady_clock::time_point deadline, CollectorErrors& errors,
                                Executor& threads);

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "base/executor.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// What the collectors showed in one scrape. Those that failed are missing.
using Collected = std::map<const RegisteredCollector*, std::shared_ptr<const std::vector<CollectedFamily>>>;

/// Counts of what went wrong with collectors since the registry was made.
struct CollectorErrors {
  std::atomic<std::uint64_t> exceptions{0};
  std::atomic<std::uint64_t> timeouts{0};
  std::atomic<std::uint64_t> duplicates{0};  // series that were shown twice on a page
};

/// Calls all collectors. Returns at the deadline or when it is asked to stop, without the collectors that are not done;
/// at the deadline these are counted. Prompt collectors are called on this thread, the others on other threads, in
/// calls that scrapes share. With neither a deadline (time_point::max()) nor anybody who can ask it to stop, all are
/// called on this thread, for this scrape alone.
[[nodiscard]] Collected collect(std::span<const std::shared_ptr<RegisteredCollector>> collectors,
                                std::chrono::steady_clock::time_point deadline, const std::stop_token& stop,
                                CollectorErrors& errors, Executor& threads);

}  // namespace quipu::detail

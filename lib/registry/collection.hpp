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

/// Counts of what went wrong with collectors, and with pages, since the registry was made.
struct CollectorErrors {
  std::atomic<std::uint64_t> exceptions{0};
  std::atomic<std::uint64_t> timeouts{0};
  std::atomic<std::uint64_t> duplicates{0};  // series that were shown twice on a page
  // What pages of several registries left out.
  std::atomic<std::uint64_t> clashing_families{0};
  std::atomic<std::uint64_t> clashing_series{0};
};

/// A collector of a scrape, and where its failures are counted.
struct ScrapedCollector {
  std::shared_ptr<RegisteredCollector> registered;
  CollectorErrors* errors;
};

/// Calls all collectors. Returns at the deadline or when it is asked to stop, without the collectors that are not done;
/// at the deadline these are counted. Prompt collectors are called on this thread, the others on other threads, in
/// calls that scrapes share. With neither a deadline (time_point::max()) nor anybody who can ask it to stop, all are
/// called on this thread, for this scrape alone.
[[nodiscard]] Collected collect(std::span<const ScrapedCollector> collectors,
                                std::chrono::steady_clock::time_point deadline, const std::stop_token& stop,
                                Executor& threads);

}  // namespace quipu::detail

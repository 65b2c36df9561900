#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/executor.hpp"
#include "registry/registered_collector.hpp"

namespace quipu::detail {

/// A call of a collector that is over.
struct CollectedCall {
  std::shared_ptr<const std::vector<CollectedFamily>> families;  // null if it threw
  std::chrono::nanoseconds duration{0};
};

/// The calls of one scrape. Those that were not over in time are missing.
using Collected = std::map<const RegisteredCollector*, CollectedCall>;

using OnCollectorError = std::function<void(std::string_view collector, std::string_view what)>;

/// A collector of a scrape, and whom its registry tells of errors.
struct ScrapedCollector {
  std::shared_ptr<RegisteredCollector> registered;
  const OnCollectorError* on_error;
};

/// Counts an error that happened so many times, and tells the program. To be called without a lock.
void report(const RegisteredCollector& collector, CollectorFault fault, std::string_view what,
            const OnCollectorError& on_error, std::uint64_t times = 1);

/// Calls all collectors. Returns at the deadline or when it is asked to stop, without the collectors that are not done;
/// at the deadline these are reported. Prompt collectors are called on this thread, the others on other threads, in
/// calls that scrapes share. With neither a deadline (time_point::max()) nor anybody who can ask it to stop, all are
/// called on this thread, for this scrape alone.
[[nodiscard]] Collected collect(std::span<const ScrapedCollector> collectors,
                                std::chrono::steady_clock::time_point deadline, const std::stop_token& stop,
                                Executor& threads);

}  // namespace quipu::detail

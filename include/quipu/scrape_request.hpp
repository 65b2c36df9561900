#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

namespace quipu {

/// What one scrape asks for.
struct ScrapeRequest {
  /// The HTTP Accept header: the format that it prefers among those offered is taken. Anything unknown, or nothing,
  /// gets the Prometheus text format 0.0.4.
  std::string_view accept = {};
  /// Full names of the families to show, those that there are; all families when it is empty. Collectors none of whose
  /// families is shown are not asked.
  std::span<const std::string> families = {};
  /// When the page is of no use any more. A collector that is not done by then costs its own families only, and is
  /// counted in `quipu_collector_errors_total`. To be able to go on without it, collectors and callbacks are asked on
  /// a thread of the registry's. Without a deadline they are asked on the calling thread, for as long as it takes.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

}  // namespace quipu

#pragma once

#include <chrono>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

namespace quipu {

/// What one scrape asks for.
struct ScrapeRequest {
  /// The HTTP Accept header. The page has the format that the header prefers among those offered. The page has the
  /// Prometheus text format 0.0.4 if the header is empty or names nothing that is offered.
  std::string_view accept = {};
  /// Full names of the families to show; all families when it is empty. Names without a family are ignored. A collector
  /// is not called if none of the families that it has described is shown.
  std::span<const std::string> families = {};
  /// The time from which on the page is of no use. A collector that is not done by then is counted in
  /// `quipu_collector_errors_total` and reported, and only its own families are missing. With a deadline, collectors
  /// and callbacks are called on a thread of the registry, so that the scrape can go on without them. Without a
  /// deadline they are called on the calling thread, for as long as it takes.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  /// Asked to stop when nobody needs the page any more. The scrape then stops waiting for collectors and callbacks, as
  /// at the deadline, but does not count them. With it they are called on another thread, as with a deadline. A
  /// std::stop_callback of it must not take long.
  std::stop_token stop = {};
};

}  // namespace quipu

#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <system_error>

namespace quipu::detail {

/// The most that a scraper may wait for a page if the program says nothing else (ExposerOptions::max_scrape_time).
inline constexpr std::chrono::milliseconds default_max_scrape_time = std::chrono::minutes(1);
/// A longer time is as good as none, and might not fit the clock.
inline constexpr std::chrono::milliseconds longest_scrape_time = std::chrono::hours(24);

/// How long a page may take to make if its client waits for `time`. A tenth of it, up to half a second, is left for
/// sending the page and for differences between clocks.
inline std::chrono::steady_clock::duration page_time(std::chrono::duration<double> time) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      time - std::min(time / 10, std::chrono::duration<double>(0.5)));
}

/// The same, according to the X-Prometheus-Scrape-Timeout-Seconds header of a request. A header
/// that is missing or invalid counts as 10 s, Prometheus' own default. More than `most` counts as `most`.
inline std::chrono::steady_clock::duration scrape_time(std::string_view header, std::chrono::milliseconds most) {
  using Seconds = std::chrono::duration<double>;
  double seconds = 0;
  const char* const end = header.data() + header.size();
  const auto [rest, error] = std::from_chars(header.data(), end, seconds);
  // This form of the condition also excludes NaN.
  const bool is_right = error == std::errc{} && rest == end && seconds > 0;
  return page_time(std::min(Seconds(is_right ? seconds : 10), Seconds(most)));
}

}  // namespace quipu::detail

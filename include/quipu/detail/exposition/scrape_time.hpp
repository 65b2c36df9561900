#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <system_error>

namespace quipu::detail {

/// How long a page may take to make, according to the X-Prometheus-Scrape-Timeout-Seconds header of a request. A header
/// that is missing or invalid counts as 10 s, Prometheus' own default. A tenth of the time, up to half a second, is
/// left for sending the page and for differences between clocks.
inline std::chrono::steady_clock::duration scrape_time(std::string_view header) {
  using Seconds = std::chrono::duration<double>;
  // A longer time is as good as none, and might not fit the clock.
  constexpr double most = 86'400;
  double seconds = 0;
  const char* const end = header.data() + header.size();
  const auto [rest, error] = std::from_chars(header.data(), end, seconds);
  // This form of the condition also excludes NaN.
  const bool is_right = error == std::errc{} && rest == end && seconds > 0 && seconds <= most;
  const Seconds time(is_right ? seconds : 10);
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(time - std::min(time / 10, Seconds(0.5)));
}

}  // namespace quipu::detail

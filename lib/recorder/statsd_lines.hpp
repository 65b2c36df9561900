#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/statsd.hpp"

// The lines of StatsD. A series is named by a text, which every line of the series shares: a name, then in dogstatsd
// its labels behind a '|'. The value stands between the two:
//
//     comments.created|#kind:reply        the series
//     comments.created:1|c|#kind:reply    a line

namespace quipu::statsd {

/// Names series. Thread-compatible.
class SeriesNames {
 public:
  /// Names have no more than `max_size` bytes.
  SeriesNames(const StatsdOptions& options, std::size_t max_size);

  /// The name of a series; nothing if it would be too long. Valid until the next call. Allocates only for names and
  /// labels longer than before. The time it takes is bounded by the number of labels, however long they are.
  [[nodiscard]] std::optional<std::string_view> of(std::string_view name, Labels labels);

 private:
  [[nodiscard]] Labels sorted(Labels labels);

  const StatsdDialect dialect_;
  const std::size_t max_size_;
  std::string prefix_;
  std::vector<std::pair<std::string, std::string>> constants_;
  std::string series_;         // reused
  std::vector<Label> sorted_;  // reused
};

// Each appends a line without a line feed.

void append_count(std::string& out, std::string_view series, Number sum);
/// In the statsd dialect, a line that sets the gauge to 0 precedes a negative value, which would be a step down without
/// it.
void append_gauge(std::string& out, std::string_view series, double value, StatsdDialect dialect);
/// A value of a histogram, of type "h" or "ms".
void append_value(std::string& out, std::string_view series, double value, std::string_view type);

}  // namespace quipu::statsd

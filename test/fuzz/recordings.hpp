#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "quipu/recorder.hpp"

// Recordings by name that are made of bytes. People can read the bytes:
//
//     c 3 orders|item=tea|size=large      a counter with two labels
//     c 0.25 orders                       a fraction of it
//     g -1.5 depth
//     h 0.25 latency
//     t 1000 latency                      in nanoseconds
//
// The fields of a line stand between blanks and bars, and may be any other bytes; "\n" stands for a line feed in them.

namespace recordings {

enum class Kind : std::uint8_t { increment, gauge, histogram, time };

struct Recording {
  Kind kind;
  quipu::Number step = 1U;  // of an increment
  double value;             // of the others; of a time, in nanoseconds
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;
};

/// What an increment may add: anything else becomes 1.
inline quipu::Number step_of(std::string_view text) {
  if (const auto whole = quipu::detail::to_number<std::uint64_t>(text)) return *whole;
  const auto real = quipu::detail::to_number<double>(text);
  if (real && std::isfinite(*real) && *real >= 0) return *real;
  return std::uint64_t{1};
}

inline std::string with_line_feeds(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_line_feed = text.substr(i, 2) == "\\n";
    result += is_line_feed ? '\n' : text[i];
    i += static_cast<std::size_t>(is_line_feed);
  }
  return result;
}

inline std::vector<Recording> recordings_of(std::string_view data) {
  using quipu::detail::take_until;
  using quipu::detail::to_number;
  std::vector<Recording> result;
  while (!data.empty()) {
    std::string_view line = take_until(data, '\n');
    const std::string_view kind = take_until(line, ' ');
    const std::string_view value = take_until(line, ' ');
    const auto at = std::string_view("cght").find(kind);
    if (kind.size() != 1 || at == std::string_view::npos) continue;
    Recording recording{.kind = static_cast<Kind>(at),
                        .step = step_of(value),
                        .value = to_number<double>(value).value_or(1),
                        .name = with_line_feeds(take_until(line, '|')),
                        .labels = {}};
    while (!line.empty()) {
      std::string_view text = take_until(line, '|');
      std::string name = with_line_feeds(take_until(text, '='));
      recording.labels.emplace_back(std::move(name), with_line_feeds(text));
    }
    result.push_back(std::move(recording));
  }
  return result;
}

inline std::chrono::nanoseconds time_of(const Recording& recording) {
  constexpr double most = 9e18;
  return std::chrono::nanoseconds(
      recording.value > -most && recording.value < most ? static_cast<std::int64_t>(recording.value) : 0);
}

inline void record(quipu::RecorderBackend& backend, const Recording& recording) {
  std::vector<quipu::Label> labels;
  for (const auto& [name, value] : recording.labels) labels.push_back({name, value});
  switch (recording.kind) {
    case Kind::increment:
      return backend.increment(recording.name, recording.step, labels);
    case Kind::gauge:
      return backend.gauge(recording.name, recording.value, labels);
    case Kind::histogram:
      return backend.histogram(recording.name, recording.value, labels);
    case Kind::time:
      return backend.time(recording.name, time_of(recording), labels);
  }
}

}  // namespace recordings

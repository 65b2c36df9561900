#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "harness.hpp"

namespace bench {

// The tables. A row is added in the one it belongs to, and is found by itself.
[[nodiscard]] std::vector<Row> recording_rows();
[[nodiscard]] std::vector<Row> lookup_rows();
[[nodiscard]] std::vector<Baseline> lookup_baselines();
[[nodiscard]] std::vector<MemoryRow> memory_rows();
[[nodiscard]] std::vector<Row> scraping_rows();
[[nodiscard]] std::vector<Baseline> scraping_baselines();
[[nodiscard]] std::vector<StallRow> stall_rows();
/// Those that need the HTTP endpoint.
[[nodiscard]] std::vector<Row> endpoint_rows();
[[nodiscard]] std::vector<Baseline> endpoint_baselines();
/// The same operations of prometheus-cpp, each named prometheus_cpp_NAME.
[[nodiscard]] std::vector<Row> prometheus_cpp_rows();
[[nodiscard]] std::vector<MemoryRow> prometheus_cpp_memory_rows();

// What rows need that measure the same thing of different libraries.

/// How many numbers there are in an array of input; a power of two, so that operation i takes `array[i % inputs]`.
inline constexpr std::size_t inputs = 4096;

/// Numbers below `limit`, at random.
[[nodiscard]] const std::array<std::uint16_t, inputs>& random_indices(std::size_t limit);

/// Numbers at random, and as many in each power of two, from half the first bound to twice the last.
[[nodiscard]] const std::array<double, inputs>& values_around(std::span<const double> bounds);

/// Three label values, about 55 bytes. As in programs, there are few different texts, and many combinations: a million,
/// of which the last two values tell the first 100,000 apart. They live as long as the process.
using LabelValues = std::array<std::string_view, 3>;
[[nodiscard]] LabelValues label_values(std::size_t series);

/// What the counter with these label values has counted: from 1 to 7 digits, as many of each.
[[nodiscard]] std::uint32_t counter_value(std::size_t series);

/// The label values of `count` series, at random.
class Lookups {
 public:
  explicit Lookups(std::size_t count);
  [[nodiscard]] LabelValues operator[](std::size_t i) const noexcept { return values_[i & mask_]; }

 private:
  std::vector<LabelValues> values_;
  std::size_t mask_;
};

}  // namespace bench

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness.hpp"

namespace bench {

// The tables. A row is added in the one it belongs to, and is found by itself.
[[nodiscard]] std::vector<Row> recording_rows();
[[nodiscard]] std::vector<Row> lookup_rows();
[[nodiscard]] std::vector<MemoryRow> memory_rows();
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

/// Three label values that tell series apart, about 55 bytes.
using LabelValues = std::array<std::string, 3>;
[[nodiscard]] LabelValues label_values(std::size_t series);

/// The label values of `count` series, in a random order.
class Lookups {
 public:
  explicit Lookups(std::size_t count);
  [[nodiscard]] const std::array<std::string_view, 3>& operator[](std::size_t i) const noexcept {
    return views_[picks_[i & mask_]];
  }

 private:
  std::vector<LabelValues> values_;
  std::vector<std::array<std::string_view, 3>> views_;
  std::vector<std::uint32_t> picks_;
  std::size_t mask_;
};

}  // namespace bench

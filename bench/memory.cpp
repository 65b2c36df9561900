#include <quipu/registry.hpp>

#include <string_view>
#include <vector>

#include "rows.hpp"

namespace bench {
namespace {

constexpr std::size_t series = 100'000;
constexpr int rounds = 20;

/// Bytes of each series, when each has been written a number of times by one thread.
template <class Write>
double bytes_per_series(Write write) {
  static_cast<void>(label_values(0));
  const double bytes = resident_growth([&] {
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < series; ++i) write(label_values(i));
    }
  });
  return bytes / static_cast<double>(series);
}

double counter_bytes() {
  const quipu::Registry registry;
  const auto family = registry.counter({.name = "memory_total"}, {"region", "service", "path"});
  return bytes_per_series([&](const LabelValues& values) { family(values[0], values[1], values[2]).inc(); });
}

double histogram_bytes() {
  const quipu::Registry registry;
  const auto family = registry.histogram({.name = "memory_seconds"}, {"service", "path"});
  double value = 0.001;
  return bytes_per_series([&](const LabelValues& values) {
    value = value > 20 ? 0.001 : value * 1.1;
    family(values[1], values[2]).observe(value);
  });
}

}  // namespace

std::vector<MemoryRow> memory_rows() {
  return {{"memory_counter", counter_bytes}, {"memory_histogram", histogram_bytes}};
}

}  // namespace bench

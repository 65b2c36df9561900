#include "quipu/native_histogram.hpp"

#include <fmt/format.h>

#include <cmath>

#include "quipu/error.hpp"
#include "quipu/metric_options.hpp"

namespace quipu::detail {
namespace {

constexpr double least_growth = 1.00272;  // above 2^(2^-8), the ratio of the finest schema
constexpr std::uint32_t most_buckets = 400;
// With these, a generation has room for a counter of each bucket, however they cut each other (see native_cells.cpp).
constexpr std::size_t most_classic_bounds = 100;

/// The schema whose factor is the given one, or the next below it.
std::int32_t schema_of(double growth_factor) {
  const double power = std::floor(std::log2(std::log2(growth_factor)));
  if (power >= 4) return -4;
  return -static_cast<std::int32_t>(power);
}

}  // namespace

NativeSpec native_spec(const NativeHistogramOptions& options) {
  const auto require = [&](bool holds, std::string_view field, auto value, std::string_view rule) {
    if (holds) return;
    throw RegistrationError(fmt::format("cannot register native histogram {}: {} is {}; it is {}", options.name.text(),
                                        field, value, rule));
  };
  require(options.growth_factor >= least_growth && std::isfinite(options.growth_factor), "growth_factor",
          options.growth_factor, fmt::format("a finite number from {} on, as 1.1", least_growth));
  require(options.zero_threshold >= 0 && std::isfinite(options.zero_threshold), "zero_threshold",
          options.zero_threshold, "0 or a finite number above it");
  require(options.max_zero_threshold >= 0 && std::isfinite(options.max_zero_threshold), "max_zero_threshold",
          options.max_zero_threshold, "0 (for never wider) or a finite number above it");
  require(options.max_buckets >= 1 && options.max_buckets <= most_buckets, "max_buckets", options.max_buckets,
          fmt::format("from 1 to {}", most_buckets));
  require(options.min_reset_interval.count() >= 0, "min_reset_interval",
          fmt::format("{} ns", options.min_reset_interval.count()), "0 (for never) or a time above it");
  const std::size_t bounds = options.buckets ? options.buckets->bounds().size() : 0;
  require(bounds <= most_classic_bounds, "the number of classic buckets", bounds,
          fmt::format("at most {}", most_classic_bounds));
  return {.initial = {schema_of(options.growth_factor), options.zero_threshold + 0.0},  // -0 becomes 0
          .max_zero_threshold = options.max_zero_threshold,
          .max_buckets = options.max_buckets,
          .min_reset_interval = options.min_reset_interval};
}

}  // namespace quipu::detail

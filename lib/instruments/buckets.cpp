#include "quipu/buckets.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "quipu/error.hpp"

namespace quipu {
namespace {

std::vector<double> checked(std::vector<double> bounds) {
  if (!bounds.empty() && bounds.back() == std::numeric_limits<double>::infinity()) bounds.pop_back();
  if (bounds.size() > Buckets::max_count) {
    throw RegistrationError(
        fmt::format("buckets: {} bounds, but a histogram has at most {}", bounds.size(), Buckets::max_count));
  }
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (!std::isfinite(bounds[i])) {
      throw RegistrationError(fmt::format("buckets: bound {} is {}; bounds are finite numbers", i, bounds[i]));
    }
    if (i > 0 && bounds[i] <= bounds[i - 1]) {
      throw RegistrationError(fmt::format("buckets: bound {} ({}) is not above bound {} ({}); bounds increase strictly",
                                          i, bounds[i], i - 1, bounds[i - 1]));
    }
    bounds[i] += 0.0;  // -0 becomes 0, which is how it is written
  }
  return bounds;
}

std::vector<double> in_seconds(std::initializer_list<Seconds> bounds) {
  std::vector<double> seconds;
  seconds.reserve(bounds.size());
  for (const Seconds bound : bounds) seconds.push_back(bound.count());
  return seconds;
}

void require(bool holds, std::string_view call, std::string_view rule) {
  if (!holds) throw RegistrationError(fmt::format("buckets: {} needs {}", call, rule));
}

void require_count(std::string_view call, int count, int least) {
  require(count >= least && count <= static_cast<int>(Buckets::max_count), call,
          fmt::format("a count from {} to {}", least, Buckets::max_count));
}

}  // namespace

Buckets::Buckets(std::initializer_list<double> bounds) : bounds_(checked(bounds)) {}
Buckets::Buckets(std::initializer_list<Seconds> bounds) : bounds_(checked(in_seconds(bounds))) {}
Buckets::Buckets(std::vector<double> bounds) : bounds_(checked(std::move(bounds))) {}

namespace buckets {

Buckets defaults() { return {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}; }

Buckets linear(double start, double width, int count) {
  const std::string call = fmt::format("linear(start {}, width {}, count {})", start, width, count);
  require_count(call, count, 1);
  require(width > 0, call, "a width above 0");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) bounds.push_back(start + width * i);
  require(std::isfinite(bounds.back()), call, "finite bounds");
  return Buckets(std::move(bounds));
}

Buckets linear(Seconds start, Seconds width, int count) { return linear(start.count(), width.count(), count); }

Buckets exponential(double start, double factor, int count) {
  const std::string call = fmt::format("exponential(start {}, factor {}, count {})", start, factor, count);
  require_count(call, count, 1);
  require(start > 0, call, "a start above 0");
  require(factor > 1, call, "a factor above 1");
  std::vector<double> bounds;
  for (double bound = start; static_cast<int>(bounds.size()) < count; bound *= factor) bounds.push_back(bound);
  require(std::isfinite(bounds.back()), call, "finite bounds");
  return Buckets(std::move(bounds));
}

Buckets exponential(Seconds start, double factor, int count) { return exponential(start.count(), factor, count); }

Buckets exponential_range(double min, double max, int count) {
  const std::string call = fmt::format("exponential_range(min {}, max {}, count {})", min, max, count);
  require_count(call, count, 2);
  require(min > 0, call, "a min above 0");
  require(max > min && std::isfinite(max), call, "a finite max above min");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) {
    const double part = static_cast<double>(i) / (count - 1);
    bounds.push_back(std::pow(min, 1 - part) * std::pow(max, part));  // max / min could be infinite
  }
  bounds.front() = min;
  bounds.back() = max;
  return Buckets(std::move(bounds));
}

Buckets exponential_range(Seconds min, Seconds max, int count) {
  return exponential_range(min.count(), max.count(), count);
}

}  // namespace buckets
}  // namespace quipu

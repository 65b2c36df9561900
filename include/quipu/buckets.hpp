#pragma once

#include <chrono>
#include <initializer_list>
#include <span>
#include <vector>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// A length of time in seconds, the unit of every duration on a page. Any std::chrono duration converts to it.
using Seconds = std::chrono::duration<double>;

/// The upper bounds of a histogram's buckets, strictly increasing, without the last one, +Inf, which every histogram
/// has. A value equal to a bound belongs to that bound's bucket (exposition format: `le`, less or equal).
///
/// Bounds are finite and at most `max_count` in number; a trailing +Inf is accepted and dropped. Anything else throws
/// RegistrationError. Thread-compatible.
class QUIPU_EXPORT Buckets {
 public:
  static constexpr std::size_t max_count = 500;

  Buckets(std::initializer_list<double> bounds);
  Buckets(std::initializer_list<Seconds> bounds);
  explicit Buckets(std::vector<double> bounds);

  [[nodiscard]] std::span<const double> bounds() const noexcept { return bounds_; }

 private:
  std::vector<double> bounds_;
};

namespace buckets {

/// .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10: seconds of a network service, as in every Prometheus client.
[[nodiscard]] QUIPU_EXPORT Buckets defaults();

/// `count` bounds: start, start + width, start + 2 width, … Needs width > 0 and count > 0.
[[nodiscard]] QUIPU_EXPORT Buckets linear(double start, double width, int count);
[[nodiscard]] QUIPU_EXPORT Buckets linear(Seconds start, Seconds width, int count);

/// `count` bounds: start, start · factor, start · factor², … Needs start > 0, factor > 1 and count > 0.
[[nodiscard]] QUIPU_EXPORT Buckets exponential(double start, double factor, int count);
[[nodiscard]] QUIPU_EXPORT Buckets exponential(Seconds start, double factor, int count);

/// `count` bounds from min to max, each the same factor above the one before. The first and the last are min and max
/// exactly. Needs 0 < min < max and count > 1.
[[nodiscard]] QUIPU_EXPORT Buckets exponential_range(double min, double max, int count);
[[nodiscard]] QUIPU_EXPORT Buckets exponential_range(Seconds min, Seconds max, int count);

}  // namespace buckets
}  // namespace quipu

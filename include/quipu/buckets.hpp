#pragma once

#include <chrono>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"

namespace quipu {

/// A length of time in seconds, the unit of every duration on a page. Any std::chrono duration converts to it.
using Seconds = std::chrono::duration<double>;

namespace detail {

/// What people give in place of bounds.
template <class Bounds>
concept NoBounds = std::is_arithmetic_v<Bounds> || std::is_convertible_v<const Bounds&, Seconds> ||
    std::is_convertible_v<const Bounds&, std::string_view> || requires(const Bounds& bounds) {
  typename Bounds::value_type;
  bounds.begin();
};

}  // namespace detail

/// The upper bounds of a histogram's buckets. They do not include +Inf, which every histogram has as its last bucket. A
/// value equal to a bound belongs to that bound's bucket (exposition format: `le`, less or equal).
///
/// There are at most `max_count` bounds, finite and strictly increasing. A trailing +Inf is accepted and dropped.
/// Anything else throws RegistrationError. Thread-compatible.
class QUIPU_EXPORT Buckets {
 public:
  static constexpr std::size_t max_count = 500;

  Buckets(std::initializer_list<double> bounds);
  Buckets(std::initializer_list<Seconds> bounds);
  explicit Buckets(std::vector<double> bounds);
  // For what is no list of bounds.
  template <class... Bounds>
  requires(sizeof...(Bounds) > 0 && (detail::NoBounds<Bounds> && ...)) Buckets(const Bounds&...) {
    static_assert(
        detail::misuse<Bounds...>,
        "quipu: bucket bounds are a list of numbers or durations in braces, or quipu::Buckets(vector of double)");
  }

  [[nodiscard]] std::span<const double> bounds() const& noexcept { return bounds_; }
  /// The same of a temporary, which they outlive.
  [[nodiscard]] std::vector<double> bounds() && noexcept { return std::move(bounds_); }

 private:
  std::vector<double> bounds_;
};

namespace buckets {

/// .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10: for the seconds of a network service, as in every Prometheus client.
[[nodiscard]] QUIPU_EXPORT Buckets defaults();

// The functions below throw RegistrationError if an argument is out of range, or a bound is not finite.

/// `count` bounds: start, start + width, start + 2 width, … Needs width > 0 and 1 ≤ count ≤ 500.
[[nodiscard]] QUIPU_EXPORT Buckets linear(double start, double width, int count);
[[nodiscard]] QUIPU_EXPORT Buckets linear(Seconds start, Seconds width, int count);

/// `count` bounds: start, start · factor, start · factor², … Needs start > 0, factor > 1 and 1 ≤ count ≤ 500.
[[nodiscard]] QUIPU_EXPORT Buckets exponential(double start, double factor, int count);
[[nodiscard]] QUIPU_EXPORT Buckets exponential(Seconds start, double factor, int count);

/// `count` bounds from min to max, each the same factor above the previous one. The first and the last are exactly min
/// and max. Needs 0 < min < max and 2 ≤ count ≤ 500.
[[nodiscard]] QUIPU_EXPORT Buckets exponential_range(double min, double max, int count);
[[nodiscard]] QUIPU_EXPORT Buckets exponential_range(Seconds min, Seconds max, int count);

}  // namespace buckets
}  // namespace quipu

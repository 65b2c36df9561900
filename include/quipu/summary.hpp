#pragma once

#include <chrono>

#include "quipu/buckets.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/detail/instruments/arguments.hpp"
#include "quipu/snapshot.hpp"
#include "quipu/timer.hpp"

namespace quipu {

struct SummaryOptions;
class Summary;
namespace detail {
template <>
inline constexpr bool takes_exemplars<Summary> = false;
}
using SummaryTimer = BasicTimer<Summary>;

namespace detail {
template <class Instrument>
struct InstrumentTraits;

/// Throws RegistrationError.
[[nodiscard]] QUIPU_EXPORT NativeSpec summary_spec(const SummaryOptions& options);
}  // namespace detail

/// Shows quantiles of the values that were observed lately, and the count and sum of all: for programs whose dashboards
/// expect that. Quantiles of several series or instances cannot be combined. A NativeHistogram costs as much, and
/// leaves it to the server for which series and which time it computes which quantiles.
///
/// A quantile is off by 0.55 % at most from the value that has its rank among the observations of the window. That
/// takes a bucket for each 1.1 %. A series has at most 500; with more, as when values are spread over more than a
/// factor of 220, its buckets become twice as wide, for good: then a quantile is off by 1.1 % (up to a factor of
/// 50,000), by 2.2 %, and so on.
///
/// The window ends with the scrape, and begins earlier than `max_age` ago if nobody has read the summary for so long
/// (see SummaryOptions). Any number of scrapers, and snapshot(), see the same window.
///
/// A handle like Counter, two words. What is said of a NativeHistogram's recording holds here.
class Summary : detail::RefusedObservations {
 public:
  using Snapshot = SummarySnapshot;

  Summary() noexcept = default;

  /// NaN is not observed; it counts as a rejected recording. Infinities are observed.
  void observe(double value) const noexcept {
    if (value != value) [[unlikely]] {
      return detail::reject(detail::Rejection::not_a_number);
    }
    detail::observe_native(ref_, value);
  }

  /// Observes seconds.
  template <class Rep, class Period>
  void observe(std::chrono::duration<Rep, Period> duration) const noexcept {
    observe(Seconds(duration).count());
  }

  /// As in Histogram.
  template <detail::WholeNumber Count>
  void observe(double value, Count count) const noexcept {
    detail::if_observable(value, count, [&](std::uint64_t times) { detail::observe_native_many(ref_, value, times); });
  }
  template <class Rep, class Period, detail::WholeNumber Count>
  void observe(std::chrono::duration<Rep, Period> duration, Count count) const noexcept {
    observe(Seconds(duration).count(), count);
  }

  using detail::RefusedObservations::observe;
  template <detail::Observable Value, detail::ExemplarArgument Source>
  void observe(const Value&, const Source&) const {
    static_assert(detail::misuse<Source>, "quipu: a summary keeps no exemplars; a Histogram or a NativeHistogram does");
  }

  /// Starts a timer that observes the seconds until the end of the scope: `auto timer = latency.time();`
  SummaryTimer time() const noexcept { return SummaryTimer(*this); }

  /// What a scrape would show now, and all observations of the window; nothing if the series is gone. May miss
  /// observations that happen during the call. Takes a lock. Throws std::bad_alloc.
  [[nodiscard]] Snapshot snapshot() const {
    Snapshot result;
    detail::read_summary(ref_, result);
    return result;
  }

  friend bool operator==(const Summary&, const Summary&) = default;

 private:
  friend detail::InstrumentTraits<Summary>;
  explicit Summary(detail::CellRef ref) noexcept : ref_(ref) {}

  detail::CellRef ref_;
};

}  // namespace quipu

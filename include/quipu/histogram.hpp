#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "quipu/buckets.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/detail/instruments/arguments.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/snapshot.hpp"
#include "quipu/timer.hpp"

namespace quipu {

namespace detail {
template <class Instrument>
struct InstrumentTraits;
}

class Histogram;
using Timer = BasicTimer<Histogram>;

/// Counts observed values by bucket and adds them up: request durations, message sizes. A value equal to a bucket's
/// bound belongs to that bucket. Durations are observed in seconds.
///
/// A handle like Counter, three words, with the same promises. Thread-safe. The cost does not depend on the number of
/// buckets.
class Histogram : detail::RefusedObservations {
 public:
  using Snapshot = HistogramSnapshot;

  Histogram() noexcept = default;

  /// NaN is not observed, as it belongs to no bucket and would make the sum NaN for good. It counts as a rejected
  /// recording (`quipu_rejected_recordings_total`). Infinities are observed.
  void observe(double value) const noexcept {
    if (value != value) [[unlikely]] {
      return detail::reject(detail::Rejection::not_a_number);
    }
    detail::observe(ref_, *layout_, layout_->index(value), value);
  }

  /// Observes seconds.
  template <class Rep, class Period>
  void observe(std::chrono::duration<Rep, Period> duration) const noexcept {
    if constexpr (std::is_same_v<std::chrono::duration<Rep, Period>, std::chrono::nanoseconds>) {
      if (duration.count() >= 0) [[likely]] {
        const std::size_t bucket = layout_->nanoseconds->index(duration.count());
        return detail::observe(ref_, *layout_, bucket, Seconds(duration).count());
      }
    }
    observe(Seconds(duration).count());
  }

  /// Observes the same value `count` times at once, in the time of one observation; for what was counted elsewhere. The
  /// sum goes up by `value * count`. A negative count observes nothing; it counts as a rejected recording.
  template <detail::WholeNumber Count>
  void observe(double value, Count count) const noexcept {
    detail::if_observable(value, count, [&](std::uint64_t times) {
      detail::observe_many(ref_, *layout_, layout_->index(value), value, times);
    });
  }
  template <class Rep, class Period, detail::WholeNumber Count>
  void observe(std::chrono::duration<Rep, Period> duration, Count count) const noexcept {
    observe(Seconds(duration).count(), count);
  }

  /// Observes a value or a time, and keeps the exemplar for the bucket of the value. Reads the clock; may allocate the
  /// first time.
  void observe(double value, const Exemplar& exemplar) const noexcept { observe_with(value, exemplar); }
  template <class Rep, class Period>
  void observe(std::chrono::duration<Rep, Period> duration, const Exemplar& exemplar) const noexcept {
    observe_with(Seconds(duration).count(), exemplar);
  }
  /// The same with the exemplar that `make` returns, if one is due for the bucket (see ExemplarMaker). If none is due,
  /// the check takes a few nanoseconds.
  template <ExemplarMaker Make>
  void observe(double value, Make make) const {
    observe_with(value, make);
  }
  template <class Rep, class Period, ExemplarMaker Make>
  void observe(std::chrono::duration<Rep, Period> duration, Make make) const {
    observe_with(Seconds(duration).count(), make);
  }

  using detail::RefusedObservations::observe;

  /// Starts a timer that observes the seconds until the end of the scope: `auto timer = latency.time();`
  Timer time() const noexcept;

  /// All observations so far; none if the series is gone. May miss observations that happen during the call. Waits for
  /// threads that are inside an observation, for a second or two at most. Throws std::bad_alloc.
  [[nodiscard]] Snapshot snapshot() const;

  /// The finite upper bounds.
  [[nodiscard]] std::span<const double> bounds() const noexcept { return {layout_->bounds, layout_->count}; }

  friend bool operator==(const Histogram&, const Histogram&) = default;

 private:
  friend detail::InstrumentTraits<Histogram>;
  Histogram(detail::CellRef ref, const detail::BucketLayout& layout) noexcept : ref_(ref), layout_(&layout) {}

  template <class Source>
  void observe_with(double value, Source& exemplar) const {
    if (value != value) [[unlikely]] {
      return detail::reject(detail::Rejection::not_a_number);
    }
    const std::size_t bucket = layout_->index(value);
    detail::observe(ref_, *layout_, bucket, value);
    detail::attach(ref_, detail::bucket_place(bucket), value, exemplar);
  }

  detail::CellRef ref_;
  const detail::BucketLayout* layout_ = &detail::no_bounds;
};

inline Timer Histogram::time() const noexcept { return Timer(*this); }

inline Histogram::Snapshot Histogram::snapshot() const {
  detail::HistogramReading read;
  detail::read_histogram(ref_, *layout_, read);
  return {{bounds().begin(), bounds().end()}, std::move(read.counts), read.sum};
}

}  // namespace quipu

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
#include "quipu/exemplar.hpp"

namespace quipu {

namespace detail {

template <class Instrument>
struct InstrumentTraits;

/// A number, or a duration.
template <class Value>
concept Observable = std::convertible_to<const Value&, double> || requires {
  typename Value::period;
};

}  // namespace detail

class Histogram;
template <class Instrument>
class [[nodiscard("quipu: keep the timer until what it measures has ended")]] BasicTimer;
using Timer = BasicTimer<Histogram>;

/// Counts observed values by bucket and adds them up: request durations, message sizes. A value equal to a bucket's
/// bound belongs to that bucket. Durations are observed in seconds.
///
/// A handle like Counter, three words, with the same promises. Thread-safe. The cost does not depend on the number of
/// buckets.
class Histogram {
 public:
  /// `counts` (one for each bound, and one for +Inf; not cumulative), `sum` and `count()`, all of one moment.
  using Snapshot = detail::HistogramSnapshot;

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

  /// The same, and keeps the exemplar for the bucket of the value. Reads the clock; may allocate the first time.
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

  // For wrong values.
  template <class Value, class... More>
  requires(!detail::Observable<Value> || sizeof...(More) > 1) void observe(const Value&, const More&...) const {
    static_assert(detail::misuse<Value>,
                  "quipu: observe() takes a number or a duration, and perhaps an exemplar: observe(0.1, "
                  "quipu::Exemplar{{\"trace_id\", id}})");
  }

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

namespace detail {

/// Not inlined, so that the code of timers stays small.
template <class Instrument>
[[gnu::noinline]] void observe_with_current_exemplar(const Instrument& histogram,
                                                     std::chrono::steady_clock::duration time) noexcept {
  histogram.observe(time, current_exemplar);
}

/// Observes what a timer measured, with the exemplar of the registry's source.
template <class Instrument>
void observe_time(const Instrument& histogram, std::chrono::steady_clock::duration time) noexcept {
  if (has_exemplar_sources.load(std::memory_order_relaxed)) [[unlikely]] {
    return observe_with_current_exemplar(histogram, time);
  }
  histogram.observe(time);
}

}  // namespace detail

/// Measures time by the steady clock, from its construction until `stop()` or the end of the scope, and observes it in
/// a histogram of either type. Movable. Thread-compatible.
template <class Instrument>
class BasicTimer {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard("quipu: keep the timer until what it measures has ended")]] explicit BasicTimer(
      Instrument histogram) noexcept
      : histogram_(histogram), start_(Clock::now()), running_(true) {}
  BasicTimer(BasicTimer&& other) noexcept
      : histogram_(other.histogram_), start_(other.start_), running_(std::exchange(other.running_, false)) {}
  BasicTimer& operator=(BasicTimer&& other) noexcept {
    if (this != &other) {
      stop();
      histogram_ = other.histogram_;
      start_ = other.start_;
      running_ = std::exchange(other.running_, false);
    }
    return *this;
  }
  ~BasicTimer() { stop(); }

  /// Time since the start.
  [[nodiscard]] Clock::duration elapsed() const noexcept { return Clock::now() - start_; }

  /// Observes the time since the start and returns it. The end of the scope then observes nothing. Returns zero, and
  /// observes nothing, if the timer was stopped or discarded before. The exemplar is that of the registry's source
  /// (RegistryOptions::exemplars), if it has one.
  Clock::duration stop() noexcept {
    if (!std::exchange(running_, false)) return Clock::duration::zero();
    const Clock::duration time = elapsed();
    detail::observe_time(histogram_, time);
    return time;
  }

  /// The same with an exemplar, or with a function that makes one (see ExemplarMaker).
  Clock::duration stop(const Exemplar& exemplar) noexcept { return stop_with(exemplar); }
  template <ExemplarMaker Make>
  Clock::duration stop(Make make) {
    return stop_with(make);
  }

  /// Observes nothing, now or at the end of the scope.
  void discard() noexcept { running_ = false; }

  /// Changes the histogram in which the time is observed. The time goes on.
  void into(Instrument histogram) noexcept { histogram_ = histogram; }

 private:
  template <class Source>
  Clock::duration stop_with(Source& exemplar) {
    if (!std::exchange(running_, false)) return Clock::duration::zero();
    const Clock::duration time = elapsed();
    histogram_.observe(time, exemplar);
    return time;
  }

  Instrument histogram_;
  Clock::time_point start_;
  bool running_;
};

inline Timer Histogram::time() const noexcept { return Timer(*this); }

inline Histogram::Snapshot Histogram::snapshot() const {
  Snapshot result;
  detail::read_histogram(ref_, *layout_, result);
  return result;
}

}  // namespace quipu

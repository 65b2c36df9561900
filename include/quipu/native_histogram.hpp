#pragma once

#include <chrono>
#include <type_traits>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/histogram.hpp"

namespace quipu {

struct NativeHistogramOptions;

namespace detail {
/// Throws RegistrationError.
[[nodiscard]] QUIPU_EXPORT NativeSpec native_spec(const NativeHistogramOptions& options);
}  // namespace detail

/// Counts observed values in buckets that nobody has to choose. Each bucket is wider than the previous one by a
/// constant factor, and only buckets with values exist. Prometheus calls this a native histogram, and reads it in the
/// protobuf format. A format without native histograms shows the sum, the count, and the classic buckets, if there are
/// any.
///
/// A handle like Counter, two words. Thread-safe, and it never dangles. Recording never throws, and never waits for a
/// scrape. It usually takes no lock, does not allocate and does not call the system. It may allocate, and take a lock
/// that is held for about a microsecond, in three cases: a thread's first value; the first value in a bucket, again
/// after the buckets have become coarser; and when the buckets become coarser. If memory runs out at such a moment, the
/// value may be lost.
class NativeHistogram : detail::RefusedObservations {
 public:
  using Snapshot = NativeHistogramSnapshot;

  NativeHistogram() noexcept = default;

  /// NaN is not observed; it counts as a rejected recording. Infinities are observed, in buckets of their own.
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

  /// Observes a value or a time, and keeps the exemplar. There is one for each classic bucket, or a single one if there
  /// are none. Reads the clock; may allocate the first time.
  void observe(double value, const Exemplar& exemplar) const noexcept { observe_with(value, exemplar); }
  template <class Rep, class Period>
  void observe(std::chrono::duration<Rep, Period> duration, const Exemplar& exemplar) const noexcept {
    observe_with(Seconds(duration).count(), exemplar);
  }
  /// The same with the exemplar that `make` returns, if one is due (see ExemplarMaker).
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
  BasicTimer<NativeHistogram> time() const noexcept;

  /// All observations since the series was made, or last reset; none if the series is gone. May miss observations that
  /// happen during the call. If a reset is due (see NativeHistogramOptions), it happens now. Takes a lock. Throws
  /// std::bad_alloc.
  [[nodiscard]] Snapshot snapshot() const {
    Snapshot result;
    detail::read_native(ref_, result);
    return result;
  }

  friend bool operator==(const NativeHistogram&, const NativeHistogram&) = default;

 private:
  friend detail::InstrumentTraits<NativeHistogram>;
  explicit NativeHistogram(detail::CellRef ref) noexcept : ref_(ref) {}

  template <class Source>
  void observe_with(double value, Source& exemplar) const {
    observe(value);
    if (value == value) detail::attach(ref_, detail::native_place(ref_, value), value, exemplar);
  }

  detail::CellRef ref_;
};

using NativeTimer = BasicTimer<NativeHistogram>;

inline NativeTimer NativeHistogram::time() const noexcept { return NativeTimer(*this); }

}  // namespace quipu

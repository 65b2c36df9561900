#pragma once

#include <chrono>
#include <type_traits>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cells.hpp"
#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/histogram.hpp"

namespace quipu {

struct NativeHistogramOptions;

namespace detail {
/// Throws RegistrationError.
[[nodiscard]] QUIPU_EXPORT NativeSpec native_spec(const NativeHistogramOptions& options);
}  // namespace detail

/// Counts observed values in buckets that nobody had to choose: each is wider than the one before by a constant factor,
/// and there are those in which values were. Prometheus calls this a native histogram, and gets it in the protobuf
/// format; where a format has no such thing, a page shows the sum, the count, and the classic buckets that were asked
/// for.
///
/// A handle like Counter, two words. Thread-safe, and it never dangles. Recording never throws. It takes no lock, does
/// not allocate and does not call the system, but for the first value in a bucket (of the series, or after the buckets
/// have become coarser), the first of a thread, and when the buckets become coarser: then it may take a lock that is
/// held for about a microsecond, and allocate. Should memory run out at such a moment, what is recorded may be lost. It
/// never waits for a scrape.
class NativeHistogram {
 public:
  /// `schema`, `zero_threshold`, `zero_count`, the buckets `positive` and `negative`, classic `counts`, `sum`,
  /// `count()`, of one moment; see NativeBuckets.
  using Snapshot = detail::NativeSnapshot;

  NativeHistogram() noexcept = default;

  /// NaN is not observed, but counted as a rejected recording. Infinities are observed: they have buckets of their own.
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

  /// The same, and keeps the exemplar: one for each classic bucket, or one in all. It may allocate the first time, and
  /// reads the clock.
  void observe(double value, const Exemplar& exemplar) const noexcept { observe_with(value, exemplar); }
  template <class Rep, class Period>
  void observe(std::chrono::duration<Rep, Period> duration, const Exemplar& exemplar) const noexcept {
    observe_with(Seconds(duration).count(), exemplar);
  }
  /// The same with what `make` returns, if it is time for another exemplar.
  template <ExemplarMaker Make>
  void observe(double value, Make make) const {
    observe_with(value, make);
  }
  template <class Rep, class Period, ExemplarMaker Make>
  void observe(std::chrono::duration<Rep, Period> duration, Make make) const {
    observe_with(Seconds(duration).count(), make);
  }

  /// Starts a timer that observes the seconds until the end of the scope: `auto timer = latency.time();`
  [[nodiscard]] BasicTimer<NativeHistogram> time() const noexcept;

  /// What has been observed since the series was made, or reset; nothing for a handle whose series is gone. May miss
  /// what happens meanwhile. If a reset is due (see NativeHistogramOptions), it happens now.
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

#pragma once

#include <cstdint>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

/// What a histogram or summary has counted, as a plain value: to be asked for quantiles, added to others, or compared
/// with an earlier one of the same histogram.
///
/// The default-constructed value is of no histogram. To merge it changes nothing, so sums can begin with it.
/// Thread-compatible.
namespace quipu {

/// What a Histogram has counted, all of one moment.
struct QUIPU_EXPORT HistogramSnapshot {
  std::vector<double> bounds{};         // finite upper bounds, increasing
  std::vector<std::uint64_t> counts{};  // one for each bound, and one for +Inf; not cumulative
  double sum = 0;

  /// How many values were observed.
  [[nodiscard]] std::uint64_t count() const noexcept;
  /// NaN if there are no observations.
  [[nodiscard]] double mean() const noexcept;

  /// The value below which a fraction `q` of the observations is, estimated as PromQL's histogram_quantile() does for
  /// classic histograms (bucketQuantile() in promql/quantile.go of Prometheus 3): observations are taken to be spread
  /// evenly over their bucket. The first bucket begins at 0; if it ends at 0 or below, its bound is the result. In the
  /// +Inf bucket the result is the last bound.
  ///
  /// NaN if there are no observations or no bounds, or if `q` is NaN; -Inf for a `q` below 0, and +Inf above 1.
  [[nodiscard]] double quantile(double q) const noexcept;

  /// Adds the observations of another histogram with the same bounds. Throws SnapshotError if they differ, and
  /// std::bad_alloc.
  HistogramSnapshot& merge(const HistogramSnapshot& other);

  /// What was observed after `earlier`, a snapshot of the same histogram. If the histogram began anew in between (its
  /// series was removed and made again), that is all of this snapshot: some count is lower than before. The sum is NaN
  /// if it was infinite before. Throws SnapshotError if the bounds differ, and std::bad_alloc.
  [[nodiscard]] HistogramSnapshot since(const HistogramSnapshot& earlier) const;

  friend bool operator==(const HistogramSnapshot&, const HistogramSnapshot&) = default;
};

/// What a NativeHistogram has counted, all of one moment. For its buckets see NativeBuckets.
struct QUIPU_EXPORT NativeHistogramSnapshot {
  using Bucket = NativeBuckets::Bucket;

  std::int32_t schema = 0;
  double zero_threshold = 0;
  std::uint64_t zero_count = 0;
  std::vector<Bucket> positive{};       // by increasing index; none is empty
  std::vector<Bucket> negative{};       // likewise
  std::vector<double> bounds{};         // of the classic buckets, if there are any
  std::vector<std::uint64_t> counts{};  // classic: one for each bound, and one for +Inf; not cumulative
  double sum = 0;
  WallTime created{};  // when the series was made, or last reset

  /// As in HistogramSnapshot.
  [[nodiscard]] std::uint64_t count() const noexcept;
  [[nodiscard]] double mean() const noexcept;

  /// The value below which a fraction `q` of the observations is, estimated from the native buckets as PromQL's
  /// histogram_quantile() does (HistogramQuantile() in promql/quantile.go of Prometheus 3): observations are taken to
  /// be spread evenly over the logarithms of a bucket, and evenly over the zero bucket. The zero bucket begins (ends)
  /// at 0 if there are no negative (positive) buckets. In a bucket of infinities the result is infinite.
  ///
  /// NaN if there are no observations, or if `q` is NaN; -Inf for a `q` below 0, and +Inf above 1.
  [[nodiscard]] double quantile(double q) const noexcept;

  /// Adds the observations of another histogram. The result has the lower schema of both and the wider zero bucket,
  /// which becomes wider still where it would cut a bucket of the other. A snapshot without observations changes
  /// nothing. Throws SnapshotError if the classic bounds differ, and std::bad_alloc.
  NativeHistogramSnapshot& merge(const NativeHistogramSnapshot& other);

  /// What was observed after `earlier`, a snapshot of the same histogram, which is brought to these buckets. If the
  /// histogram began anew in between (its series was made again, or reset), that is all of this snapshot. The sum is
  /// NaN if it was infinite before. Throws SnapshotError if the classic bounds differ, and std::bad_alloc.
  [[nodiscard]] NativeHistogramSnapshot since(const NativeHistogramSnapshot& earlier) const;

  /// Refers to this snapshot.
  [[nodiscard]] NativeBuckets buckets() const noexcept {
    return {schema, zero_threshold, zero_count, positive, negative};
  }

  friend bool operator==(const NativeHistogramSnapshot&, const NativeHistogramSnapshot&) = default;
};

/// What a Summary shows, all of one moment.
struct QUIPU_EXPORT SummarySnapshot {
  std::vector<Quantile> quantiles{};  // those of the options, of the window
  NativeHistogramSnapshot window{};   // what was observed in the window
  std::uint64_t count = 0;            // of all observations since the beginning
  double sum = 0;                     // likewise
  WallTime created{};                 // when the series was made

  /// The value that a fraction `q` of the observations in the window does not exceed, as exact as Summary says: the
  /// middle of the bucket of the observation with that rank. NaN if the window has no observations, or if `q` is NaN;
  /// -Inf for a `q` below 0, and +Inf above 1.
  [[nodiscard]] double quantile(double q) const noexcept;

  friend bool operator==(const SummarySnapshot&, const SummarySnapshot&) = default;
};

}  // namespace quipu

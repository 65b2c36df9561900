#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "quipu/buckets.hpp"
#include "quipu/name.hpp"

namespace quipu {

/// A counter or a gauge to be registered.
struct MetricOptions {
  /// Without the prefix. A counter's name ends in "_total".
  MetricName name;
  /// What it counts or measures, for people: any text. Prometheus' linter wants one.
  std::string_view help = {};
  /// The unit, if it should be told apart from the name, which ends in it: "seconds", "bytes".
  std::string_view unit = {};
  /// The most series the family may have; the rest is counted in one overflow series.
  std::size_t max_series = 100'000;
};

struct HistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string_view help = {};
  std::string_view unit = {};
  /// Upper bounds: `quipu::buckets::exponential(1ms, 2, 12)`, or a list of numbers or durations.
  Buckets buckets = quipu::buckets::defaults();
  std::size_t max_series = 100'000;
};

struct InfoOptions {
  /// Without the prefix. Ends in "_info".
  MetricName name;
  std::string_view help = {};
  std::size_t max_series = 100'000;
};

template <class State>
struct StateSetOptions {
  /// Without the prefix. With it, it is also the name of the label that says which state a series is of.
  MetricName name;
  std::string_view help = {};
  /// The state that a series begins in; none unless given.
  std::optional<State> first = {};
  std::size_t max_series = 100'000;
};

struct NativeHistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string_view help = {};
  std::string_view unit = {};
  /// How much wider each bucket is than the one before, at the most: the next lower of the factors there are, which are
  /// 2^(2^-n) for n from -4 to 8. From 1.1 comes 1.09 (n is 3).
  double growth_factor = 1.1;
  /// Values from -zero_threshold to zero_threshold are in one bucket.
  double zero_threshold = 0x1p-128;
  /// The most buckets of a series, from 1 to 400, the one at zero not counted. When a value needs another one: the
  /// series is reset if `min_reset_interval` says so; or else the bucket at zero becomes wider, up to
  /// `max_zero_threshold`; or else every two buckets become one, as often as it takes. (With the widest there are, for
  /// factor 65536, there may be more, but no more than 266.)
  std::uint32_t max_buckets = 160;
  double max_zero_threshold = 0;
  /// A series whose last reset (or beginning) is longer ago, and that was read since, may be reset: it begins again, at
  /// 0 and with the buckets that were asked for. 0 for never. A series whose buckets have become coarser is reset when
  /// it is first read after that time, which shows all that it counted until then.
  std::chrono::nanoseconds min_reset_interval{0};
  /// Classic upper bounds, at most 100, for a page that is to show both.
  std::optional<Buckets> buckets = {};
  std::size_t max_series = 100'000;
};

/// A label and its value, the same on every series of a registry.
struct ConstLabel {
  LabelName name;
  std::string_view value;
};

/// A label value of one callback.
using CallbackLabel = ConstLabel;

/// A label value of an info.
using InfoLabel = ConstLabel;

}  // namespace quipu

#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/buckets.hpp"
#include "quipu/name.hpp"

namespace quipu {

/// A label and its value, the same on every series of a registry, of a subsystem or of a family.
struct ConstLabel {
  LabelName name;
  std::string value;

  ConstLabel(LabelName label_name, std::string_view label_value) : name(std::move(label_name)), value(label_value) {}
  // Without the braces.
  template <std::convertible_to<std::string_view> Text>
  ConstLabel(const Text&) : name(runtime("")) {
    static_assert(detail::misuse<Text>, "quipu: each label is in braces of its own: {{\"env\", \"prod\"}}");
  }
};

/// A counter or a gauge to be registered.
struct MetricOptions {
  /// Without the prefix. A counter's name ends in "_total".
  MetricName name;
  /// What it counts or measures, for people: any text. Prometheus' linter wants one.
  std::string help = {};
  /// The unit, if the page should also give it apart from the name: "seconds", "bytes". The name ends in it.
  std::string unit = {};
  /// The maximum number of series, at least 1. Further label values are counted together in one overflow series.
  std::size_t max_series = 100'000;
  /// A series of a family with labels that was not recorded to for this long is not on the page, until it is recorded
  /// to again; 0 for never. It keeps its value, and its handles count as before. If there is no room for a new series
  /// in the family or the registry, the series of the family that has been hidden the longest is removed for it.
  ///
  /// Only scrapes look: the second of two that are so far apart hides the series, if these two and all between them
  /// have found nothing new. To look a series up is not to record to it. Nor is to increment a counter by 0. A gauge
  /// that is only added to, and never set, is in use for as long as it is not 0. One that is set to the same value
  /// again is in use.
  std::chrono::nanoseconds idle_expiry{0};
  /// Labels of every series that is registered so, after those of the registry and its subsystems. A family may be
  /// registered several times, with other values of the same const labels: the page shows it once, with all its series.
  std::vector<ConstLabel> const_labels = {};
};

struct HistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string help = {};
  std::string unit = {};
  /// Upper bounds: `quipu::buckets::exponential(1ms, 2, 12)`, or a list of numbers or durations.
  Buckets buckets = quipu::buckets::defaults();
  std::size_t max_series = 100'000;
  /// As in MetricOptions.
  std::chrono::nanoseconds idle_expiry{0};
  std::vector<ConstLabel> const_labels = {};
};

struct InfoOptions {
  /// Without the prefix. Ends in "_info".
  MetricName name;
  std::string help = {};
  std::size_t max_series = 100'000;
  std::vector<ConstLabel> const_labels = {};
};

template <class State>
struct StateSetOptions {
  /// Without the prefix. The name with the prefix is also the name of the label that holds the state.
  MetricName name;
  std::string help = {};
  /// The state in which a series begins; none by default.
  std::optional<State> first = {};
  std::size_t max_series = 100'000;
  std::vector<ConstLabel> const_labels = {};
};

struct NativeHistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string help = {};
  std::string unit = {};
  /// The maximum ratio of the width of a bucket to that of the one before, at least 1.00272. The possible ratios are
  /// 2^(2^-n) for n from -4 to 8, and the next lower one is used: 1.1 gives 1.09 (n is 3).
  double growth_factor = 1.1;
  /// Values from -zero_threshold to zero_threshold are in one bucket.
  double zero_threshold = 0x1p-128;
  /// The maximum number of buckets of a series, from 1 to 400, without the one at zero. When a value needs one more,
  /// the series is reset if `min_reset_interval` allows it. Otherwise the bucket at zero becomes wider, up to
  /// `max_zero_threshold`. If that is not enough, pairs of buckets are merged, as often as necessary. (The widest
  /// buckets, of factor 65536, cannot be merged. There may be more of those, but no more than 266.)
  std::uint32_t max_buckets = 160;
  double max_zero_threshold = 0;
  /// The minimum time between resets of a series; 0 for no resets. A series may be reset if its last reset (or its
  /// beginning) is longer ago, and it was read since. It then begins again, at 0 and with the buckets that were asked
  /// for. A series whose buckets have become coarser is reset when it is first read after that time. That read shows
  /// all that it counted until then.
  std::chrono::nanoseconds min_reset_interval{0};
  /// Upper bounds of classic buckets, at most 100, for a page that shows both kinds.
  std::optional<Buckets> buckets = {};
  std::size_t max_series = 100'000;
  /// As in MetricOptions.
  std::chrono::nanoseconds idle_expiry{0};
  std::vector<ConstLabel> const_labels = {};
};

struct SummaryOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string help = {};
  std::string unit = {};
  /// Which quantiles a page shows: different numbers from 0 to 1, at most 100. None is allowed, too.
  std::vector<double> quantiles = {0.5, 0.9, 0.99};
  /// How old the observations are that quantiles take into account. The window slides in steps: with n `age_buckets`,
  /// from 1 to 60, its length is between (n-1)/n of `max_age` and all of it. It is longer if the summary is read less
  /// often than n times in `max_age`: it then begins at a reading that is at least (n-1)/n of `max_age` old. Each step
  /// takes memory: 16 bytes for each bucket with values.
  std::chrono::nanoseconds max_age = std::chrono::minutes(10);
  std::uint32_t age_buckets = 5;
  std::size_t max_series = 100'000;
  /// As in MetricOptions.
  std::chrono::nanoseconds idle_expiry{0};
  std::vector<ConstLabel> const_labels = {};
};

/// A label value of one callback.
using CallbackLabel = ConstLabel;

/// A label value of an info.
using InfoLabel = ConstLabel;

}  // namespace quipu

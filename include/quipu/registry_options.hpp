#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "quipu/build_info.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"

namespace quipu {

struct RegistryOptions {
  /// Stands before every name, joined by an underscore: prefix "shop" makes "shop_orders_total".
  MetricPrefix prefix = {};
  /// On every series, before the family's own labels.
  std::vector<ConstLabel> const_labels = {};
  /// Whether names, also of labels, may be any text in UTF-8 where they are given with `utf8()` or `runtime()`:
  /// "my.size". Prometheus can read such names from version 3 on. To a server that does not ask for them a page shows
  /// them escaped
  /// (`my_size`), so names that would then be equal are refused. A label whose name would then begin with two
  /// underscores is lost there, as those are Prometheus' own.
  bool utf8_names = false;
  /// Whether OpenMetrics pages say when each series was made, in `_created` lines. Most servers take these for series
  /// of their own. Protobuf, where they cost nothing, always says it.
  bool created_lines = false;
  /// Whether scrapers that ask for OpenMetrics 2.0.0 get it. Experimental: its specification is a release candidate.
  bool open_metrics_2 = false;
  /// Called for each family that is registered and does not follow Prometheus' advice on names, with what promtool
  /// would say of it: no unit, no "_total", no help. Without a lock, on the thread that registers. It must not throw.
  std::function<void(std::string_view family, std::string_view advice)> on_lint = {};
  /// Whether the page shows process_cpu_seconds_total, process_resident_memory_bytes and their like (Linux).
  bool process_metrics = true;
  /// Whether the page shows quipu_rejected_recordings_total and what else the library counts of itself.
  bool self_metrics = true;
  /// For `build_info{version,revision,compiler}`, under the prefix.
  BuildInfo build_info = {};
  /// Whether the page shows cxx_allocator_bytes, cxx_cpu_seconds_total and cxx_threads. To count its memory, glibc's
  /// malloc walks all free pieces, and makes threads that allocate there wait meanwhile: usually microseconds, but
  /// 14 ms with 100,000 pieces, and a third of a second with a million. Of another malloc it knows nothing.
  bool runtime_metrics = false;
};

}  // namespace quipu

#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "quipu/build_info.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/label.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"

namespace quipu {

struct RegistryOptions {
  /// Stands before every name, joined by an underscore: prefix "shop" makes "shop_orders_total".
  MetricPrefix prefix = {};
  /// Labels of every series, before the family's own labels. Subsystems and families may have more of them.
  std::vector<ConstLabel> const_labels = {};
  /// Whether names of metrics and labels may be any text in UTF-8 ("my.size") where they are given with `utf8()` or
  /// `runtime()`. Prometheus can read such names from version 3 on. A server that does not ask for them gets them
  /// escaped (`my_size`), so names that would be equal when escaped are refused. Such a server drops a label whose
  /// escaped name begins with two underscores, because Prometheus reserves those names.
  bool utf8_names = false;
  /// Whether OpenMetrics pages say when each series was made, in `_created` lines. Most servers read these lines as
  /// additional series. Protobuf pages always say it, because it costs nothing there.
  bool created_lines = false;
  /// Whether scrapers that ask for OpenMetrics 2.0.0 get it. Experimental: its specification is a release candidate.
  bool open_metrics_2 = false;
  /// The maximum number of series of all families together, at least 1. When there are so many, new label values are
  /// counted in the overflow series of their families, as they are in a family that is full by itself. Those series and
  /// metrics without labels are there in any case, and count too. What collectors show does not count.
  std::size_t max_series = 1'000'000;
  /// The maximum length of a label value in bytes, from 16 to 1,048,576. Longer ones are cut where a code point ends:
  /// also those that collectors show. A const label that is longer is refused. Prometheus has no limit unless told, but
  /// other servers refuse whole pages with values of more than 2 KiB.
  std::size_t max_label_value_size = detail::default_max_label_value;
  /// Called for each registered family that does not follow Prometheus' advice on names. `advice` is what promtool
  /// would say about it: no unit, no "_total", no help. Also called when a family is registered again with another help
  /// text, which is not shown. It is called without a lock, on the thread that registers. It must not throw.
  std::function<void(std::string_view family, std::string_view advice)> on_lint = {};
  /// Called when a collector or callback fails at a scrape, with the name of the collector and what is wrong: the text
  /// of what it threw, that it was not over in time, a family or series that another one has. It is called as often as
  /// `quipu_collector_errors_total{collector,reason}` counts, but once for all duplicates of a family on a page. It is
  /// called without a lock, on the thread that makes the page: with an endpoint that is one of the endpoint's threads.
  /// So several scrapes may call it at once, and the page waits for it. It must not throw.
  std::function<void(std::string_view collector, std::string_view what)> on_error = {};
  /// Whether the page shows process_cpu_seconds_total, process_resident_memory_bytes and their like (Linux). What the
  /// system does not tell is left out. process_heap_bytes is the writable private memory of the process
  /// (/proc/self/status, VmData), as in other clients: also what is reserved and not resident, and stacks of threads.
  bool process_metrics = true;
  /// Whether the page shows what the process reads and writes, by system calls (process_io_read_bytes_total,
  /// process_io_written_bytes_total, process_io_read_syscalls_total, process_io_write_syscalls_total) and from storage
  /// (process_io_storage_read_bytes_total, process_io_storage_written_bytes_total). From /proc/self/io.
  bool process_io_metrics = false;
  /// Whether the page shows for how long tasks of the cgroup, or of the whole system where the cgroup does not tell,
  /// had to wait for CPU, memory or I/O (pressure stall information): some of them at least
  /// (process_pressure_cpu_waiting_seconds_total, … _io_ …, … _memory_ …), or all at once (… _stalled_seconds_total).
  bool process_pressure_metrics = false;
  /// Whether the page shows process_resident_memory_peak_bytes and process_virtual_memory_peak_bytes: the largest sizes
  /// so far (VmHWM, VmPeak).
  bool process_peak_metrics = false;
  /// Whether the page shows quipu_rejected_recordings_total and what else the library counts of itself.
  bool self_metrics = true;
  /// Makes the exemplars of requests and timers, from the trace that a thread works on, say:
  /// `.exemplars = [] { return current_trace(); }`. See ExemplarSource.
  ExemplarSource exemplars = {};
  /// For `build_info{version,revision,compiler}`, under the prefix.
  BuildInfo build_info = {};
  /// Whether the page shows cxx_allocator_bytes and cxx_cpu_seconds_total. To count its memory, glibc's
  /// malloc walks all free pieces, and threads that allocate there wait meanwhile. This usually takes microseconds, but
  /// 14 ms with 100,000 pieces, and a third of a second with a million. The memory of another malloc is not known.
  bool runtime_metrics = false;
};

}  // namespace quipu

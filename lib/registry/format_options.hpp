#pragma once

namespace quipu::detail {

/// What a registry can be asked for beyond what every server reads.
struct FormatOptions {
  bool open_metrics_2 = false;  // experimental: the specification is a release candidate
  /// Whether OpenMetrics 1.0.0 has a line for when the counting of each series began. Most servers take these for
  /// series of their own.
  bool created_lines = false;
};

}  // namespace quipu::detail

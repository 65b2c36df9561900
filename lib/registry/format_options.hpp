#pragma once

namespace quipu::detail {

/// The formats and lines that a registry offers beyond those that every server reads.
struct FormatOptions {
  bool open_metrics_2 = false;  // experimental: the specification is a release candidate
  /// Whether OpenMetrics 1.0.0 has a line that says when each series began to count. Most servers read these lines as
  /// additional series.
  bool created_lines = false;
};

}  // namespace quipu::detail

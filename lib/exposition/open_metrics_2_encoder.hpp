#pragma once

#include <string>

#include "exposition/open_metrics_lines.hpp"

namespace quipu::detail {

/// Writes OpenMetrics 2.0.0-rc0. Names keep their suffixes. Each series is one line, also a histogram with native
/// buckets.
/// https://github.com/prometheus/docs/blob/main/docs/specs/om/open_metrics_spec_2_0.md
class OpenMetrics2Encoder final : public OpenMetricsLines {
 public:
  OpenMetrics2Encoder(PageBuffer& page, const Format& format) : OpenMetricsLines(page, format) {}

  void family(const FamilyView& family) override;
  void part(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void summary(const SummarySample& sample) override;

 private:
  std::string start_;
  std::string rest_;  // of the current line
};

}  // namespace quipu::detail

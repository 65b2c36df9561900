#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "exposition/open_metrics_lines.hpp"

namespace quipu::detail {

/// Writes OpenMetrics 1.0.0, and 0.0.1, which is the same.
/// https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
///
/// The name of a family is without the suffix of its series there. A server refuses a whole page for one mistake, so
/// anything that a type may not have is left out.
class OpenMetricsEncoder final : public OpenMetricsLines {
 public:
  OpenMetricsEncoder(PageBuffer& page, const Format& format)
      : OpenMetricsLines(page, format), has_created_lines_(format.created_lines) {}

  void family(const FamilyView& family) override;
  void part(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void summary(const SummarySample& sample) override;

 private:
  /// The family's name without the suffix of its series.
  [[nodiscard]] std::string_view base_name(Type type) const noexcept;
  void set_starts(std::string_view base);
  /// Puts the line that says when the series began to count.
  template <class Series>
  void put_created(const Series& series);
  [[nodiscard]] std::string_view exemplar_of(std::size_t bucket) const noexcept;

  const bool has_created_lines_;
  std::string start_;
  std::string created_start_;
  std::string exemplars_;                   // of the current series
  std::vector<std::size_t> exemplar_ends_;  // of each bucket; empty if none has one
};

}  // namespace quipu::detail

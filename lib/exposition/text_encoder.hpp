#pragma once

#include <string>

#include "exposition/line_encoder.hpp"

namespace quipu::detail {

/// Writes the Prometheus text exposition format, 0.0.4 and 1.0.0. The two differ in the names that they allow.
/// https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
class TextEncoder final : public LineEncoder {
 public:
  TextEncoder(PageBuffer& page, const Format& format) : LineEncoder(page, format.escaping, Reals::shortest) {}

  void family(const FamilyView& family) override;
  void part(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;
  void summary(const SummarySample& sample) override;

 private:
  void append_time(std::string& to, WallTime time) const override;

  std::string start_;
};

}  // namespace quipu::detail

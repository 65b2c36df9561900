#pragma once

#include <string>
#include <string_view>

#include "quipu/sample.hpp"

namespace quipu::detail {

inline constexpr std::string_view text_content_type = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the Prometheus text exposition format 0.0.4.
/// https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
class TextEncoder final : public Visitor {
 public:
  /// Appends to `page`.
  explicit TextEncoder(std::string& page) : page_(page) {}

  void family(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;

 private:
  void begin_line(std::string_view suffix, Labels labels);

  std::string& page_;
  std::string name_;
};

}  // namespace quipu::detail

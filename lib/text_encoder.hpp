#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoder.hpp"
#include "page_buffer.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// Writes the Prometheus text exposition format 0.0.4.
/// https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md
///
/// What the lines of a family have in common is put together once, so that a line is a few copies and a number.
class TextEncoder final : public Encoder {
 public:
  explicit TextEncoder(PageBuffer& page) : page_(page) {}

  void family(const FamilyView& family) override;
  void sample(const Sample& sample) override;
  void histogram(const HistogramSample& sample) override;

 private:
  [[nodiscard]] std::size_t size_of_labels(Labels own) const noexcept;
  [[nodiscard]] char* put_labels(char* to, Labels own, bool is_plain) const noexcept;
  void prepare_buckets(std::span<const double> bounds);

  PageBuffer& page_;
  std::string name_;
  std::size_t const_labels_ = 0;
  /// What stands before the value of each label of the family: `{env="prod",region="` before the first, `",path="`
  /// before the others. If it has none, `{env="prod`, or nothing. Counters and gauges have their name before that.
  std::vector<std::string> before_value_;
  std::string_view end_of_labels_;  // from the last value to the number
  std::size_t fixed_size_ = 0;      // of all these
  /// From the last value to the number in the lines of a histogram's buckets: `",le="0.5"} `.
  std::vector<std::string> bucket_ends_;
};

}  // namespace quipu::detail

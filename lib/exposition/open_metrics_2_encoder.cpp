#include "exposition/open_metrics_2_encoder.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

namespace quipu::detail {
namespace {

using Buckets = std::span<const NativeBuckets::Bucket>;

void append(std::string& to, std::string_view name, double real) {
  char digits[2 * slack];
  const char* end = put_with_point(digits, real);
  to.append(name).append(static_cast<const char*>(digits), end);
}

void append(std::string& to, std::string_view name, std::uint64_t whole) {
  to.append(name).append(std::to_string(whole));
}

/// Appends runs of buckets. Each run says how many empty buckets precede it; the first one says its index instead.
void append_side(std::string& to, std::string_view side, Buckets buckets) {
  if (buckets.empty()) return;
  to.append(",").append(side).append("_spans:[");
  std::int64_t next = 0;
  for (std::size_t i = 0; i < buckets.size();) {
    const std::size_t begin = i;
    const std::int64_t first = buckets[i].index;
    for (++i; i < buckets.size() && buckets[i].index - first == static_cast<std::int64_t>(i - begin); ++i) {
    }
    if (begin > 0) to += ',';
    to.append(std::to_string(first - next)).append(":").append(std::to_string(i - begin));
    next = first + static_cast<std::int64_t>(i - begin);
  }
  to.append("],").append(side).append("_buckets:[");
  for (std::size_t i = 0; i < buckets.size(); ++i) append(to, i == 0 ? "" : ",", buckets[i].count);
  to += ']';
}

void append_native(std::string& to, const NativeBuckets& native) {
  to.append(",schema:").append(std::to_string(native.schema));
  append(to, ",zero_threshold:", native.zero_threshold);
  append(to, ",zero_count:", native.zero_count);
  append_side(to, "negative", native.negative);
  append_side(to, "positive", native.positive);
}

void append_classic(std::string& to, const HistogramSample& sample) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    count += sample.counts[i];
    append(to, i == 0 ? ",bucket:[" : ",", i < sample.bounds.size() ? sample.bounds[i] : INFINITY);
    append(to, ":", count);
  }
  to += ']';
}

void append_start(std::string& to, const std::optional<WallTime>& created) {
  if (!created) return;
  to += " st@";
  append_seconds(to, *created);
}

}  // namespace

void OpenMetrics2Encoder::family(const FamilyView& family) {
  begin_family(family);
  put_metadata(family, possible_type(family), name());
  set_start(start_, name());
}

void OpenMetrics2Encoder::part(const FamilyView& family) {
  begin_family(family);
  set_start(start_, name());
}

void OpenMetrics2Encoder::sample(const Sample& sample) {
  if (!is_possible(sample.value)) return;
  rest_ = written_timestamp(sample.timestamp);
  if (type() == Type::counter) {
    append_start(rest_, sample.created);
    if (sample.exemplar != nullptr) append_exemplar(rest_, *sample.exemplar, any_length);
  }
  rest_ += '\n';
  char* to = begin_line(start_, sample, number_size + rest_.size());
  to = put_number(to, sample.value);
  page().end_at(put(to, rest_));
}

void OpenMetrics2Encoder::histogram(const HistogramSample& sample) {
  std::uint64_t count = 0;
  for (const std::uint64_t n : sample.counts) count += n;
  rest_.clear();
  append(rest_, "{count:", count);
  append(rest_, ",sum:", sample.sum);
  if (sample.native != nullptr) append_native(rest_, *sample.native);
  if (sample.native == nullptr || !sample.bounds.empty()) append_classic(rest_, sample);
  rest_ += '}';
  rest_ += written_timestamp(sample.timestamp);
  append_start(rest_, sample.created);
  for (const ExemplarView* exemplar : sample.exemplars) {
    if (exemplar != nullptr) append_exemplar(rest_, *exemplar, any_length);
  }
  rest_ += '\n';
  page().end_at(put(begin_line(start_, sample, rest_.size()), rest_));
}

void OpenMetrics2Encoder::summary(const SummarySample& sample) {
  rest_.clear();
  append(rest_, "{count:", sample.count);
  append(rest_, ",sum:", sample.sum);
  rest_ += ",quantile:[";
  for (const auto& [quantile, value] : sample.quantiles) {
    append(rest_, rest_.ends_with('[') ? "" : ",", quantile);
    append(rest_, ":", value);
  }
  rest_ += "]}";
  rest_ += written_timestamp(sample.timestamp);
  append_start(rest_, sample.created);
  rest_ += '\n';
  page().end_at(put(begin_line(start_, sample, rest_.size()), rest_));
}

}  // namespace quipu::detail

#include "exposition/open_metrics_encoder.hpp"

#include <algorithm>

namespace quipu::detail {
namespace {

constexpr std::size_t longest_exemplar = 128;  // code points

/// OpenMetrics does not allow a sum that can go down, nor a count without a sum.
bool has_sum(const HistogramSample& sample) noexcept {
  return sample.sum >= 0 && (sample.bounds.empty() || sample.bounds.front() >= 0);
}

}  // namespace

void OpenMetricsEncoder::family(const FamilyView& family) {
  begin_family(family);
  Type type = possible_type(family);
  // As a counter it would have series called something_total, another name than in the text format.
  if (type == Type::counter && !has_suffix(total)) type = Type::unknown;
  put_metadata(family, type, base_name(type));
  set_starts(base_name(type));
}

void OpenMetricsEncoder::part(const FamilyView& family) {
  begin_family(family);
  set_starts(base_name(type()));
}

std::string_view OpenMetricsEncoder::base_name(Type type) const noexcept {
  if (type == Type::counter) return name_without(total);
  if (type == Type::info) return name_without(info);
  return name();
}

void OpenMetricsEncoder::set_starts(std::string_view base) {
  set_start(start_, name());
  if (has_created_lines_) set_start(created_start_, base, "_created");
}

template <class Series>
void OpenMetricsEncoder::put_created(const Series& series) {
  std::string seconds;
  append_seconds(seconds, *series.created);
  seconds += written_timestamp(series.timestamp);
  seconds += '\n';
  page().end_at(put(begin_line(created_start_, series, seconds.size()), seconds));
}

void OpenMetricsEncoder::sample(const Sample& sample) {
  if (!is_possible(sample.value)) return;
  const bool is_counter = type() == Type::counter;
  exemplars_.clear();
  if (is_counter && sample.exemplar != nullptr) append_exemplar(exemplars_, *sample.exemplar, longest_exemplar);
  const std::string_view timestamp = written_timestamp(sample.timestamp);
  char* to = begin_line(start_, sample, number_size + timestamp.size() + exemplars_.size() + 1);
  to = put_number(to, sample.value);
  to = put_if_any(to, timestamp);
  if (!exemplars_.empty()) to = put(to, exemplars_);
  *to++ = '\n';
  page().end_at(to);
  if (has_created_lines_ && is_counter && sample.created) put_created(sample);
}

void OpenMetricsEncoder::histogram(const HistogramSample& sample) {
  exemplars_.clear();
  exemplar_ends_.clear();
  if (std::ranges::any_of(sample.exemplars, [](const ExemplarView* exemplar) { return exemplar != nullptr; })) {
    for (const ExemplarView* exemplar : sample.exemplars) {
      if (exemplar != nullptr) append_exemplar(exemplars_, *exemplar, longest_exemplar);
      exemplar_ends_.push_back(exemplars_.size());
    }
  }
  put_histogram(sample, has_sum(sample), exemplars_.size(), [this](char* to, std::size_t bucket) {
    return bucket < exemplar_ends_.size() ? put(to, exemplar_of(bucket)) : to;
  });
  if (has_created_lines_ && sample.created) put_created(sample);
}

void OpenMetricsEncoder::summary(const SummarySample& sample) {
  put_summary(sample, sample.sum >= 0, [](double value) { return !(value < 0); });
  if (has_created_lines_ && sample.created) put_created(sample);
}

std::string_view OpenMetricsEncoder::exemplar_of(std::size_t bucket) const noexcept {
  const std::size_t begin = bucket == 0 ? 0 : exemplar_ends_[bucket - 1];
  return std::string_view(exemplars_).substr(begin, exemplar_ends_[bucket] - begin);
}

}  // namespace quipu::detail

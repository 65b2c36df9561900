#include "exposition/line_encoder.hpp"

#include <cmath>

#include "family/escaping.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {
namespace {

std::string escaped(std::string_view text) {
  std::string result;
  append_escaped(result, text);
  return result;
}

}  // namespace

void append_escaped(std::string& to, std::string_view text) {
  const std::size_t size = to.size();
  to.resize(size + 2 * text.size() + slack);
  const char* end = put_escaped(to.data() + size, text, '"');
  to.resize(static_cast<std::size_t>(end - to.data()));
}

std::string written_label_name(std::string_view name, Escaping escaping) {
  if (is_legacy_label_name(name)) return std::string(name);
  if (escaping == Escaping::allow_utf8) return '"' + escaped(name) + '"';
  return escape_label_name(name, escaping);
}

void LineEncoder::begin_family(const FamilyView& family) {
  name_ = family.name;
  is_quoted_ = false;
  if (!is_metric_name(name_)) [[unlikely]] {
    is_quoted_ = escaping_ == Escaping::allow_utf8;
    name_ = is_quoted_ ? escaped(name_) : escape_metric_name(name_, escaping_);
  }

  first_labels_.clear();
  between_values_.clear();
  std::string_view between = is_quoted_ ? "," : "{";
  const auto append_name = [&](std::string& to, std::string_view label) {
    to.append(between).append(written_label_name(label, escaping_)).append("=\"");
    between = "\",";
  };
  for (const auto& [label, value] : family.const_labels) {
    append_name(first_labels_, label);
    append_escaped(first_labels_, value);
  }
  const_labels_ = family.const_labels.size();
  for (std::size_t i = 0; i < family.label_names.size(); ++i) {
    append_name(i == 0 ? first_labels_ : between_values_.emplace_back(), family.label_names[i]);
  }

  if (!first_labels_.empty()) {
    end_of_labels_ = "\"} ";
  } else {
    end_of_labels_ = is_quoted_ ? "} " : " ";
  }
  fixed_size_ = end_of_labels_.size();
  for (const std::string& part : between_values_) fixed_size_ += part.size();
  if (family.type == MetricType::histogram || family.type == MetricType::summary) {
    set_start(part_start_, name_, family.type == MetricType::histogram ? "_bucket" : "");
    set_start(sum_start_, name_, "_sum");
    set_start(count_start_, name_, "_count");
  }
  parts_.clear();
  part_ends_.clear();
}

void LineEncoder::put_comment(std::string_view keyword, std::string_view name) {
  constexpr std::size_t rest = 8;  // bytes
  char* to = page_.reserve(keyword.size() + name.size() + rest);
  to = detail::put(to, std::string_view("# "));
  to = detail::put(to, keyword);
  *to++ = ' ';
  if (is_quoted_) *to++ = quote;
  to = detail::put(to, name);
  if (is_quoted_) *to++ = quote;
  *to++ = ' ';
  page_.end_at(to);
}

void LineEncoder::set_start(std::string& start, std::string_view name, std::string_view suffix) const {
  const std::string_view mark = is_quoted_ ? "\"" : "";
  start.assign(is_quoted_ ? "{" : "").append(mark).append(name).append(suffix).append(mark).append(first_labels_);
}

std::string_view LineEncoder::write_timestamp(WallTime timestamp) {
  timestamp_ = ' ';
  append_time(timestamp_, timestamp);
  return timestamp_;
}

void LineEncoder::put_summary(const SummarySample& sample, bool has_sum, bool (*is_allowed)(double)) {
  if (!std::ranges::equal(sample.quantiles, parts_, {}, &Quantile::quantile)) {
    parts_.clear();
    for (const Quantile& part : sample.quantiles) parts_.push_back(part.quantile);
    prepare_parts("quantile");
  }
  const std::string_view timestamp = written_timestamp(sample.timestamp);
  const auto put_line = [&](std::string_view start, std::string_view end, Number number) {
    char* to =
        page_.reserve(start.size() + size_of_labels(sample.labels) + end.size() + number_size + timestamp.size() + 1);
    to = put_labels(detail::put(to, start), sample.labels, sample.needs_no_escaping);
    to = put_number(detail::put(to, end), number);
    to = put_if_any(to, timestamp);
    *to++ = '\n';
    page_.end_at(to);
  };
  for (std::size_t i = 0; i < sample.quantiles.size(); ++i) {
    const double value = sample.quantiles[i].value;
    if (is_allowed(value)) put_line(part_start_, part_ends_[i], value);
  }
  if (has_sum) put_line(sum_start_, end_of_labels_, sample.sum);
  put_line(count_start_, end_of_labels_, sample.count);
}

/// Prepares the lines of `parts_`, which this label tells apart.
void LineEncoder::prepare_parts(std::string_view label) {
  part_ends_.clear();
  std::string_view between = "\",";
  if (first_labels_.empty()) between = is_quoted_ ? "," : "{";
  const auto prepare = [&](double part) {
    char digits[2 * slack];
    const char* end = put_real(digits, part);
    std::string& line_end = part_ends_.emplace_back(between);
    line_end.append(label).append("=\"").append(static_cast<const char*>(digits), end).append("\"} ");
  };
  std::ranges::for_each(parts_, prepare);
  if (label == "le") prepare(INFINITY);
}

}  // namespace quipu::detail

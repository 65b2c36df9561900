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
  if (family.type == MetricType::histogram) {
    set_start(bucket_start_, name_, "_bucket");
    set_start(sum_start_, name_, "_sum");
    set_start(count_start_, name_, "_count");
  }
  bucket_ends_.clear();
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

void LineEncoder::prepare_buckets(std::span<const double> bounds) {
  bounds_.assign(bounds.begin(), bounds.end());
  bucket_ends_.clear();
  std::string_view between = "\",";
  if (first_labels_.empty()) between = is_quoted_ ? "," : "{";
  const auto prepare = [&](double bound) {
    char digits[2 * slack];
    const char* end = put_real(digits, bound);
    std::string& line_end = bucket_ends_.emplace_back(between);
    line_end.append("le=\"").append(static_cast<const char*>(digits), end).append("\"} ");
  };
  std::ranges::for_each(bounds, prepare);
  prepare(INFINITY);
}

}  // namespace quipu::detail

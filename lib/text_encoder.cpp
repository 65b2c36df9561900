#include "text_encoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace quipu::detail {
namespace {

constexpr char quote = '"';
constexpr char no_quote = '\n';  // in help texts quotes stand as they are
constexpr std::size_t number_size = slack;

std::string escaped(std::string_view text) {
  std::string result(2 * text.size() + slack, '\0');
  const char* end = put_escaped(result.data(), text, quote);
  result.resize(static_cast<std::size_t>(end - result.data()));
  return result;
}

char* put(char* to, Number number) noexcept {
  return number.is_whole() ? detail::put(to, number.whole()) : detail::put(to, number.real());
}

}  // namespace

void TextEncoder::family(const FamilyView& family) {
  name_ = family.name;
  if (!family.help.empty()) {
    page_.put("# HELP ");
    page_.put(name_);
    page_.put(" ");
    page_.put_escaped(family.help, no_quote);
    page_.put("\n");
  }
  page_.put("# TYPE ");
  page_.put(name_);
  page_.put(" ");
  page_.put(to_string(family.kind));
  page_.put("\n");

  std::string before = family.kind == Kind::histogram ? std::string() : name_;
  std::string_view between = "{";
  for (const auto& [name, value] : family.const_labels) {
    before.append(between).append(name).append("=\"").append(escaped(value));
    between = "\",";
  }
  const_labels_ = family.const_labels.size();
  before_value_.clear();
  for (const std::string& name : family.label_names) {
    before_value_.push_back(before.append(between).append(name).append("=\""));
    before.clear();
    between = "\",";
  }
  if (before_value_.empty()) before_value_.push_back(before);
  end_of_labels_ = between == "{" ? " " : "\"} ";
  fixed_size_ = end_of_labels_.size();
  for (const std::string& part : before_value_) fixed_size_ += part.size();
  bucket_ends_.clear();
}

/// At most, whether they need escapes or not.
inline std::size_t TextEncoder::size_of_labels(Labels own) const noexcept {
  std::size_t size = fixed_size_;
  for (const Label& label : own) size += 2 * label.value.size();
  return size;
}

/// Up to the last value.
inline char* TextEncoder::put_labels(char* to, Labels own, bool is_plain) const noexcept {
  to = detail::put(to, before_value_[0]);
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (i > 0) to = detail::put(to, before_value_[i]);
    to = is_plain ? detail::put(to, own[i].value) : put_escaped(to, own[i].value, quote);
  }
  return to;
}

void TextEncoder::sample(const Sample& sample) {
  const Labels own = sample.labels.subspan(const_labels_);
  char* to = page_.reserve(size_of_labels(own) + number_size);
  to = put_labels(to, own, sample.is_plain);
  to = detail::put(to, end_of_labels_);
  to = put(to, sample.value);
  *to++ = '\n';
  page_.end_at(to);
}

void TextEncoder::histogram(const HistogramSample& sample) {
  if (bucket_ends_.empty()) prepare_buckets(sample.bounds);
  const Labels own = sample.labels.subspan(const_labels_);
  constexpr std::string_view bucket = "_bucket";
  constexpr std::size_t bound_size = 10 + number_size;
  const std::size_t line_size = name_.size() + bucket.size() + size_of_labels(own) + bound_size + number_size;
  char* to = page_.reserve((sample.counts.size() + 2) * line_size);

  // The name and the labels are put together in the first line, and copied from there.
  const char* line = to;
  to = detail::put(to, name_);
  to = detail::put(to, bucket);
  const char* labels_begin = to;
  to = put_labels(to, own, sample.is_plain);
  const std::string_view labels(labels_begin, static_cast<std::size_t>(to - labels_begin));
  const std::string_view start(line, static_cast<std::size_t>(to - line));

  std::uint64_t count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    count += sample.counts[i];
    if (i > 0) to = detail::put(to, start);
    to = detail::put(to, bucket_ends_[i]);
    to = detail::put(to, count);
    *to++ = '\n';
  }
  const auto put_rest = [&](std::string_view suffix, Number number) {
    to = detail::put(to, name_);
    to = detail::put(to, suffix);
    to = detail::put(to, labels);
    to = detail::put(to, end_of_labels_);
    to = put(to, number);
    *to++ = '\n';
  };
  put_rest("_sum", sample.sum);
  put_rest("_count", count);
  page_.end_at(to);
}

void TextEncoder::prepare_buckets(std::span<const double> bounds) {
  const auto prepare = [this](double bound) {
    char digits[2 * slack];
    const char* end = detail::put(digits, bound);
    std::string& line_end = bucket_ends_.emplace_back(end_of_labels_ == " " ? "{le=\"" : "\",le=\"");
    line_end.append(static_cast<const char*>(digits), end).append("\"} ");
  };
  std::ranges::for_each(bounds, prepare);
  prepare(INFINITY);
}

}  // namespace quipu::detail

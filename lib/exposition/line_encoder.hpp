#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exposition/encoder.hpp"
#include "exposition/format.hpp"
#include "exposition/page_buffer.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// As put(to, real), but adds ".0" to what would look like a whole number.
[[nodiscard]] inline char* put_with_point(char* to, double real) noexcept {
  constexpr double limit = 1e6;  // from here on there is an exponent
  to = put(to, real);
  const bool is_whole = real > -limit && real < limit && real == static_cast<std::int32_t>(real);
  return is_whole ? put(to, std::string_view(".0")) : to;
}

/// Adds `text` with the escapes of label values.
QUIPU_EXPORT void append_escaped(std::string& to, std::string_view text);
/// A label's name as it is written before the equals sign, in quotes if necessary.
[[nodiscard]] std::string written_label_name(std::string_view name, Escaping escaping);

/// The common part of the formats in which a series is a line: a name, labels, and a number.
///
/// The common parts of the lines of a family, or of a part of it, are put together once. A line is then a few copies
/// and a number.
class LineEncoder : public Encoder {
 protected:
  /// Whether doubles that are whole numbers are written as `1` or as `1.0`.
  enum class Reals : std::uint8_t { shortest, with_point };

  static constexpr std::size_t number_size = slack;
  static constexpr char quote = '"';

  LineEncoder(PageBuffer& page, Escaping escaping, Reals reals) : page_(page), escaping_(escaping), reals_(reals) {}

  /// Prepares the lines of a family, or of another part of it. Puts nothing.
  void begin_family(const FamilyView& family);

  [[nodiscard]] PageBuffer& page() noexcept { return page_; }
  [[nodiscard]] Escaping escaping() const noexcept { return escaping_; }
  /// The family's name as it is written, without the quotes that it may have. A suffix may be added or removed.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  /// Puts what precedes the text of a HELP, TYPE or UNIT line.
  void put_comment(std::string_view keyword, std::string_view name);

  /// Sets `start` to the beginning of the lines of series with this name and suffix: everything before the first label
  /// value that is not constant.
  void set_start(std::string& start, std::string_view name, std::string_view suffix = {}) const;
  /// The maximum size from there to the number, whether values need escapes or not.
  [[nodiscard]] std::size_t size_of_labels(Labels labels) const noexcept;
  [[nodiscard]] char* put_labels(char* to, Labels labels, bool needs_no_escaping) const noexcept;
  [[nodiscard]] char* put_real(char* to, double real) const noexcept;
  [[nodiscard]] char* put_number(char* to, Number number) const noexcept;

  /// A blank and the time as the format writes it; empty if there is none. Valid until the next call.
  [[nodiscard]] std::string_view written_timestamp(const std::optional<WallTime>& timestamp) {
    return timestamp ? write_timestamp(*timestamp) : std::string_view();
  }
  [[nodiscard]] static char* put_if_any(char* to, std::string_view text) noexcept {
    return text.empty() ? to : detail::put(to, text);
  }

  /// Puts a line of a series up to its number. There is room for `more` bytes after that.
  template <class Series>
  [[nodiscard]] char* begin_line(std::string_view start, const Series& series, std::size_t more);

  /// Puts the lines of a histogram: buckets, and sum and count if `has_sum`. `put_more(to, i)` is called before the end
  /// of bucket i's line. In all calls together it puts at most `more` bytes.
  template <class PutMore>
  void put_histogram(const HistogramSample& sample, bool has_sum, std::size_t more, PutMore put_more);

  /// Puts the lines of a summary: quantiles whose value `is_allowed`, the sum if `has_sum`, and the count.
  void put_summary(const SummarySample& sample, bool has_sum, bool (*is_allowed)(double));

 private:
  virtual void append_time(std::string& to, WallTime time) const = 0;
  std::string_view write_timestamp(WallTime timestamp);
  void prepare_parts(std::string_view label);

  PageBuffer& page_;
  const Escaping escaping_;
  const Reals reals_;

  std::string name_;
  bool is_quoted_ = false;
  std::size_t const_labels_ = 0;
  /// From the name to the first value that is not constant: `{env="prod",region="`. A name in quotes is itself inside
  /// the braces, so a comma then takes the place of the brace.
  std::string first_labels_;
  std::vector<std::string> between_values_;  // of the labels that are not constant: `",path="`
  std::string_view end_of_labels_;           // from the last value to the number
  std::size_t fixed_size_ = 0;               // of the two members above
  std::string timestamp_;

  // A part of a series is a bucket of a histogram or a quantile of a summary. Each has a line.
  std::string part_start_;
  std::string sum_start_;
  std::string count_start_;
  std::vector<double> parts_;           // upper bounds, without +Inf, or quantiles
  std::vector<std::string> part_ends_;  // from the last value to the number: `",le="0.5"} `, of +Inf too
};

inline std::size_t LineEncoder::size_of_labels(Labels labels) const noexcept {
  std::size_t size = fixed_size_;
  for (const Label& label : labels.subspan(const_labels_)) size += 2 * label.value.size();
  return size;
}

/// Puts everything up to the last value.
inline char* LineEncoder::put_labels(char* to, Labels labels, bool needs_no_escaping) const noexcept {
  const Labels own = labels.subspan(const_labels_);
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (i > 0) to = detail::put(to, between_values_[i - 1]);
    to = needs_no_escaping ? detail::put(to, own[i].value) : put_escaped(to, own[i].value, quote);
  }
  return to;
}

inline char* LineEncoder::put_real(char* to, double real) const noexcept {
  return reals_ == Reals::with_point ? put_with_point(to, real) : detail::put(to, real);
}

inline char* LineEncoder::put_number(char* to, Number number) const noexcept {
  return number.is_whole() ? detail::put(to, number.whole()) : put_real(to, number.real());
}

template <class Series>
inline char* LineEncoder::begin_line(std::string_view start, const Series& series, std::size_t more) {
  char* to = page_.reserve(start.size() + size_of_labels(series.labels) + more);
  to = detail::put(to, start);
  to = put_labels(to, series.labels, series.needs_no_escaping);
  return detail::put(to, end_of_labels_);
}

template <class PutMore>
inline void LineEncoder::put_histogram(const HistogramSample& sample, bool has_sum, std::size_t more,
                                       PutMore put_more) {
  if (part_ends_.empty() || !std::ranges::equal(sample.bounds, parts_)) {
    parts_.assign(sample.bounds.begin(), sample.bounds.end());
    prepare_parts("le");
  }
  const std::string_view timestamp = written_timestamp(sample.timestamp);
  constexpr std::size_t bound_size = 10 + number_size;
  const std::size_t line_size = part_start_.size() + size_of_labels(sample.labels) + bound_size + number_size +
                                timestamp.size();  // the longest start
  char* to = page_.reserve((sample.counts.size() + 2) * line_size + more);

  // The name and the labels are put together in the first line, and copied from there.
  const char* line = to;
  to = detail::put(to, part_start_);
  const char* values_begin = to;
  to = put_labels(to, sample.labels, sample.needs_no_escaping);
  const std::string_view values(values_begin, static_cast<std::size_t>(to - values_begin));
  const std::string_view start(line, static_cast<std::size_t>(to - line));

  std::uint64_t count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    count += sample.counts[i];
    if (i > 0) to = detail::put(to, start);
    to = detail::put(to, part_ends_[i]);
    to = detail::put(to, count);
    to = put_if_any(to, timestamp);
    to = put_more(to, i);
    *to++ = '\n';
  }
  const auto put_rest = [&](std::string_view rest_start, Number number) {
    to = detail::put(to, rest_start);
    to = detail::put(to, values);
    to = detail::put(to, end_of_labels_);
    to = put_number(to, number);
    to = put_if_any(to, timestamp);
    *to++ = '\n';
  };
  if (has_sum) {
    put_rest(sum_start_, sample.sum);
    put_rest(count_start_, count);
  }
  page_.end_at(to);
}

}  // namespace quipu::detail

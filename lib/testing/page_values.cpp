#include "testing/page_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/printable.hpp"
#include "base/text.hpp"
#include "exposition/line_encoder.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {
namespace {

/// Whole numbers without a sign, point or exponent, without leading zeros; empty for others.
std::string_view whole_digits(std::string_view text) noexcept {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (!std::ranges::all_of(text, is_digit)) return {};
  while (text.size() > 1 && text.front() == '0') text.remove_prefix(1);
  return text;
}

/// Whether a number outside the range of a double is too large (true) or too small.
bool is_overflow(std::string_view digits) noexcept {
  const std::size_t exponent_at = std::min(digits.find_first_of("eE"), digits.size());
  const std::size_t point = std::min(digits.find('.'), exponent_at);
  const std::size_t first = digits.find_first_not_of("0.");
  if (first >= exponent_at) return false;
  // Far from the point, or with an exponent that no integer holds, either sign decides.
  std::int64_t exponent = 0;
  if (exponent_at < digits.size()) {
    std::string_view text = digits.substr(exponent_at + 1);
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (error == std::errc::result_out_of_range) return !text.starts_with('-');
  }
  const auto before_point = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
  return exponent > -before_point;
}

std::string escaped(std::string_view text) {
  std::string result;
  append_escaped(result, text);
  return printable(result);
}

}  // namespace

std::optional<double> parse_number(std::string_view text) noexcept {
  std::string_view digits = text;
  const bool is_negative = digits.starts_with('-');
  if (is_negative || digits.starts_with('+')) digits.remove_prefix(1);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (equals_ignoring_case(digits, "inf") || equals_ignoring_case(digits, "infinity")) {
    return is_negative ? -infinity : infinity;
  }
  if (equals_ignoring_case(text, "nan")) return std::numeric_limits<double>::quiet_NaN();
  // std::from_chars would also read words, and numbers with nothing behind the point or the exponent.
  if (digits.empty() || !(is_digit(digits.front()) || digits.front() == '.')) return std::nullopt;
  double value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, std::chars_format::general);
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    if (is_overflow(digits)) return std::nullopt;
    value = 0;
  }
  if (std::isinf(value)) return std::nullopt;
  return is_negative ? -value : value;
}

std::partial_ordering compare_numbers(std::string_view a, std::string_view b) noexcept {
  const std::string_view whole_a = whole_digits(a);
  const std::string_view whole_b = whole_digits(b);
  if (!whole_a.empty() && !whole_b.empty()) {
    if (whole_a.size() != whole_b.size()) return whole_a.size() <=> whole_b.size();
    return whole_a <=> whole_b;
  }
  const auto value_a = parse_number(a);
  const auto value_b = parse_number(b);
  if (!value_a || !value_b) return std::partial_ordering::unordered;
  return *value_a <=> *value_b;
}

bool is_same_number(std::string_view a, std::string_view b) noexcept {
  if (compare_numbers(a, b) == std::partial_ordering::equivalent) return true;
  const auto is_nan = [](std::string_view text) {
    const auto value = parse_number(text);
    return value && std::isnan(*value);
  };
  return is_nan(a) && is_nan(b);
}

std::string labels_key(const std::vector<testing::ParsedLabel>& labels, std::string_view left_out) {
  std::vector<const testing::ParsedLabel*> sorted;
  for (const auto& label : labels) {
    if (!label.value.empty() && label.name != left_out) sorted.push_back(&label);
  }
  std::ranges::sort(sorted, {}, &testing::ParsedLabel::name);
  std::string key;
  for (const auto* label : sorted) {
    const bool is_number = label->name == "le" || label->name == "quantile";
    const auto number = is_number ? parse_number(label->value) : std::nullopt;
    const std::string value = number ? fmt::format("{}", *number + 0.0) : label->value;
    // The length before each text makes sure that no two lists have the same key.
    key += fmt::format("\n{}:{}={}:{}", label->name.size(), label->name, value.size(), value);
  }
  return key;
}

std::string spelled_name(std::string_view metric_name) {
  return is_metric_name(metric_name) ? std::string(metric_name) : '"' + escaped(metric_name) + '"';
}

std::string spelled(const std::vector<testing::ParsedLabel>& labels) {
  std::string list;
  for (const auto& label : labels) {
    const std::string_view quote = is_legacy_label_name(label.name) ? "" : "\"";
    list += fmt::format("{}{}{}{}=\"{}\"", list.empty() ? "" : ",", quote, escaped(label.name), quote,
                        escaped(label.value));
  }
  return list;
}

std::string spelled(std::string_view name, const std::vector<testing::ParsedLabel>& labels) {
  const std::string list = spelled(labels);
  const std::string written = spelled_name(name);
  if (!is_metric_name(name)) return fmt::format("{{{}{}{}}}", written, list.empty() ? "" : ",", list);
  return list.empty() ? written : fmt::format("{}{{{}}}", written, list);
}

testing::ParseError parse_error(std::size_t line_number, std::string_view line, std::string_view why) {
  if (line_number == 0) return {line_number, fmt::format("{}: {}", why, printable(line))};
  return {line_number, fmt::format("line {}: {}: {}", line_number, why, printable(line))};
}

}  // namespace quipu::detail

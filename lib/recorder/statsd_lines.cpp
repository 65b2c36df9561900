#include "recorder/statsd_lines.hpp"

#include <algorithm>
#include <charconv>

namespace quipu::statsd {
namespace {

/// Appends `text` with '_' for what would break a line, and for the characters `also`.
void append_clean(std::string& out, std::string_view text, std::string_view also = "") {
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    const bool breaks = code <= ' ' || code == 0x7F || std::string_view(":|@#,").find(c) != std::string_view::npos;
    out += breaks || also.find(c) != also.npos ? '_' : c;
  }
}

void append_number(std::string& out, std::uint64_t number) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// Without an exponent.
void append_number(std::string& out, double number) {
  char digits[1100];
  const double shown = number == 0 ? 0 : number;  // no -0
  out.append(digits, std::to_chars(digits, digits + sizeof digits, shown, std::chars_format::fixed).ptr);
}

template <class Value>
void append_line(std::string& out, std::string_view series, Value value, std::string_view type) {
  const std::size_t end = std::min(series.find('|'), series.size());
  out.append(series, 0, end) += ':';
  append_number(out, value);
  (out += '|') += type;
  out.append(series, end);
}

}  // namespace

SeriesNames::SeriesNames(const StatsdOptions& options) : dialect_(options.dialect) {
  append_clean(prefix_, options.prefix);
  if (!prefix_.empty() && !prefix_.ends_with('.')) prefix_ += '.';
  for (const Label& label : options.labels) constants_.emplace_back(label.name, label.value);
}

std::string_view SeriesNames::of(std::string_view name, Labels labels) {
  series_ = prefix_;
  append_clean(series_, name.empty() ? "_" : name);
  if (dialect_ == StatsdDialect::dogstatsd) {
    std::string_view separator = "|#";
    for (const Label& label : sorted(labels)) {
      if (label.value.empty()) continue;
      series_ += std::exchange(separator, ",");
      append_clean(series_, label.name.empty() ? "_" : label.name);
      series_ += ':';
      append_clean(series_, label.value);
    }
  } else {
    for (const Label& label : sorted(labels)) {
      series_ += '.';
      append_clean(series_, label.value.empty() ? "_" : label.value, ".");
    }
  }
  return series_;
}

/// The labels of a line, by name. The first of several of one name stays: a constant one, if there is one.
Labels SeriesNames::sorted(Labels labels) {
  sorted_.clear();
  for (const auto& [name, value] : constants_) sorted_.push_back({name, value});
  sorted_.insert(sorted_.end(), labels.begin(), labels.end());
  std::ranges::stable_sort(sorted_, {}, &Label::name);
  const auto is_same = [](const Label& a, const Label& b) { return a.name == b.name; };
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), is_same), sorted_.end());
  return sorted_;
}

void append_count(std::string& out, std::string_view series, std::uint64_t sum) { append_line(out, series, sum, "c"); }

void append_gauge(std::string& out, std::string_view series, double value, StatsdDialect dialect) {
  if (value < 0 && dialect == StatsdDialect::statsd) {
    append_line(out, series, std::uint64_t{0}, "g");
    out += '\n';
  }
  append_line(out, series, value, "g");
}

void append_value(std::string& out, std::string_view series, double value, std::string_view type) {
  append_line(out, series, value, type);
}

}  // namespace quipu::statsd

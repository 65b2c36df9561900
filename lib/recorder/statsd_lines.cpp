#include "recorder/statsd_lines.hpp"

#include <algorithm>
#include <charconv>

#include "base/utf8.hpp"
#include "quipu/label.hpp"

namespace quipu::statsd {
namespace {

bool breaks_line(char c) noexcept {
  const auto code = static_cast<unsigned char>(c);
  return code <= ' ' || code == 0x7F || std::string_view(":|@#,").find(c) != std::string_view::npos;
}

/// Appends `text` as valid UTF-8, with '_' for what would break a line, and for the characters `also`. Only the code
/// points that fit into `max_size` bytes are appended.
void append_clean(std::string& out, std::string_view text, std::size_t max_size, std::string_view also = "") {
  const std::size_t begin = out.size();
  while (!text.empty()) {
    const detail::Utf8Part part = detail::first_utf8_part(text);
    const std::string_view shown = part.is_valid ? text.substr(0, part.size) : detail::replacement;
    if (out.size() - begin + shown.size() > max_size) return;
    if (breaks_line(shown.front()) || also.find(shown.front()) != also.npos) {
      out += '_';
    } else {
      out += shown;
    }
    text.remove_prefix(part.size);
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

SeriesNames::SeriesNames(const StatsdOptions& options, std::size_t max_size)
    : dialect_(options.dialect), max_size_(max_size) {
  append_clean(prefix_, options.prefix, options.prefix.npos);
  if (!prefix_.empty() && !prefix_.ends_with('.')) prefix_ += '.';
  for (const StatsdLabel& label : options.labels) constants_.emplace_back(label.name, label.value);
}

std::optional<std::string_view> SeriesNames::of(std::string_view name, Labels labels) {
  series_ = prefix_;
  // A name is cut where a code point ends, up to three bytes earlier. What is left is too long in any case.
  const std::size_t max_name = max_size_ + 4;
  append_clean(series_, name.empty() ? "_" : name, max_name);
  if (dialect_ == StatsdDialect::dogstatsd) {
    std::string_view separator = "|#";
    for (const Label& label : sorted(labels)) {
      if (label.value.empty()) continue;
      series_ += std::exchange(separator, ",");
      append_clean(series_, label.name.empty() ? "_" : label.name, max_name);
      series_ += ':';
      append_clean(series_, label.value, detail::default_max_label_value);
    }
  } else {
    for (const Label& label : sorted(labels)) {
      series_ += '.';
      append_clean(series_, label.value.empty() ? "_" : label.value, detail::default_max_label_value, ".");
    }
  }
  if (series_.size() > max_size_) return std::nullopt;
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

void append_count(std::string& out, std::string_view series, Number sum) {
  if (sum.is_whole()) {
    append_line(out, series, sum.whole(), "c");
  } else {
    append_line(out, series, sum.real(), "c");
  }
}

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

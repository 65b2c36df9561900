#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.hpp"
#include "quipu/testing.hpp"

// What holds for any bytes that are read as a page. The first line is the Content-Type, the rest is the page.

namespace page_properties {

using quipu::testing::FamilyType;
using quipu::testing::ParsedFamily;
using quipu::testing::ParsedLabel;
using quipu::testing::ParsedPage;
using quipu::testing::ParsedSample;

inline std::string escaped(std::string_view text, bool has_quotes = true) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || (c == '"' && has_quotes)) result += '\\';
    result += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return result;
}

inline std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  char digits[64];
  std::snprintf(digits, sizeof digits, "%.17g", value);
  return digits;
}

/// Writes a page with the same meaning.
class Writer {
 public:
  Writer(bool is_open_metrics, bool has_utf8_names)
      : is_open_metrics_(is_open_metrics), has_utf8_names_(has_utf8_names) {}

  [[nodiscard]] std::string write(const ParsedPage& page) const {
    std::string out;
    for (const ParsedFamily& family : page.families) {
      const std::string name = has_utf8_names_ ? '"' + escaped(family.name) + '"' : family.name;
      if (family.type) {
        const bool is_unknown = is_open_metrics_ && *family.type == FamilyType::untyped;
        out += "# TYPE " + name + ' ' + std::string(is_unknown ? "unknown" : to_string(*family.type)) + '\n';
      }
      if (family.unit) out += "# UNIT " + name + ' ' + *family.unit + '\n';
      if (family.help) out += "# HELP " + name + ' ' + escaped(*family.help, is_open_metrics_) + '\n';
      for (const ParsedSample& sample : family.samples) out += line(sample);
    }
    return is_open_metrics_ ? out + "# EOF\n" : out;
  }

 private:
  [[nodiscard]] std::string labels(const std::vector<ParsedLabel>& labels, std::string list = "") const {
    for (const ParsedLabel& label : labels) {
      const std::string name = has_utf8_names_ ? '"' + escaped(label.name) + '"' : label.name;
      list += (list.empty() ? "" : ",") + name + "=\"" + escaped(label.value) + '"';
    }
    return '{' + list + '}';
  }

  [[nodiscard]] std::string line(const ParsedSample& sample) const {
    std::string out =
        has_utf8_names_ ? labels(sample.labels, '"' + escaped(sample.name) + '"') : sample.name + labels(sample.labels);
    out += ' ' + sample.text;
    if (sample.time) out += ' ' + (is_open_metrics_ ? number(*sample.time) : number(std::round(*sample.time * 1000)));
    if (sample.exemplar) {
      out += " # " + labels(sample.exemplar->labels) + ' ' + number(sample.exemplar->value);
      if (sample.exemplar->time) out += ' ' + number(*sample.exemplar->time);
    }
    return out + '\n';
  }

  const bool is_open_metrics_;
  const bool has_utf8_names_;
};

inline bool is_same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

inline bool is_same(const ParsedSample& a, const ParsedSample& b) {
  if (a.name != b.name || a.labels != b.labels || a.text != b.text || !is_same(a.value, b.value)) return false;
  if (a.time != b.time || a.exemplar.has_value() != b.exemplar.has_value()) return false;
  return !a.exemplar || (a.exemplar->labels == b.exemplar->labels && is_same(a.exemplar->value, b.exemplar->value) &&
                         a.exemplar->time == b.exemplar->time);
}

inline bool is_same(const ParsedPage& one, const ParsedPage& other) {
  return std::ranges::equal(one.families, other.families, [](const ParsedFamily& a, const ParsedFamily& b) {
    return a.name == b.name && a.type == b.type && a.help == b.help && a.unit == b.unit &&
           std::ranges::equal(a.samples, b.samples, [](const auto& x, const auto& y) { return is_same(x, y); });
  });
}

/// Whether each sample is found by its name and labels.
inline bool are_found(const ParsedPage& page) {
  for (const ParsedFamily& family : page.families) {
    for (const ParsedSample& sample : family.samples) {
      if (sample.time) continue;  // one of several points of its series
      std::vector<quipu::Label> labels;
      for (const ParsedLabel& label : sample.labels) labels.push_back({label.name, label.value});
      if (!is_same(quipu::testing::value_of(page, sample.name, quipu::Labels(labels)), sample.value)) return false;
    }
  }
  return true;
}

inline bool is_taken(std::string_view body, std::string_view type) {
  try {
    static_cast<void>(quipu::testing::read_page(body, type));
    return true;
  } catch (const quipu::testing::ParseError&) {
    return false;
  }
}

/// What is wrong with how these bytes are read, or nothing.
inline std::string check(std::string_view data) {
  const std::string type(data.substr(0, data.find('\n')));
  const std::string_view body = data.substr(std::min(type.size() + 1, data.size()));
  std::optional<ParsedPage> read;
  try {
    read = quipu::testing::read_page(body, type);
  } catch (const quipu::testing::ParseError& error) {
    const auto lines = static_cast<std::size_t>(std::count(body.begin(), body.end(), '\n')) + 1;
    if (error.line() > lines + 1) return "an error beyond the last line";
    const std::string_view message = error.what();
    if (message.empty() || message.find('\n') != message.npos) return "a message that is not a line";
    if (!quipu::detail::is_utf8(message)) return "a message that is not UTF-8";
    return "";
  }

  // As the reader understands the Content-Type.
  const bool is_open_metrics = !is_taken("", type);  // which ends with a line of its own
  const bool has_utf8_names = is_taken(is_open_metrics ? "{\"a\"} 1\n# EOF\n" : "{\"a\"} 1\n", type);
  const std::string written = Writer(is_open_metrics, has_utf8_names).write(*read);
  try {
    if (!is_same(quipu::testing::read_page(written, type), *read)) return "written again, the page is another";
  } catch (const quipu::testing::ParseError& error) {
    return std::string("written again, the page is refused: ") + error.what();
  }
  if (!are_found(*read)) return "a sample is not found";
  const std::string difference = quipu::testing::difference(*read, *read);
  if (!difference.empty()) return "a page differs from itself: " + difference;
  static_cast<void>(quipu::testing::lint(*read));
  return "";
}

}  // namespace page_properties

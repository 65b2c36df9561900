#include "text_encoder.hpp"

#include <charconv>
#include <cmath>

namespace quipu::detail {
namespace {

/// Escaped are backslash and line feed, and the quote in label values; everything else stands as it is.
void append_escaped(std::string& page, std::string_view text, std::string_view escaped) {
  for (;;) {
    const std::size_t plain = text.find_first_of(escaped);
    page += text.substr(0, plain);
    if (plain == std::string_view::npos) return;
    page += '\\';
    page += text[plain] == '\n' ? 'n' : text[plain];
    text.remove_prefix(plain + 1);
  }
}

void append(std::string& page, std::uint64_t whole) {
  char digits[20];
  page.append(digits, std::to_chars(std::begin(digits), std::end(digits), whole).ptr);
}

/// The shortest digits that read back as the same double, in the form that Go's 'g' has.
void append(std::string& page, double real) {
  if (std::isnan(real)) {
    page += "NaN";
  } else if (std::isinf(real)) {
    page += real > 0 ? "+Inf" : "-Inf";
  } else {
    char digits[32];
    real += 0.0;  // -0 becomes 0
    page.append(digits, std::to_chars(std::begin(digits), std::end(digits), real, std::chars_format::general).ptr);
  }
}

void append(std::string& page, Number number) {
  if (number.is_whole()) {
    append(page, number.whole());
  } else {
    append(page, number.real());
  }
}

}  // namespace

void TextEncoder::family(const FamilyView& family) {
  name_ = family.name;
  if (!family.help.empty()) {
    page_ += "# HELP ";
    page_ += name_;
    page_ += ' ';
    append_escaped(page_, family.help, "\\\n");
    page_ += '\n';
  }
  page_ += "# TYPE ";
  page_ += name_;
  page_ += ' ';
  page_ += to_string(family.kind);
  page_ += '\n';
}

/// The line up to the last label, with the brace left open if there are labels.
void TextEncoder::begin_line(std::string_view suffix, Labels labels) {
  page_ += name_;
  page_ += suffix;
  char separator = '{';
  for (const Label& label : labels) {
    page_ += separator;
    page_ += label.name;
    page_ += "=\"";
    append_escaped(page_, label.value, "\\\"\n");
    page_ += '"';
    separator = ',';
  }
}

void TextEncoder::sample(const Sample& sample) {
  begin_line({}, sample.labels);
  page_ += sample.labels.empty() ? " " : "} ";
  append(page_, sample.value);
  page_ += '\n';
}

void TextEncoder::histogram(const HistogramSample& sample) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < sample.counts.size(); ++i) {
    count += sample.counts[i];
    begin_line("_bucket", sample.labels);
    page_ += sample.labels.empty() ? "{le=\"" : ",le=\"";
    append(page_, i < sample.bounds.size() ? sample.bounds[i] : INFINITY);
    page_ += "\"} ";
    append(page_, count);
    page_ += '\n';
  }
  const std::string_view end = sample.labels.empty() ? " " : "} ";
  begin_line("_sum", sample.labels);
  page_ += end;
  append(page_, sample.sum);
  page_ += '\n';
  begin_line("_count", sample.labels);
  page_ += end;
  append(page_, count);
  page_ += '\n';
}

}  // namespace quipu::detail

#include "quipu/testing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <unordered_set>
#include <utility>

#include "base/printable.hpp"
#include "base/text.hpp"
#include "base/utf8.hpp"
#include "quipu/exposition.hpp"
#include "quipu/name.hpp"
#include "testing/page_rules.hpp"
#include "testing/page_values.hpp"

namespace quipu::testing {
namespace {

using detail::count_code_points;
using detail::is_blank;
using detail::labels_key;
using detail::parse_number;
using detail::printable;
using detail::to_lower;
using detail::trimmed;

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
constexpr std::size_t exemplar_limit = 128;  // code points, OpenMetrics 1.0 "Exemplars"

/// The format that a Content-Type promises.
struct Dialect {
  bool is_open_metrics;
  bool has_utf8_names;
};

/// Reads a Content-Type (RFC 9110, 8.3). No parameter may come twice: Go's parser fails on it, and so does the server.
Dialect dialect_of(std::string_view content_type) {
  const auto refuse = [content_type](std::string_view why) {
    return detail::parse_error(0, fmt::format("Content-Type: {}", content_type), why);
  };
  std::vector<std::string_view> parts;
  for (std::string_view rest = content_type;;) {
    const std::size_t end = rest.find(';');
    parts.push_back(trimmed(rest.substr(0, end)));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  std::map<std::string, std::string> parameters;
  for (const std::string_view part : std::span(parts).subspan(1)) {
    const std::size_t equals = part.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      throw refuse(fmt::format("\"{}\" is no parameter: name=value", printable(part)));
    }
    std::string_view value = part.substr(equals + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    if (!parameters.emplace(to_lower(part.substr(0, equals)), value).second) {
      throw refuse(fmt::format("the parameter \"{}\" comes twice", printable(part.substr(0, equals))));
    }
  }
  const std::string version = parameters["version"];
  if (const std::string& charset = parameters["charset"]; !charset.empty() && to_lower(charset) != "utf-8") {
    throw refuse("a page is UTF-8");
  }
  const std::string type = to_lower(parts.front());
  const bool is_open_metrics = type == "application/openmetrics-text";
  if (!is_open_metrics && type != "text/plain") {
    throw refuse("what can be read is text/plain and application/openmetrics-text");
  }
  if (is_open_metrics ? !version.empty() && version != "1.0.0" && version != "0.0.1"
                      : !version.empty() && version != "0.0.4" && version != "1.0.0") {
    throw refuse(is_open_metrics ? "of OpenMetrics, versions 1.0.0 and 0.0.1 can be read"
                                 : "of the text format, versions 0.0.4 and 1.0.0 can be read");
  }
  return {is_open_metrics, parameters["escaping"] == "allow-utf-8"};
}

class Reader {
 public:
  Reader(std::string_view body, Dialect dialect) : rest_(body), dialect_(dialect) {}

  ParsedPage read() {
    if (rest_.starts_with(byte_order_mark)) {
      next_line();
      fail("the page begins with a byte order mark");
    }
    while (!rest_.empty()) {
      next_line();
      if (is_over_) fail("nothing may follow # EOF");
      read_line();
    }
    if (dialect_.is_open_metrics && !is_over_) {
      fail_after("the page does not end with # EOF: it may have been cut off");
    }
    close_family();
    return std::move(page_);
  }

 private:
  // Lines.

  void next_line() {
    const std::size_t end = rest_.find('\n');
    line_ = rest_.substr(0, end);
    at_ = 0;
    ++line_number_;
    has_line_feed_ = end != std::string_view::npos;
    rest_.remove_prefix(has_line_feed_ ? end + 1 : rest_.size());
  }

  [[noreturn]] void fail(std::string_view why) const { throw detail::parse_error(line_number_, line_, why); }
  /// Fails at the end of the page.
  [[noreturn]] void fail_after(std::string_view why) const { throw detail::parse_error(line_number_ + 1, "", why); }

  void read_line() {
    const bool is_eof = dialect_.is_open_metrics && line_ == "# EOF";
    if (!has_line_feed_ && !is_eof) fail("the last line has no line feed: the page may have been cut off");
    if (!detail::is_utf8(line_)) fail("not UTF-8");
    if (is_eof) {
      is_over_ = true;
      return;
    }
    if (!dialect_.is_open_metrics) skip_blanks();
    if (at_end()) {
      if (dialect_.is_open_metrics) fail("OpenMetrics has no blank lines");
      return;
    }
    if (peek() == '#') {
      read_comment();
    } else {
      if (line_.ends_with('\r')) fail("the line ends with CR LF; LF alone ends a line");
      if (at_ > 0) fail("blanks stand before the name, of which the server takes them for a part");
      read_sample();
    }
  }

  // Tokens.

  [[nodiscard]] bool at_end() const noexcept { return at_ == line_.size(); }
  [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : line_[at_]; }
  [[nodiscard]] std::string_view rest_of_line() const noexcept { return line_.substr(at_); }

  bool take(std::string_view token) noexcept {
    if (!rest_of_line().starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  void skip_blanks() noexcept {
    while (!at_end() && is_blank(line_[at_])) ++at_;
  }
  /// Skips blanks where the text format allows them, and OpenMetrics does not.
  void skip_optional_blanks() noexcept {
    if (!dialect_.is_open_metrics) skip_blanks();
  }

  template <class Predicate>
  std::string_view take_while(Predicate is_part) noexcept {
    const std::size_t begin = at_;
    while (!at_end() && is_part(line_[at_])) ++at_;
    return line_.substr(begin, at_ - begin);
  }

  /// Takes what separates two tokens: blanks in the text format, one space in OpenMetrics.
  void separator(std::string_view before_what) {
    if (dialect_.is_open_metrics) {
      if (!take(" ")) fail(fmt::format("one space is expected before {}", before_what));
      if (!at_end() && is_blank(peek())) fail(fmt::format("more than one space before {}", before_what));
    } else {
      const std::size_t begin = at_;
      skip_blanks();
      if (at_ == begin) fail(fmt::format("a space is expected before {}", before_what));
    }
  }

  /// Reads from behind the opening quote up to and including the closing one. Only `\\`, `\"` and `\n` are escapes.
  /// Some readers keep other escapes, and some refuse them.
  std::string quoted_text(std::string_view of_what) {
    std::string text;
    while (!at_end()) {
      const char c = line_[at_++];
      if (c == '"') return text;
      text += c == '\\' ? escaped_character() : c;
    }
    fail(fmt::format("the quote of {} is not closed on this line: is a line feed or a quote not escaped?", of_what));
  }

  char escaped_character(bool has_quotes = true) {
    const char c = peek();
    ++at_;
    if (c == '\\') return c;
    if (c == 'n') return '\n';
    if (c == '"' && has_quotes) return c;
    --at_;
    std::size_t end = std::min(at_ + 1, line_.size());
    while (end < line_.size() && detail::continues_code_point(line_[end])) ++end;
    fail(fmt::format("a backslash before \"{}\" is no escape: there are \\\\, \\n{}",
                     printable(line_.substr(at_, end - at_)), has_quotes ? " and \\\"" : ""));
  }

  std::string quoted_name(std::string_view of_what) {
    if (!dialect_.has_utf8_names) {
      fail("a name in quotes is understood only where the Content-Type says escaping=allow-utf-8");
    }
    std::string name = quoted_text(of_what);
    if (name.empty()) fail(fmt::format("{} is empty", of_what));
    return name;
  }

  std::string metric_name() {
    const std::size_t begin = at_;
    const std::string_view name =
        take_while([](char c) { return detail::is_letter(c) || detail::is_digit(c) || c == ':'; });
    if (!detail::is_metric_name(name)) {
      at_ = begin;
      const std::string_view token = take_while([](char c) { return !is_blank(c) && c != '{'; });
      fail(fmt::format("\"{}\" is not a metric name", printable(token)));
    }
    return std::string(name);
  }

  void check_end_of_name(std::size_t begin) {
    if (at_end() || is_blank(peek()) || peek() == '{') return;
    take_while([](char c) { return !is_blank(c) && c != '{'; });
    fail(fmt::format("\"{}\" is not a metric name", printable(line_.substr(begin, at_ - begin))));
  }

  double number(std::string_view token, std::string_view of_what) const {
    if (const auto value = parse_number(token)) return *value;
    std::string hint;
    if (token.find(',') != std::string_view::npos) hint = " (a decimal comma, or a separator of thousands?)";
    if (to_lower(token).find("nan") != std::string::npos) hint = " (NaN has neither a sign nor anything else)";
    fail(fmt::format("{} \"{}\" is not a number, or none that a double can be{}", of_what, printable(token), hint));
  }

  // HELP, TYPE, UNIT.

  void read_comment() {
    if (dialect_.is_open_metrics) {
      for (const std::string_view keyword : {"HELP", "TYPE", "UNIT"}) {
        if (take(fmt::format("# {} ", keyword))) return read_metadata(keyword);
      }
      fail("OpenMetrics has no comments but # HELP, # TYPE, # UNIT and # EOF");
    }
    take("#");
    const std::size_t begin = at_;
    skip_blanks();
    if (at_ == begin) return;
    for (const std::string_view keyword : {"HELP", "TYPE"}) {
      const std::size_t before = at_;
      if (take(keyword) && is_blank(peek())) {
        skip_blanks();
        return read_metadata(keyword);
      }
      at_ = before;
    }
  }

  void read_metadata(std::string_view keyword) {
    const std::size_t begin = at_;
    std::string name;
    if (take("\"")) {
      name = quoted_name("a metric name");
    } else {
      name = metric_name();
      check_end_of_name(begin);
      if (peek() == '{') fail("labels stand in the lines of samples only");
    }
    // One separator; whatever follows belongs to the text.
    const bool has_separator = dialect_.is_open_metrics ? take(" ") : take(" ") || take("\t");
    if (!has_separator && (!at_end() || dialect_.is_open_metrics || keyword == "TYPE")) {
      fail("a space is expected after the name");
    }
    ParsedFamily& family = family_of_metadata(std::move(name), keyword);
    if (keyword == "HELP") {
      if (family.help) fail(fmt::format("a second HELP of {}", printable(family.name)));
      family.help = help_text();
      return;
    }
    if (line_.ends_with('\r')) fail("the line ends with CR LF; LF alone ends a line");
    if (keyword == "TYPE") {
      if (family.type) fail(fmt::format("a second TYPE of {}", printable(family.name)));
      if (!family.samples.empty()) fail("TYPE comes after the samples, which have no type then");
      family.type = type_named(rest_of_line());
    } else {
      if (family.unit) fail(fmt::format("a second UNIT of {}", printable(family.name)));
      family.unit = rest_of_line();
    }
  }

  ParsedFamily& family_of_metadata(std::string name, std::string_view keyword) {
    if (family_ == nullptr || family_->name != name) begin_family(std::move(name));
    if (dialect_.is_open_metrics && !family_->samples.empty()) {
      fail(fmt::format("{} comes after the samples", keyword));
    }
    family_end_ = line_number_;
    return *family_;
  }

  std::string help_text() {
    std::string text;
    while (!at_end()) {
      const char c = line_[at_++];
      text += c == '\\' ? escaped_character(dialect_.is_open_metrics) : c;
    }
    return text;
  }

  [[nodiscard]] FamilyType type_named(std::string_view text) const {
    std::string known;
    for (int i = 0; i <= static_cast<int>(FamilyType::stateset); ++i) {
      const auto type = static_cast<FamilyType>(i);
      const std::string_view spelling = detail::spelling(type, dialect_.is_open_metrics);
      if (spelling.empty()) continue;
      if (text == spelling) return type;
      known.append(known.empty() ? "" : ", ").append(spelling);
    }
    fail(fmt::format("\"{}\" is not a type; exactly one of these is: {}", printable(text), known));
  }

  // Families.

  /// Fails because a line belongs to a family that has ended.
  [[noreturn]] void fail_again(std::string_view name, std::string_view family) const {
    const std::string of_family = name == family ? "" : fmt::format(" of {}", printable(family));
    fail(fmt::format("{}{} again, whose lines ended at line {}: all lines of a family stand together", printable(name),
                     of_family, families_.find(family)->second));
  }

  void begin_family(std::string name) {
    close_family();
    if (families_.contains(name)) fail_again(name, name);
    family_ = &page_.families.emplace_back();
    family_->name = std::move(name);
    family_begin_ = {line_number_, line_};
  }

  [[nodiscard]] std::span<const std::string_view> suffixes() const noexcept {
    return detail::suffixes(family_->type.value_or(FamilyType::untyped), dialect_.is_open_metrics);
  }

  /// Reserves the names of the family's samples, once its type is known.
  void claim_names() {
    for (const std::string_view suffix : suffixes()) {
      const auto [claim, is_new] = claims_.emplace(family_->name + std::string(suffix), family_->name);
      if (!is_new) {
        throw detail::parse_error(family_begin_.number, family_begin_.text,
                                  fmt::format("{} would be a sample of {} and of {}", printable(claim->first),
                                              printable(claim->second), printable(family_->name)));
      }
    }
  }

  void close_family() {
    if (family_ == nullptr) return;
    if (family_->samples.empty()) claim_names();
    detail::check({*family_, family_begin_, sample_lines_, dialect_.is_open_metrics});
    families_.emplace(family_->name, family_end_);
    family_ = nullptr;
    sample_lines_.clear();
    series_.clear();
  }

  /// Makes the family to which a sample of this name belongs the current one, and returns the suffix.
  std::string_view find_family(std::string_view name) {
    if (family_ != nullptr && name.starts_with(family_->name)) {
      const std::string_view suffix = name.substr(family_->name.size());
      if (std::ranges::find(suffixes(), suffix) != suffixes().end()) {
        if (family_->samples.empty()) claim_names();
        return suffix;
      }
      if (is_stray(suffix)) fail(fmt::format("{} is not a sample of {}", printable(name), described_family()));
    }
    if (const auto claim = claims_.find(name); claim != claims_.end()) {
      fail_again(name, claim->second);
    }
    begin_family(std::string(name));
    claim_names();
    return {};
  }

  /// Whether a sample with this suffix looks as if it were meant for the current family, to which it does not belong.
  [[nodiscard]] bool is_stray(std::string_view suffix) const noexcept {
    if (!family_->type) return false;
    if (suffix.empty()) return true;
    if (dialect_.is_open_metrics) return detail::is_reserved_suffix(suffix);
    return family_->type == FamilyType::counter && suffix == "_total";
  }

  [[nodiscard]] std::string described_family() const {
    std::string names;
    for (const std::string_view suffix : suffixes()) {
      names.append(names.empty() ? "" : ", ").append(printable(family_->name)).append(suffix);
    }
    return fmt::format("the {} {}, whose samples are: {}", detail::spelling(*family_->type, dialect_.is_open_metrics),
                       printable(family_->name), names);
  }

  // Samples.

  void read_sample() {
    ParsedSample sample;
    const std::size_t begin = at_;
    bool has_labels = false;
    if (peek() == '{') {
      ++at_;
      skip_optional_blanks();
      if (!take("\"")) fail("a metric name is expected: before {, or in quotes first behind it");
      sample.name = quoted_name("the metric name");
      skip_optional_blanks();
      if (peek() == '=') fail("a metric name is expected: before {, or in quotes first behind it");
      has_labels = true;
      if (!at_end() && peek() != '}' && !take(",")) fail("a comma or } is expected after the metric name");
    } else {
      sample.name = metric_name();
      check_end_of_name(begin);
      const std::size_t end = at_;
      skip_optional_blanks();
      has_labels = take("{");
      if (!has_labels) at_ = end;
    }
    if (has_labels) sample.labels = labels();
    if (!has_labels || dialect_.is_open_metrics) {
      separator("the value");
    } else {
      skip_blanks();
    }
    const std::string_view token = take_while([](char c) { return !is_blank(c); });
    if (token.empty()) fail("the value is missing");
    sample.value = number(token, "the value");
    sample.text = token;
    if (!at_end()) {
      separator("the timestamp");
      if (dialect_.is_open_metrics) {
        if (peek() != '#') {
          sample.time = open_metrics_time();
          if (!at_end()) separator("an exemplar");
        }
        if (!at_end()) sample.exemplar = exemplar();
      } else {
        sample.time = text_time();
      }
    }
    add(std::move(sample));
  }

  /// Reads from behind the opening brace up to and including the closing one.
  std::vector<ParsedLabel> labels() {
    std::vector<ParsedLabel> result;
    for (;;) {
      skip_optional_blanks();
      if (take("}")) {
        if (dialect_.is_open_metrics && line_[at_ - 2] == ',') fail("OpenMetrics has no comma after the last label");
        return result;
      }
      ParsedLabel label;
      if (take("\"")) {
        label.name = quoted_name("a label name");
      } else {
        const std::size_t begin = at_;
        label.name = take_while([](char c) { return c != '=' && c != ',' && c != '}' && c != '"' && !is_blank(c); });
        if (!detail::is_legacy_label_name(label.name)) {
          at_ = begin;
          fail(at_end() ? "} is missing" : fmt::format("\"{}\" is not a label name", printable(label.name)));
        }
      }
      check_label_name(label.name, result);
      skip_optional_blanks();
      if (!take("=")) fail(fmt::format("= is expected after the label name {}", printable(label.name)));
      skip_optional_blanks();
      if (!take("\"")) fail(fmt::format("the value of label {} is not in double quotes", printable(label.name)));
      label.value = quoted_text("a label value");
      result.push_back(std::move(label));
      skip_optional_blanks();
      if (peek() != '}' && !take(",")) {
        fail(fmt::format("a comma or }} is expected after the value of label {}", printable(result.back().name)));
      }
    }
  }

  void check_label_name(std::string_view name, const std::vector<ParsedLabel>& before) const {
    if (name == "__name__") fail("the label __name__ is the metric's name");
    if (dialect_.is_open_metrics && name.starts_with("__")) {
      fail(fmt::format("label {}: names that begin with __ are reserved", printable(name)));
    }
    if (std::ranges::find(before, name, &ParsedLabel::name) != before.end()) {
      fail(fmt::format("label {} comes twice", printable(name)));
    }
  }

  /// A timestamp in milliseconds. The format has negative ones too, which the server does not read.
  double text_time() {
    const std::string_view token = rest_of_line();
    if (token.empty()) fail("the line ends with a blank");
    if (token.find('#') != std::string_view::npos) fail("the text format has no exemplars");
    const auto milliseconds = detail::to_number<std::int64_t>(token);
    if (!milliseconds || !detail::is_digit(token.front())) {
      fail(fmt::format("the timestamp \"{}\" is not a whole number of milliseconds, without a sign", printable(token)));
    }
    return static_cast<double>(*milliseconds) / 1000;
  }

  /// A timestamp in seconds.
  double open_metrics_time() {
    const std::string_view token = take_while([](char c) { return !is_blank(c); });
    const double seconds = number(token, "the timestamp");
    if (!std::isfinite(seconds)) fail(fmt::format("the timestamp \"{}\" is not finite", token));
    return seconds;
  }

  ParsedExemplar exemplar() {
    if (!take("# {")) fail("an exemplar is expected: # {labels} value [timestamp]");
    ParsedExemplar result{labels(), 0, {}};
    separator("the value of the exemplar");
    result.value = number(take_while([](char c) { return !is_blank(c); }), "the value of the exemplar");
    if (!at_end()) {
      separator("the timestamp of the exemplar");
      result.time = open_metrics_time();
    }
    if (!at_end()) fail("the line goes on after the exemplar");
    std::size_t size = 0;
    for (const ParsedLabel& label : result.labels)
      size += count_code_points(label.name) + count_code_points(label.value);
    if (size > exemplar_limit) {
      fail(fmt::format("the labels of the exemplar have {} code points; {} are allowed", size, exemplar_limit));
    }
    return result;
  }

  void add(ParsedSample sample) {
    const std::string_view suffix = find_family(sample.name);
    if (sample.exemplar && suffix != "_total" && suffix != "_bucket") {
      fail("only the _total of a counter and the _bucket of a histogram have exemplars");
    }
    // In OpenMetrics a series may have several points, told apart by their timestamps.
    std::string key = sample.name + labels_key(sample.labels);
    if (dialect_.is_open_metrics && sample.time) key += fmt::format("\n{}", *sample.time);
    if (!series_.insert(std::move(key)).second) fail("the series comes twice (neither label order nor \"\" matter)");
    family_->samples.push_back(std::move(sample));
    sample_lines_.push_back({line_number_, line_});
    family_end_ = line_number_;
  }

  std::string_view rest_;  // of the page
  const Dialect dialect_;
  std::string_view line_;
  std::size_t at_ = 0;  // in the line
  std::size_t line_number_ = 0;
  bool has_line_feed_ = false;
  bool is_over_ = false;  // # EOF was read

  ParsedPage page_;
  ParsedFamily* family_ = nullptr;                            // the current one, the last of the page
  detail::PageLine family_begin_;                             // its first line
  std::size_t family_end_ = 0;                                // its last line
  std::vector<detail::PageLine> sample_lines_;                // of its samples
  std::unordered_set<std::string> series_;                    // that it has
  std::map<std::string, std::size_t, std::less<>> families_;  // that are over, with their last lines
  std::map<std::string, std::string, std::less<>> claims_;    // sample names, and whose they are
};

}  // namespace

ParsedPage read_page(std::string_view body, std::string_view content_type) {
  return Reader(body, dialect_of(content_type)).read();
}

ParsedPage read_page(const Registry& registry) {
  const Page page =
      render(registry, "text/plain;version=1.0.0;escaping=allow-utf-8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
  return read_page(page.body, page.content_type);
}

}  // namespace quipu::testing

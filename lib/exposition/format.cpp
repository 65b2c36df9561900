#include "exposition/format.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace quipu::detail {
namespace {

constexpr char to_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_same(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blanks = " \t";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

/// Takes from `text` what precedes the separator, and the separator; all of it if there is none. What is in quotes is
/// no separator.
std::string_view take_until(std::string_view& text, char separator) noexcept {
  bool is_quoted = false;
  std::size_t end = 0;
  for (; end < text.size() && (is_quoted || text[end] != separator); ++end) {
    if (text[end] == '"') is_quoted = !is_quoted;
    if (is_quoted && text[end] == '\\') ++end;
  }
  end = std::min(end, text.size());
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return trimmed(taken);
}

std::string unquoted(std::string_view text) {
  if (!text.starts_with('"')) return std::string(text);
  std::string result;
  for (std::size_t i = 1; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    result += text[i];
  }
  return result;
}

/// 0, which is "not acceptable", if it is no number. Prometheus 2.49.0 sent a 2.
double quality(std::string_view text) noexcept {
  double q = 0;
  if (text.find_first_not_of("0123456789.") != std::string_view::npos) return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), q);
  return error == std::errc() && end == text.data() + text.size() ? std::min(q, 1.0) : 0;
}

/// One of the media ranges in an Accept header.
struct Clause {
  explicit Clause(std::string_view text) : type(take_until(text, ';')) {
    while (!text.empty()) {
      std::string_view value = take_until(text, ';');
      const std::string_view name = take_until(value, '=');
      value = trimmed(value);
      if (is_same(name, "q")) {
        q = quality(unquoted(value));
      } else if (is_same(name, "version")) {
        version = unquoted(value);
      } else if (is_same(name, "proto")) {
        proto = unquoted(value);
      } else if (is_same(name, "encoding")) {
        encoding = unquoted(value);
      } else if (is_same(name, "escaping")) {
        const std::string scheme = unquoted(value);
        for (const auto& [meaning, known] : escaping_schemes) {
          if (is_same(scheme, known)) escaping = meaning;
        }
      }
    }
  }

  [[nodiscard]] int specificity() const noexcept {
    if (!type.ends_with("/*")) return 2;
    return type == "*/*" ? 0 : 1;
  }

  std::string_view type;
  double q = 1;
  std::string version;
  std::string proto;
  std::string encoding;
  std::optional<Escaping> escaping;
};

/// What is offered to a clause, if anything.
std::optional<Format> offer(const Clause& clause, const FormatOptions& options) {
  const auto first_of = [&](Syntax syntax, std::initializer_list<std::string_view> versions) -> std::optional<Format> {
    // Who does not say which version gets the oldest one.
    if (clause.version.empty()) return Format{.syntax = syntax, .version = *versions.begin()};
    for (const std::string_view version : versions) {
      if (version == clause.version) return Format{.syntax = syntax, .version = version};
    }
    return std::nullopt;
  };
  if (clause.type == "*/*" || is_same(clause.type, "text/*")) return Format();
  if (is_same(clause.type, "text/plain")) return first_of(Syntax::text, {"0.0.4", "1.0.0"});
  if (is_same(clause.type, "application/openmetrics-text")) {
    if (options.open_metrics_2 && clause.version == "2.0.0") return first_of(Syntax::open_metrics_2, {"2.0.0"});
    return first_of(Syntax::open_metrics, {"0.0.1", "1.0.0"});
  }
  if (is_same(clause.type, "application/vnd.google.protobuf") &&
      is_same(clause.proto, "io.prometheus.client.MetricFamily") && is_same(clause.encoding, "delimited")) {
    return Format{.syntax = Syntax::protobuf, .version = {}};
  }
  return std::nullopt;
}

}  // namespace

Format negotiate(std::string_view accept, const FormatOptions& options) {
  Format best;
  std::pair best_rank(0.0, 0);
  while (!accept.empty()) {
    const Clause clause(take_until(accept, ','));
    const std::pair rank(clause.q, clause.specificity());
    if (clause.q == 0 || rank <= best_rank) continue;
    std::optional<Format> offered = offer(clause, options);
    if (!offered) continue;
    best = *offered;
    best_rank = rank;
    best.escaping = clause.escaping.value_or(Escaping::underscores);
    // Text 1.0.0 is about names, so it always says what became of them.
    best.names_escaping = clause.escaping || (best.syntax == Syntax::text && best.version == "1.0.0");
  }
  best.created_lines = options.created_lines && best.syntax == Syntax::open_metrics;
  return best;
}

std::string content_type(const Format& format) {
  std::string type;
  switch (format.syntax) {
    case Syntax::text:
      type = "text/plain";
      break;
    case Syntax::open_metrics:
    case Syntax::open_metrics_2:
      type = "application/openmetrics-text";
      break;
    case Syntax::protobuf:
      type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
      break;
  }
  if (format.syntax != Syntax::protobuf) type.append("; version=").append(format.version).append("; charset=utf-8");
  for (const auto& [escaping, name] : escaping_schemes) {
    if (format.names_escaping && format.escaping == escaping) type.append("; escaping=").append(name);
  }
  return type;
}

}  // namespace quipu::detail

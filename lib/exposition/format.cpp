#include "exposition/format.hpp"

#include <optional>
#include <utility>

#include "base/text.hpp"
#include "family/definition.hpp"

namespace quipu::detail {
namespace {

/// Removes the next item from a list and returns it without the blanks around it.
std::string_view take_item(std::string_view& list, char separator) noexcept {
  return trimmed(take_until_unquoted(list, separator));
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

/// One of the media ranges in an Accept header.
struct Clause {
  explicit Clause(std::string_view text) : type(take_item(text, ';')) {
    while (!text.empty()) {
      std::string_view value = take_item(text, ';');
      const std::string_view name = take_item(value, '=');
      value = trimmed(value);
      if (equals_ignoring_case(name, "q")) {
        q = parse_quality(unquoted(value));
      } else if (equals_ignoring_case(name, "version")) {
        version = unquoted(value);
      } else if (equals_ignoring_case(name, "proto")) {
        proto = unquoted(value);
      } else if (equals_ignoring_case(name, "encoding")) {
        encoding = unquoted(value);
      } else if (equals_ignoring_case(name, "escaping")) {
        const std::string scheme = unquoted(value);
        for (const auto& [meaning, known] : escaping_schemes) {
          if (equals_ignoring_case(scheme, known)) escaping = meaning;
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

/// The format that is offered for a clause, if any.
std::optional<Format> offer(const Clause& clause, const FormatOptions& options) {
  const auto first_of = [&](Syntax syntax, std::initializer_list<std::string_view> versions) -> std::optional<Format> {
    // A clause without a version gets the oldest one.
    if (clause.version.empty()) return Format{.syntax = syntax, .version = *versions.begin()};
    for (const std::string_view version : versions) {
      if (version == clause.version) return Format{.syntax = syntax, .version = version};
    }
    return std::nullopt;
  };
  if (clause.type == "*/*" || equals_ignoring_case(clause.type, "text/*")) return Format();
  if (equals_ignoring_case(clause.type, "text/plain")) return first_of(Syntax::text, {"0.0.4", "1.0.0"});
  if (equals_ignoring_case(clause.type, "application/openmetrics-text")) {
    if (options.open_metrics_2 && clause.version == "2.0.0") return first_of(Syntax::open_metrics_2, {"2.0.0"});
    return first_of(Syntax::open_metrics, {"0.0.1", "1.0.0"});
  }
  if (equals_ignoring_case(clause.type, "application/vnd.google.protobuf") &&
      equals_ignoring_case(clause.proto, "io.prometheus.client.MetricFamily") &&
      equals_ignoring_case(clause.encoding, "delimited")) {
    return Format{.syntax = Syntax::protobuf, .version = {}};
  }
  return std::nullopt;
}

}  // namespace

Format negotiate(std::string_view accept, const FormatOptions& options) {
  Format best;
  std::pair best_rank(0.0, 0);
  while (!accept.empty()) {
    const Clause clause(take_item(accept, ','));
    const std::pair rank(clause.q, clause.specificity());
    if (clause.q == 0 || rank <= best_rank) continue;
    std::optional<Format> offered = offer(clause, options);
    if (!offered) continue;
    best = *offered;
    best_rank = rank;
    best.escaping = clause.escaping.value_or(Escaping::underscores);
    // Text 1.0.0 differs only in names, so it always says how they are escaped.
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

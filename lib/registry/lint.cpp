#include "registry/lint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.hpp"
#include "family/definition.hpp"

namespace quipu::detail {
namespace {

constexpr std::array<std::string_view, 10> base_units{"amperes", "bytes",  "celsius", "grams",   "joules",
                                                      "kelvin",  "meters", "metres",  "seconds", "volts"};

struct Unit {
  std::string_view name;
  std::string_view base;
};

/// Units that are not base units, with a prefix or without.
constexpr std::array<Unit, 14> other_units{{
    {"minutes", "seconds"},
    {"hours", "seconds"},
    {"days", "seconds"},
    {"weeks", "seconds"},
    {"kelvins", "kelvin"},
    {"fahrenheit", "celsius"},
    {"rankine", "celsius"},
    {"inches", "meters"},
    {"yards", "meters"},
    {"miles", "meters"},
    {"bits", "bytes"},
    {"calories", "joules"},
    {"pounds", "grams"},
    {"ounces", "grams"},
}};

/// promtool has "mibi" where "mebi" is meant.
constexpr std::array<std::string_view, 19> prefixes{"pico",  "nano", "micro", "milli", "centi", "deci", "deca",
                                                    "hecto", "kilo", "kibi",  "mega",  "mibi",  "mebi", "giga",
                                                    "gibi",  "tera", "tebi",  "peta",  "pebi"};

constexpr std::array<std::string_view, 14> abbreviations{"s",  "ms", "us", "ns", "sec", "b", "kb",
                                                         "mb", "gb", "tb", "pb", "m",   "h", "d"};

constexpr std::array<std::string_view, 5> types{"counter", "gauge", "histogram", "gauge_histogram", "summary"};

bool is_camel_case(std::string_view name) noexcept {
  const auto hump = std::ranges::adjacent_find(name, [](char a, char b) { return is_lower(a) && is_upper(b); });
  return hump != name.end();
}

std::vector<std::string_view> words(std::string_view name) {
  std::vector<std::string_view> result;
  do {
    result.push_back(take_until(name, '_'));
  } while (!name.empty());
  return result;
}

/// The base unit to use instead of what the word says; empty for a base unit, or none at all.
std::string_view instead_of(std::string_view word) noexcept {
  const auto of_unit = [](std::string_view name, bool has_prefix) -> std::string_view {
    if (const auto* unit = std::ranges::find(other_units, name, &Unit::name); unit != other_units.end()) {
      return unit->base;
    }
    if (!has_prefix) return {};
    const auto* base = std::ranges::find(base_units, name);
    return base == base_units.end() ? std::string_view() : *base;
  };
  if (const std::string_view base = of_unit(word, false); !base.empty()) return base;
  for (const std::string_view prefix : prefixes) {
    if (!word.starts_with(prefix)) continue;
    if (const std::string_view base = of_unit(word.substr(prefix.size()), true); !base.empty()) return base;
  }
  return {};
}

void lint_units(std::string_view name, std::vector<std::string>& problems) {
  for (const std::string_view word : words(name)) {
    if (const std::string_view base = instead_of(word); !base.empty()) {
      problems.push_back(fmt::format("use base unit \"{}\" instead of \"{}\"", base, word));
      break;
    }
  }
  // The first word may be an abbreviation: "h_total" does not begin with hours.
  const std::string small = to_lower(name);
  const std::vector<std::string_view> all = words(small);
  if (std::find_first_of(all.begin() + 1, all.end(), abbreviations.begin(), abbreviations.end()) != all.end()) {
    problems.emplace_back("metric names should not contain abbreviated units");
  }
}

/// Suffixes and labels that belong to other types.
void lint_reserved(const LintedFamily& family, std::vector<std::string>& problems) {
  const bool is_histogram = family.type == "histogram";
  const bool is_summary = family.type == "summary";
  const bool is_counter = family.type == "counter";
  const auto has_label = [&](std::string_view label) {
    return std::ranges::find(family.label_names, label) != family.label_names.end();
  };
  if (is_counter && !family.name.ends_with("_total")) {
    problems.emplace_back("counter metrics should have \"_total\" suffix");
  }
  if (family.type == "untyped") return;
  if (!is_counter && family.name.ends_with("_total")) {
    problems.emplace_back("non-counter metrics should not have \"_total\" suffix");
  }
  if (!is_histogram && family.name.ends_with("_bucket")) {
    problems.emplace_back("non-histogram metrics should not have \"_bucket\" suffix");
  }
  for (const std::string_view suffix : {"_count", "_sum"}) {
    if (!is_histogram && !is_summary && family.name.ends_with(suffix)) {
      problems.push_back(fmt::format("non-histogram and non-summary metrics should not have \"{}\" suffix", suffix));
    }
  }
  if (!is_histogram && has_label("le")) problems.emplace_back("non-histogram metrics should not have \"le\" label");
  if (!is_summary && has_label("quantile")) {
    problems.emplace_back("non-summary metrics should not have \"quantile\" label");
  }
}

void lint_type_in_name(std::string_view name, std::vector<std::string>& problems) {
  const std::string padded = to_lower(name) + '_';
  for (const std::string_view type : types) {
    if (padded.find(fmt::format("_{}_", type)) != std::string::npos) {
      problems.push_back(fmt::format("metric name should not include type '{}'", type));
    }
  }
}

}  // namespace

std::vector<std::string> lint(const LintedFamily& family) {
  std::vector<std::string> problems;
  if (family.help.empty()) problems.emplace_back("no help text");
  lint_units(family.name, problems);
  lint_reserved(family, problems);
  lint_type_in_name(family.name, problems);
  if (family.name.find(':') != std::string_view::npos) problems.emplace_back("metric names should not contain ':'");
  if (is_camel_case(family.name)) {
    problems.emplace_back("metric names should be written in 'snake_case' not 'camelCase'");
  }
  if (std::ranges::any_of(family.label_names, is_camel_case)) {
    problems.emplace_back("label names should be written in 'snake_case' not 'camelCase'");
  }
  std::ranges::sort(problems);
  return problems;
}

std::vector<std::string> lint(const FamilyView& family) {
  LintedFamily linted{family.name, family.help, type_in_text(family.type), {}};
  for (const Label& label : family.const_labels) linted.label_names.push_back(label.name);
  linted.label_names.insert(linted.label_names.end(), family.label_names.begin(), family.label_names.end());
  return lint(linted);
}

}  // namespace quipu::detail

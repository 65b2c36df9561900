#include "family/definition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <map>
#include <span>
#include <tuple>
#include <utility>

#include "base/utf8.hpp"
#include "quipu/error.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {
namespace {

constexpr std::string_view total = "_total";
constexpr std::string_view info = "_info";

constexpr std::string_view metric_rule =
    "a metric name is letters, digits, '_' or ':' and does not begin with a digit ([a-zA-Z_:][a-zA-Z0-9_:]*)";
constexpr std::string_view label_rule =
    "a label name is letters, digits or '_' and begins neither with a digit nor with \"__\" ([a-zA-Z_][a-zA-Z0-9_]*)";
constexpr std::string_view utf8_hint = ", unless the registry takes any name in UTF-8 (RegistryOptions::utf8_names)";
constexpr std::string_view utf8_metric_rule = "a metric name is not empty, and UTF-8";
constexpr std::string_view utf8_label_rule = "a label name is UTF-8, not empty, and does not begin with \"__\"";

std::string metric_rule_for(NameRules rules) {
  return rules == NameRules::utf8 ? std::string(utf8_metric_rule) : fmt::format("{}{}", metric_rule, utf8_hint);
}

std::string label_rule_for(NameRules rules) {
  return rules == NameRules::utf8 ? std::string(utf8_label_rule) : fmt::format("{}{}", label_rule, utf8_hint);
}

bool is_allowed_metric_name(std::string_view text, NameRules rules) noexcept {
  return rules == NameRules::utf8 ? !text.empty() && is_utf8(text) : is_metric_name(text);
}

bool is_allowed_label_name(std::string_view text, NameRules rules) noexcept {
  return rules == NameRules::utf8 ? !text.empty() && is_utf8(text) && !text.starts_with("__") : is_label_name(text);
}

/// Labels that a page adds to samples of some type, so that not every family could have them as const labels.
constexpr std::pair<std::string_view, std::string_view> names_of_formats[] = {{"le", "bucket bound of a histogram"},
                                                                              {"quantile", "quantile of a summary"}};

std::string describe(const OwnedLabels::value_type& label) {
  return fmt::format("{}=\"{}\"", label.first, label.second);
}

/// Names two labels of one series whose escaped names are equal; "" if there are none.
std::string what_clashes(std::span<const std::string_view> labels) {
  for (const auto& [escaping, scheme] : escaping_schemes) {
    std::map<std::string, std::string_view> known;
    for (const std::string_view label : labels) {
      const auto [other, is_new] = known.emplace(escape_label_name(label, escaping), label);
      if (is_new || other->second == label) continue;
      return fmt::format("labels \"{}\" and \"{}\" are both \"{}\" when names are escaped as {}; choose another name",
                         other->second, label, other->first, scheme);
    }
  }
  return "";
}

/// Why these cannot be const labels; "" if they can.
std::string mistake_in(const OwnedLabels& const_labels, NameRules rules) {
  std::vector<std::string_view> all;
  for (auto label = const_labels.begin(); label != const_labels.end(); ++label) {
    all.push_back(label->first);
    if (!is_allowed_label_name(label->first, rules)) {
      return fmt::format("const label \"{}\": {}", label->first, label_rule_for(rules));
    }
    const auto other = std::find_if(const_labels.begin(), label, [&](auto& o) { return o.first == label->first; });
    if (other != label) {
      return fmt::format("const label \"{}\" is given twice, as {} and as {}; leave one of them out", label->first,
                         describe(*other), describe(*label));
    }
    for (const auto& [name, use] : names_of_formats) {
      if (label->first != name) continue;
      return fmt::format("const label {}: \"{}\" is the {}; choose another name", describe(*label), name, use);
    }
  }
  if (rules == NameRules::legacy) return "";
  const std::string clash = what_clashes(all);
  return clash.empty() ? "" : "const " + clash;
}

/// The word before the type that tells instruments of one type apart.
std::string_view variant(const Definition& definition) noexcept {
  switch (definition.cells) {
    case CellKind::real:  // also of what collectors show
      return definition.type == MetricType::counter ? "fractional " : "";
    case CellKind::native:
      return "native ";
    case CellKind::whole:
    case CellKind::gauge:
    case CellKind::states:
    case CellKind::histogram:
    case CellKind::summary:
      return "";
  }
  return "";
}

/// The name in the metadata of OpenMetrics, without the suffix that the type adds.
std::string_view base_name(const Definition& definition, std::string_view name) noexcept {
  if (definition.type == MetricType::counter && name.ends_with(total)) name.remove_suffix(total.size());
  if (definition.type == MetricType::info && name.ends_with(info)) name.remove_suffix(info.size());
  return name;
}

[[noreturn]] void refuse(const Definition& definition, std::string_view why) {
  throw RegistrationError(fmt::format("cannot register {}: {}", describe(definition), why));
}

}  // namespace

OwnedLabels owned(std::span<const ConstLabel> labels) {
  OwnedLabels result;
  for (const ConstLabel& label : labels) result.emplace_back(label.name.text(), to_utf8(label.value));
  return result;
}

bool is_same_family(const Definition& a, const Definition& b) noexcept {
  const auto rest = [](const Definition& one) {
    return std::tie(one.type, one.cells, one.name, one.unit, one.label_names, one.columns, one.bounds, one.native,
                    one.first_states, one.idle_expiry);
  };
  return rest(a) == rest(b) && std::ranges::equal(a.const_labels, b.const_labels, {}, &OwnedLabels::value_type::first,
                                                  &OwnedLabels::value_type::first);
}

std::string_view to_string(const LabelColumn& column) noexcept {
  if (!column.names.empty()) return "enum";
  switch (column.type) {
    case LabelType::text:
      return "text";
    case LabelType::signed_integer:
      return "integer";
    case LabelType::unsigned_integer:
      return "unsigned";
  }
  return "?";
}

std::string describe(const Definition& definition) {
  std::string text = fmt::format("{}{} {}", variant(definition), to_string(definition.type), definition.name);
  std::vector<std::string> labels;
  for (const auto& label : definition.const_labels) labels.push_back(describe(label));
  for (std::size_t i = 0; i < definition.label_names.size(); ++i) {
    labels.push_back(fmt::format("{} {}", definition.label_names[i], to_string(definition.columns[i])));
  }
  if (!labels.empty()) text += fmt::format("{{{}}}", fmt::join(labels, ", "));
  if (!definition.unit.empty()) text += fmt::format(" in {}", definition.unit);
  if (definition.first_states != 0) {
    const auto first = static_cast<std::size_t>(std::countr_zero(definition.first_states));
    text += fmt::format(" beginning as {}", definition.columns.back().names[first]);
  }
  if (const auto& native = definition.native; native && native->summary) {
    text += fmt::format(" with quantiles {} over {} s in {} age buckets", native->summary->quantiles,
                        Seconds(native->summary->max_age).count(), native->summary->age_buckets);
  } else if (native) {
    text += fmt::format(" of schema {}, zero threshold {} to {}, at most {} buckets", native->initial.schema,
                        native->initial.zero_threshold, native->max_zero_threshold, native->max_buckets);
    if (native->min_reset_interval.count() > 0) {
      text += fmt::format(", resets {} s apart", Seconds(native->min_reset_interval).count());
    }
  }
  const bool is_collected = definition.cells == CellKind::real;
  if (definition.type == MetricType::histogram && !is_collected && !(definition.native && definition.bounds.empty())) {
    text += fmt::format(" with buckets {}", definition.bounds);
  }
  if (definition.idle_expiry.count() != 0) {
    text += fmt::format(", idle after {} s", Seconds(definition.idle_expiry).count());
  }
  return text + fmt::format(" \"{}\"", definition.help);
}

std::vector<std::string> sample_names(const Definition& definition, Escaping escaping) {
  const std::string name = escape_metric_name(definition.name, escaping);
  const std::string base(base_name(definition, name));
  switch (definition.type) {
    case MetricType::histogram:
      return {name, name + "_bucket", name + "_sum", name + "_count", name + "_created"};
    case MetricType::counter:
      if (base != name) return {name, base, base + "_created"};
      return {name};
    case MetricType::summary:
      return {name, name + "_sum", name + "_count", name + "_created"};
    case MetricType::info:
      return {name, base};
    case MetricType::gauge:
    case MetricType::stateset:
    case MetricType::unknown:
      return {name};
  }
  return {};
}

std::string_view type_in_text(MetricType type) noexcept {
  switch (type) {
    case MetricType::info:
    case MetricType::stateset:
      return to_string(MetricType::gauge);
    case MetricType::unknown:
      return "untyped";
    case MetricType::counter:
    case MetricType::gauge:
    case MetricType::histogram:
    case MetricType::summary:
      break;
  }
  return to_string(type);
}

void check(const Definition& definition, NameRules rules) {
  if (!is_allowed_metric_name(definition.name, rules)) refuse(definition, metric_rule_for(rules));
  const OwnedLabels& const_labels = definition.const_labels;
  if (const std::string mistake = mistake_in(const_labels, rules); !mistake.empty()) refuse(definition, mistake);
  const auto& labels = definition.label_names;
  for (auto label = labels.begin(); label != labels.end(); ++label) {
    if (!is_allowed_label_name(*label, rules)) {
      refuse(definition, fmt::format("label \"{}\": {}", *label, label_rule_for(rules)));
    }
    if (std::find(labels.begin(), label, *label) != label) {
      refuse(definition, fmt::format("label \"{}\" is given twice", *label));
    }
    const auto same = std::ranges::find(const_labels, *label, &OwnedLabels::value_type::first);
    if (same != const_labels.end()) {
      refuse(definition, fmt::format("label \"{}\" is a const label, {}; choose another name for one of them", *label,
                                     describe(*same)));
    }
  }
  if (rules == NameRules::utf8) {
    std::vector<std::string_view> all(labels.begin(), labels.end());
    for (const auto& [name, value] : const_labels) all.push_back(name);
    if (const std::string clash = what_clashes(all); !clash.empty()) refuse(definition, clash);
  }
  if (definition.type == MetricType::stateset && definition.name.find(':') != std::string::npos) {
    refuse(definition, "a stateset has no ':' in its name, which is also that of a label");
  }
  if (definition.type == MetricType::histogram && std::ranges::find(labels, "le") != labels.end()) {
    refuse(definition, "label \"le\" is the bucket bound of a histogram; choose another name");
  }
  if (definition.type == MetricType::summary && std::ranges::find(labels, "quantile") != labels.end()) {
    refuse(definition, "label \"quantile\" is the quantile of a summary; choose another name");
  }
  if (definition.type == MetricType::info &&
      (!definition.name.ends_with(info) || definition.name.size() == info.size())) {
    refuse(definition, "the name of an info ends in _info, with something before it");
  }
  if (definition.idle_expiry.count() < 0)
    refuse(definition, "idle_expiry is negative; it is 0 (for never) or a time above it");
  if (definition.idle_expiry.count() > 0 && labels.empty()) {
    refuse(definition,
           "idle_expiry is for families with labels, and a metric without labels is always shown; leave it out");
  }
  if (!definition.unit.empty() && !base_name(definition, definition.name).ends_with("_" + definition.unit)) {
    refuse(definition, fmt::format("its unit is {0}, so its name ends in _{0}{1}", definition.unit,
                                   definition.type == MetricType::counter ? "_total" : ""));
  }
}

void check(const OwnedLabels& const_labels, NameRules rules) {
  if (const std::string mistake = mistake_in(const_labels, rules); !mistake.empty()) throw RegistrationError(mistake);
}

void check_sizes(const OwnedLabels& const_labels, std::size_t max_label_value) {
  for (const auto& [name, value] : const_labels) {
    if (value.size() <= max_label_value) continue;
    throw RegistrationError(
        fmt::format("const label \"{}\": its value has {} bytes, and may have {}; shorten it, or raise "
                    "RegistryOptions::max_label_value_size",
                    name, value.size(), max_label_value));
  }
}

void check_prefix(std::string_view prefix, NameRules rules) {
  if (!prefix.empty() && !is_allowed_metric_name(prefix, rules)) {
    throw RegistrationError(fmt::format("prefix \"{}\": {}", prefix, metric_rule_for(rules)));
  }
}

std::string joined(std::string_view prefix, NameRules rules) {
  check_prefix(prefix, rules);
  return prefix.empty() ? std::string() : fmt::format("{}_", prefix);
}

}  // namespace quipu::detail

#include "definition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

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

/// The name in the metadata of OpenMetrics: without what the kind adds to it.
std::string_view base_name(const Definition& definition) noexcept {
  std::string_view name = definition.name;
  if (definition.kind == Kind::counter && name.ends_with(total)) name.remove_suffix(total.size());
  if (definition.kind == Kind::info && name.ends_with(info)) name.remove_suffix(info.size());
  return name;
}

[[noreturn]] void refuse(const Definition& definition, std::string_view why) {
  throw RegistrationError(fmt::format("cannot register {}: {}", describe(definition), why));
}

}  // namespace

std::string describe(const Definition& definition) {
  std::string text = definition.kind == Kind::counter && definition.cells == CellKind::real ? "fractional " : "";
  if (definition.native) text = "native ";
  text += fmt::format("{} {}", to_string(definition.kind), definition.name);
  if (!definition.label_names.empty()) {
    text += '{';
    for (std::size_t i = 0; i < definition.label_names.size(); ++i) {
      text += fmt::format("{}{} {}", i > 0 ? ", " : "", definition.label_names[i], to_string(definition.columns[i]));
    }
    text += '}';
  }
  if (!definition.unit.empty()) text += fmt::format(" in {}", definition.unit);
  if (definition.first_states != 0) {
    const auto first = static_cast<std::size_t>(std::countr_zero(definition.first_states));
    text += fmt::format(" beginning as {}", definition.columns.back().names[first]);
  }
  if (const auto& native = definition.native) {
    text += fmt::format(" of schema {}, zero threshold {} to {}, at most {} buckets", native->initial.schema,
                        native->initial.zero_threshold, native->max_zero_threshold, native->max_buckets);
    if (native->min_reset_interval.count() > 0) {
      text += fmt::format(", resets {} s apart", Seconds(native->min_reset_interval).count());
    }
  }
  if (definition.kind == Kind::histogram && !(definition.native && definition.bounds.empty())) {
    text += fmt::format(" with buckets {}", definition.bounds);
  }
  return text + fmt::format(" \"{}\"", definition.help);
}

std::vector<std::string> sample_names(const Definition& definition) {
  const std::string& name = definition.name;
  const std::string base(base_name(definition));
  switch (definition.kind) {
    case Kind::histogram:
      return {name, name + "_bucket", name + "_sum", name + "_count", name + "_created"};
    case Kind::counter:
      if (base != name) return {name, base, base + "_created"};
      return {name};
    case Kind::info:
      return {name, base};
    case Kind::gauge:
    case Kind::stateset:
      return {name};
  }
  return {};
}

void check(const Definition& definition, const OwnedLabels& const_labels) {
  if (!is_metric_name(definition.name)) refuse(definition, metric_rule);
  const auto& labels = definition.label_names;
  for (auto label = labels.begin(); label != labels.end(); ++label) {
    if (!is_label_name(*label)) refuse(definition, fmt::format("label \"{}\": {}", *label, label_rule));
    if (std::find(labels.begin(), label, *label) != label) {
      refuse(definition, fmt::format("label \"{}\" is given twice", *label));
    }
    if (std::ranges::any_of(const_labels, [&](auto& const_label) { return const_label.first == *label; })) {
      refuse(definition, fmt::format("label \"{}\" is a const label of the registry", *label));
    }
  }
  if (definition.kind == Kind::histogram) {
    const bool is_const = std::ranges::any_of(const_labels, [](auto& label) { return label.first == "le"; });
    if (is_const || std::ranges::find(labels, "le") != labels.end()) {
      refuse(definition, "label \"le\" is the bucket bound of a histogram; choose another name");
    }
  }
  if (definition.kind == Kind::info && (!definition.name.ends_with(info) || definition.name.size() == info.size())) {
    refuse(definition, "the name of an info ends in _info, with something before it");
  }
  if (!definition.unit.empty() && !base_name(definition).ends_with("_" + definition.unit)) {
    refuse(definition, fmt::format("its unit is {0}, so its name ends in _{0}{1}", definition.unit,
                                   definition.kind == Kind::counter ? "_total" : ""));
  }
}

void check(const OwnedLabels& const_labels) {
  for (auto label = const_labels.begin(); label != const_labels.end(); ++label) {
    if (!is_label_name(label->first)) {
      throw RegistrationError(fmt::format("const label \"{}\": {}", label->first, label_rule));
    }
    if (std::any_of(const_labels.begin(), label, [&](auto& other) { return other.first == label->first; })) {
      throw RegistrationError(fmt::format("const label \"{}\" is given twice", label->first));
    }
  }
}

void check_prefix(std::string_view prefix) {
  if (!prefix.empty() && !is_metric_name(prefix)) {
    throw RegistrationError(fmt::format("prefix \"{}\": {}", prefix, metric_rule));
  }
}

}  // namespace quipu::detail

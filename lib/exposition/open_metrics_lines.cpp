#include "exposition/open_metrics_lines.hpp"

#include <algorithm>
#include <chrono>

#include "base/utf8.hpp"
#include "family/escaping.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {
namespace {

/// A wrong unit makes a server refuse the whole page.
bool is_unit_of(std::string_view name, std::string_view unit) noexcept {
  const bool is_legal = std::ranges::all_of(unit, [](char c) { return is_letter(c) || is_digit(c) || c == ':'; });
  if (unit.empty() || !is_legal || name.size() < unit.size() + 2 || !name.ends_with(unit)) return false;
  return name[name.size() - unit.size() - 1] == '_';
}

}  // namespace

std::string_view OpenMetricsLines::name_without(std::string_view suffix) const noexcept {
  std::string_view base = name();
  if (base.size() > suffix.size() && base.ends_with(suffix)) base.remove_suffix(suffix.size());
  return base;
}

OpenMetricsLines::Type OpenMetricsLines::possible_type(const FamilyView& family) const {
  switch (family.type) {
    case MetricType::counter:
      return Type::counter;
    case MetricType::gauge:
      return Type::gauge;
    case MetricType::histogram:
      return Type::histogram;
    case MetricType::info:
      return has_suffix(info) ? Type::info : Type::gauge;
    case MetricType::stateset: {
      // The label that says the state is called like the family.
      const bool is_stateset =
          !family.label_names.empty() && family.label_names.back() == family.name &&
          escape_label_name(family.name, escaping()) == escape_metric_name(family.name, escaping());
      return is_stateset ? Type::stateset : Type::gauge;
    }
    case MetricType::summary:
      return Type::summary;
    case MetricType::unknown:
      return Type::unknown;
  }
  return Type::unknown;
}

void OpenMetricsLines::put_metadata(const FamilyView& family, Type type, std::string_view name) {
  constexpr std::string_view types[] = {"unknown", "counter", "gauge", "histogram", "info", "stateset", "summary"};
  type_ = type;
  put_comment("TYPE", name);
  page().put(types[static_cast<std::size_t>(type)]);
  page().put("\n");
  const bool may_have_unit = type != Type::info && type != Type::stateset;
  const std::string_view measured = type == Type::counter ? name_without(total) : name;
  if (may_have_unit && is_unit_of(measured, family.unit)) {
    put_comment("UNIT", name);
    page().put(family.unit);
    page().put("\n");
  }
  if (!family.help.empty()) {
    put_comment("HELP", name);
    page().put_escaped(family.help, quote);
    page().put("\n");
  }
}

void OpenMetricsLines::append_exemplar(std::string& to, const ExemplarView& exemplar, std::size_t most) const {
  std::string labels;
  std::size_t length = 0;
  for (const auto& [name, value] : exemplar.labels) {
    if (!labels.empty()) labels += ',';
    labels.append(written_label_name(name, escaping())).append("=\"");
    append_escaped(labels, value);
    labels += '"';
    length += count_code_points(escape_label_name(name, escaping())) + count_code_points(value);
  }
  if (length > most) return;
  char digits[2 * slack];
  const char* end = put_with_point(digits, exemplar.value);
  to.append(" # {").append(labels).append("} ").append(static_cast<const char*>(digits), end).append(" ");
  append_seconds(to, exemplar.time);
}

void OpenMetricsLines::append_time(std::string& to, WallTime time) const { append_seconds(to, time); }

void append_seconds(std::string& to, WallTime time) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const auto milliseconds = static_cast<std::uint64_t>(since_epoch < 0 ? -since_epoch : since_epoch);
  const std::string fraction = std::to_string(1000 + milliseconds % 1000);
  if (since_epoch < 0) to += '-';
  to += std::to_string(milliseconds / 1000);
  to += '.';
  to += std::string_view(fraction).substr(1);
}

}  // namespace quipu::detail

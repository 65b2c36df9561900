#include "quipu/family.hpp"

#include <new>
#include <utility>

namespace quipu::detail {
namespace {

std::vector<std::uint64_t> packed(std::span<const std::string> names) {
  LabelKey key;
  for (const std::string& name : names) key.put(std::string_view(name));
  const auto words = key.finish();
  return {words.begin(), words.end()};
}

}  // namespace

FamilyCore::FamilyCore(Definition made, std::size_t closed_size, SeriesLimits limits)
    : definition(std::move(made)),
      series(definition.cells, {definition.key_columns().begin(), definition.key_columns().end()},
             definition.type == MetricType::histogram ? &bucket_layout(definition.bounds) : nullptr, closed_size,
             std::move(limits), definition.first_states, definition.native, definition.idle_expiry),
      key_names(std::span(definition.label_names).first(definition.key_columns().size())),
      key_of_names(packed(key_names)) {}

CellRef FamilyCore::the_only_series() {
  LabelKey key;
  const CellRef only = series.find_or_create(key);
  if (only == CellRef{} && !series.has_ended()) throw std::bad_alloc();
  return only;
}

HeldSeries::HeldSeries(const std::shared_ptr<FamilyCore>& family, LabelKey& key, std::size_t index) noexcept {
  bool is_held = false;
  series_ = family->series.hold(key, index, is_held);
  if (is_held) family_ = family;
}

void HeldSeries::end() noexcept {
  const CellRef series = std::exchange(series_, CellRef{});
  if (const auto family = std::exchange(family_, nullptr)) family->series.release(series);
}

std::shared_ptr<FamilyCore> unregistered_family() {
  // As a histogram's, because the instruments of these take their bucket bounds from the family.
  static FamilyCore& family = *new FamilyCore(Definition{.type = MetricType::histogram}, most_closed_combinations,
                                              {.series = 0, .label_value = 0, .budget = {}});
  return {std::shared_ptr<void>(), &family};
}

}  // namespace quipu::detail

#include "quipu/family.hpp"

#include <new>
#include <utility>

namespace quipu::detail {

FamilyCore::FamilyCore(Definition made, std::size_t closed_size, SeriesLimits limits)
    : definition(std::move(made)),
      series(definition.cells, {definition.key_columns().begin(), definition.key_columns().end()},
             definition.type == MetricType::histogram ? &bucket_layout(definition.bounds) : nullptr, closed_size,
             std::move(limits), definition.first_states, definition.native, definition.idle_expiry) {}

CellRef FamilyCore::the_only_series() {
  LabelKey key;
  const CellRef only = series.find_or_create(key);
  if (only == CellRef{}) throw std::bad_alloc();
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

std::size_t remove_series_if(FamilyCore& core, void* context, bool (*should_remove)(void*, Labels)) {
  std::size_t removed = 0;
  std::vector<Label> labels;
  KeyReader reader(core.definition.key_columns());
  for (std::size_t i = 0; i < core.definition.key_columns().size(); ++i) {
    labels.push_back({core.definition.label_names[i], {}});
  }
  SeriesTable::Walk walk(core.series);
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    for (const auto& met : batch) {
      if (!met.series.ref.is_live()) continue;
      reader.read(met.key, [&](std::size_t i, std::string_view value) { labels[i].value = value; });
      if (should_remove(context, labels)) removed += static_cast<std::size_t>(core.series.remove(met.series));
    }
  }
  return removed;
}

}  // namespace quipu::detail

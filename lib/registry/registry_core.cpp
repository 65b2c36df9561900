#include "registry/registry_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/utf8.hpp"
#include "quipu/error.hpp"
#include "registry/lint.hpp"

namespace quipu::detail {
namespace {

bool is_wanted(std::span<const std::string> names, const std::string& name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

}  // namespace

RegistryCore::RegistryCore(OwnedLabels const_labels, NameRules rules, const RegistryOptions& options)
    : const_labels_(std::move(const_labels)),
      name_rules_(rules),
      formats_{.open_metrics_2 = options.open_metrics_2, .created_lines = options.created_lines},
      max_label_value_(options.max_label_value_size),
      series_budget_(std::make_shared<SeriesBudget>(options.max_series)),
      on_lint_(options.on_lint),
      on_error_(options.on_error),
      exemplars_(options.exemplars) {}

std::shared_ptr<FamilyCore> RegistryCore::add_family(Definition definition, std::size_t closed_size,
                                                     std::size_t max_series, Batch* batch, bool is_own) {
  check(definition, const_labels_, name_rules_);
  if (max_series == 0) {
    throw RegistrationError(
        fmt::format("cannot register {}: max_series is 0, and must be at least 1", describe(definition)));
  }
  std::unique_lock lock(mutex_);
  const Batch* const open = nearest_open(batch);
  if (const auto known = families_.find(definition.name); known != families_.end()) {
    FamilyEntry& entry = known->second;
    if (entry.instruments == nullptr || *entry.definition != definition) refuse_second(definition, entry);
    if (open == nullptr) {
      entry.batches.clear();
    } else if (!entry.batches.empty() && std::ranges::find(entry.batches, open) == entry.batches.end()) {
      entry.batches.push_back(open);
    }
    return entry.instruments;
  }
  SeriesLimits limits{.series = max_series, .label_value = max_label_value_, .budget = series_budget_};
  if (is_own) limits.budget = std::make_shared<SeriesBudget>(max_series);
  auto family = std::make_shared<FamilyCore>(std::move(definition), closed_size, std::move(limits));
  family->series.set_exemplar_source(exemplars_.function());
  const Definition& made = family->definition;
  FamilyEntry entry{std::shared_ptr<const Definition>(family, &made), family};
  if (open != nullptr) entry.batches.push_back(open);
  claim(made);
  try {
    families_.emplace(made.name, std::move(entry));
  } catch (...) {
    unclaim(made);
    throw;
  }
  lock.unlock();
  report_lint(made);
  return family;
}

void RegistryCore::report_lint(const Definition& definition) const {
  if (!on_lint_) return;
  const FamilyView family{.name = definition.name,
                          .help = definition.help,
                          .unit = definition.unit,
                          .type = definition.type,
                          .label_names = definition.label_names};
  for (const std::string& advice : lint(family)) on_lint_(definition.name, advice);
}

void RegistryCore::refuse_second(const Definition& definition, const FamilyEntry& first) const {
  throw RegistrationError(fmt::format(
      "cannot register {}: the name is taken by {}{}; register the same definition, or choose another name",
      describe(definition), describe(*first.definition), first.instruments == nullptr ? ", read by a collector" : ""));
}

void RegistryCore::claim(const Definition& definition) {
  for (std::size_t i = 0; i < escapings_in_use(); ++i) {
    for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
      const auto taken = claims_[i].find(name);
      if (taken == claims_[i].end()) continue;
      throw RegistrationError(
          fmt::format("cannot register {}: {}\"{}\" would be a sample of it, and is one of {}; choose another name",
                      describe(definition),
                      i == 0 ? "" : fmt::format("where names are escaped as {}, ", escaping_schemes[i].second), name,
                      describe(*families_.at(taken->second).definition)));
    }
  }
  try {
    for (std::size_t i = 0; i < escapings_in_use(); ++i) {
      for (const std::string& name : sample_names(definition, escaping_schemes[i].first))
        claims_[i].emplace(name, definition.name);
    }
  } catch (...) {
    unclaim(definition);
    throw;
  }
}

/// Needs no memory, so that a registration can always end.
void RegistryCore::unclaim(const Definition& definition) noexcept {
  for (auto& claims : claims_) {
    std::erase_if(claims, [&](const auto& claimed) { return claimed.second == definition.name; });
  }
}

CollectedFamily RegistryCore::make_collected(const FamilyDescription& described, const std::string& prefix) const {
  auto definition = std::make_shared<Definition>(Definition{.type = described.type,
                                                            .cells = CellKind::real,
                                                            .name = prefix + described.name,
                                                            .help = to_utf8(described.help),
                                                            .unit = described.unit,
                                                            .label_names = described.labels});
  if (described.type == MetricType::stateset) definition->label_names.push_back(definition->name);
  definition->columns.resize(definition->label_names.size(), {LabelType::text});
  check(*definition, const_labels_, name_rules_);
  return {std::move(definition), described.name, max_label_value_};
}

std::shared_ptr<RegisteredCollector> RegistryCore::add_collector(
    Collector& collector, std::string name, const std::string& prefix,
    std::unique_ptr<const std::vector<std::string>> fixed_labels, std::shared_ptr<Collector> owned, Batch* batch) {
  std::vector<CollectedFamily> families;
  for (const FamilyDescription& described : collector.describe()) families.push_back(make_collected(described, prefix));
  const auto make_family = [registry = weak_from_this(), prefix](const FamilyDescription& described) {
    if (const auto core = registry.lock()) return core->make_collected(described, prefix);
    throw CollectorError("collector: its registry no longer exists");
  };
  const auto on_end = [registry = weak_from_this()](const RegisteredCollector& ended) {
    if (const auto core = registry.lock()) core->remove_collector(ended);
  };
  auto registered = std::make_shared<RegisteredCollector>(
      collector, std::move(name), std::move(owned), std::move(families), make_family, std::move(fixed_labels), on_end);

  std::unique_lock lock(mutex_);
  collectors_.reserve(collectors_.size() + 1);
  if (errors_.size() > 2 * collectors_.size() + 16) {
    std::erase_if(errors_, [](const auto& of_name) { return of_name.second.expired(); });
  }
  auto& known_errors = errors_[registered->name()];
  auto errors = known_errors.lock();
  if (errors == nullptr) known_errors = errors = std::make_shared<CollectorErrors>();
  registered->set_errors(std::move(errors));
  std::size_t added = 0;
  try {
    for (const CollectedFamily& family : registered->families()) {
      add_to_families(family.definition, registered);
      ++added;
    }
  } catch (...) {
    remove_from_families(*registered, added);
    throw;
  }
  collectors_.push_back({registered, nearest_open(batch)});
  lock.unlock();
  try {
    for (const CollectedFamily& family : registered->families()) report_lint(*family.definition);
  } catch (...) {
    registered->end();  // the caller gets no registration that could end it
    throw;
  }
  return registered;
}

void RegistryCore::add_to_families(const std::shared_ptr<const Definition>& definition,
                                   const std::shared_ptr<RegisteredCollector>& registered) {
  const auto known = families_.find(definition->name);
  if (known == families_.end()) {
    FamilyEntry made{definition, nullptr, {registered}};
    claim(*definition);
    try {
      families_.emplace(definition->name, std::move(made));
    } catch (...) {
      unclaim(*definition);
      throw;
    }
    return;
  }
  FamilyEntry& entry = known->second;
  if (entry.instruments != nullptr || *entry.definition != *definition) refuse_second(*definition, entry);
  for (const auto& other : entry.collectors) {
    const bool is_other = registered->fixed_labels() == nullptr || other->fixed_labels() == nullptr ||
                          *registered->fixed_labels() != *other->fixed_labels();
    if (other == registered || !is_other) {
      throw RegistrationError(fmt::format("cannot register {}: a callback with the same label values reads it already",
                                          describe(*definition)));
    }
  }
  entry.collectors.push_back(registered);
}

/// Removes the collector from the first `families` of its families.
void RegistryCore::remove_from_families(const RegisteredCollector& registered, std::size_t families) {
  for (const CollectedFamily& family : std::span(registered.families()).first(families)) {
    const auto entry = families_.find(family.definition->name);
    std::erase_if(entry->second.collectors, [&](auto& other) { return other.get() == &registered; });
    if (!entry->second.collectors.empty()) continue;
    unclaim(*entry->second.definition);
    families_.erase(entry);
  }
}

void RegistryCore::remove_collector(const RegisteredCollector& registered) {
  const std::lock_guard lock(mutex_);
  if (std::erase_if(collectors_, [&](auto& collector) { return collector.registered.get() == &registered; }) == 0)
    return;
  remove_from_families(registered, registered.families().size());
}

void RegistryCore::add_info(std::list<Info> info, Batch* batch) {
  {
    const std::lock_guard lock(mutex_);
    if (Batch* const open = nearest_open(batch)) return open->infos.splice(open->infos.end(), info);
  }
  auto& [family, key] = info.front();
  if (family->series.find_or_create(key) == CellRef{}) throw std::bad_alloc();
}

void RegistryCore::close(Batch& batch) noexcept {
  const std::lock_guard lock(mutex_);
  batch.is_open = false;
  Batch* const outer = nearest_open(&batch);
  if (outer == nullptr) ++shown_batches_;
  for (auto& [name, entry] : families_) {
    const auto mark = std::ranges::find(entry.batches, &batch);
    if (mark == entry.batches.end()) continue;
    if (outer == nullptr) {
      entry.batches.clear();
      entry.shown_by = shown_batches_;
    } else if (std::ranges::find(entry.batches, outer) == entry.batches.end()) {
      *mark = outer;
    } else {
      entry.batches.erase(mark);
    }
  }
  for (CollectorEntry& collector : collectors_) {
    if (collector.batch == &batch) collector.batch = outer;
  }
  if (outer != nullptr) return outer->infos.splice(outer->infos.end(), batch.infos);
  for (auto& [family, key] : batch.infos) static_cast<void>(family->series.find_or_create(key));
  batch.infos.clear();
}

void RegistryCore::take_back(Batch& batch) noexcept {
  // The families are destroyed without the lock, because that waits for guards.
  std::map<std::string, FamilyEntry> families;
  std::list<Info> infos;
  const std::lock_guard lock(mutex_);
  batch.is_open = false;
  infos.swap(batch.infos);
  for (auto next = families_.begin(); next != families_.end();) {
    const auto entry = next++;
    if (std::erase(entry->second.batches, &batch) == 0 || !entry->second.batches.empty()) continue;
    unclaim(*entry->second.definition);
    families.insert(families_.extract(entry));
  }
  // Collectors that still exist belong to registrations that are kept elsewhere.
  std::erase_if(collectors_, [this, &batch](const CollectorEntry& collector) {
    if (collector.batch != &batch) return false;
    remove_from_families(*collector.registered, collector.registered->families().size());
    return true;
  });
}

RegistryCore::ScrapeStart RegistryCore::start_scrape(std::span<const std::string> names) const {
  const std::lock_guard lock(mutex_);
  ScrapeStart start{{}, shown_batches_, last_tag()};
  for (const auto& [registered, batch] : collectors_) {
    if (batch != nullptr) continue;
    const bool is_asked = names.empty() || registered->families().empty() ||
                          std::ranges::any_of(registered->families(), [names](const auto& family) {
                            return is_wanted(names, family.definition->name);
                          });
    if (is_asked) start.collectors.push_back(registered);
  }
  return start;
}

RegistryCore::PageFamilies RegistryCore::families_of(std::span<const std::string> names, const ScrapeStart& start,
                                                     const Collected& collected) const {
  PageFamilies page;
  std::vector<FamilyEntry>& wanted = page.families;
  const std::lock_guard lock(mutex_);
  wanted.reserve(names.empty() ? families_.size() : names.size());
  for (const auto& [name, entry] : families_) {
    const bool is_shown = entry.batches.empty() && entry.shown_by <= start.batches;
    if (is_shown && is_wanted(names, name)) wanted.push_back(entry);
  }
  add_undescribed(names, collected, page);
  return page;
}

/// Of two families of collectors that clash, the page has that of the collector that was added first.
void RegistryCore::add_undescribed(std::span<const std::string> names, const Collected& collected,
                                   PageFamilies& page) const {
  std::map<std::string, FamilyEntry> added;
  std::map<std::string, const Definition*> claims[escaping_schemes.size()];  // of those that are added

  const auto owner_of = [&](const Definition& definition) -> const Definition* {
    for (std::size_t i = 0; i < escapings_in_use(); ++i) {
      for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
        if (const auto taken = claims_[i].find(name); taken != claims_[i].end()) {
          return families_.at(taken->second).definition.get();
        }
        if (const auto taken = claims[i].find(name); taken != claims[i].end()) return taken->second;
      }
    }
    return nullptr;
  };
  const auto entry_for = [&](const CollectedFamily& family) -> FamilyEntry* {
    const Definition& definition = *family.definition;
    if (const auto known = added.find(definition.name); known != added.end()) {
      return *known->second.definition == definition ? &known->second : nullptr;
    }
    if (const auto known = families_.find(definition.name); known != families_.end()) {
      if (known->second.instruments != nullptr || *known->second.definition != definition) return nullptr;
      const auto shown = std::ranges::find(page.families, known->second.definition, &FamilyEntry::definition);
      if (shown != page.families.end()) return &*shown;
      return &added.emplace(definition.name, known->second).first->second;  // not asked for, and not shown
    }
    if (owner_of(definition) != nullptr) return nullptr;
    for (std::size_t i = 0; i < escapings_in_use(); ++i) {
      for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
        claims[i].emplace(name, &definition);
      }
    }
    return &added.emplace(definition.name, FamilyEntry{family.definition, nullptr}).first->second;
  };

  for (const auto& [registered, batch] : collectors_) {
    if (!registered->families().empty()) continue;
    if (batch == nullptr) page.undescribed.push_back(registered);
    const auto call = collected.find(registered.get());
    if (call == collected.end() || call->second.families == nullptr) continue;
    for (const CollectedFamily& family : *call->second.families) {
      if (family.series.empty()) continue;
      if (FamilyEntry* const entry = entry_for(family)) {
        entry->collectors.push_back(registered);
        continue;
      }
      page.clashes.push_back(
          {registered, fmt::format("family {} is left out: {} has its name or one of its samples'",
                                   describe(*family.definition), describe(*owner_of(*family.definition)))});
    }
  }
  if (added.empty()) return;
  for (auto& [name, entry] : added) {
    if (is_wanted(names, name)) page.families.push_back(std::move(entry));
  }
  std::ranges::sort(page.families, {},
                    [](const FamilyEntry& entry) -> const std::string& { return entry.definition->name; });
}

std::map<std::string, RegistryCore::NamedErrors> RegistryCore::collector_errors() const {
  std::map<std::string, NamedErrors> result;
  const std::lock_guard lock(mutex_);
  for (const auto& [registered, batch] : collectors_) {
    if (batch != nullptr || registered->role() == RegisteredCollector::Role::status) continue;
    NamedErrors& named = result[registered->name()];
    named.errors = registered->errors();
    named.has_usual = named.has_usual || registered->role() == RegisteredCollector::Role::usual;
  }
  return result;
}

void RegistryCore::reset() const {
  std::vector<std::shared_ptr<FamilyCore>> families;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : families_) {
      if (entry.instruments != nullptr && entry.definition->type != MetricType::info) {
        families.push_back(entry.instruments);
      }
    }
  }
  for (const auto& family : families) family->series.reset();
}

std::vector<RegistryCore::FamilyLosses> RegistryCore::losses() const {
  std::vector<FamilyLosses> result;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : families_) {
    if (entry.instruments == nullptr || !entry.batches.empty()) continue;
    const SeriesTable& series = entry.instruments->series;
    FamilyLosses family{.family = name,
                        .overflows = series.overflows(),
                        .evictions = series.evictions(),
                        .truncations = series.truncations()};
    if (family.overflows > 0 || family.evictions > 0 || family.truncations > 0) result.push_back(std::move(family));
  }
  return result;
}

}  // namespace quipu::detail

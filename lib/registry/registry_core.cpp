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

RegistryCore::FamilyKey key_of(const Definition& definition) {
  RegistryCore::FamilyKey key{definition.name, {}};
  for (const auto& [name, value] : definition.const_labels) key.const_values.push_back(value);
  return key;
}

/// Whether it is the key of the definition. Needs no memory.
bool is_at(const RegistryCore::FamilyKey& key, const Definition& definition) noexcept {
  return key.name == definition.name &&
         std::ranges::equal(key.const_values, definition.const_labels, {}, {}, &OwnedLabels::value_type::second);
}

}  // namespace

bool is_wanted(std::span<const std::string> names, const std::string& name) noexcept {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

bool is_before(const Definition& a, const Definition& b) noexcept {
  constexpr auto value = &OwnedLabels::value_type::second;
  const int names = a.name.compare(b.name);
  return names != 0 ? names < 0
                    : std::ranges::lexicographical_compare(a.const_labels, b.const_labels, {}, value, value);
}

RegistryCore::RegistryCore(OwnedLabels const_labels, NameRules rules, const RegistryOptions& options)
    : const_labels_(std::move(const_labels)),
      name_rules_(rules),
      formats_{.open_metrics_2 = options.open_metrics_2, .created_lines = options.created_lines},
      max_label_value_(options.max_label_value_size),
      series_budget_(std::make_shared<SeriesBudget>(options.max_series)),
      on_lint_(options.on_lint),
      on_error_(options.on_error),
      exemplars_(options.exemplars) {}

void RegistryCore::check_const_labels(const OwnedLabels& labels) const {
  check(labels, name_rules_);
  check_sizes(labels, max_label_value_);
}

std::shared_ptr<FamilyCore> RegistryCore::add_family(Definition definition, std::size_t closed_size,
                                                     std::size_t max_series, Batch* batch, bool is_own) {
  check(definition, name_rules_);
  check_sizes(definition.const_labels, max_label_value_);
  if (max_series == 0) {
    throw RegistrationError(
        fmt::format("cannot register {}: max_series is 0, and must be at least 1", detail::describe(definition)));
  }
  std::unique_lock lock(mutex_);
  const Batch* const open = nearest_open(batch);
  const FamilyEntry* const first = first_part(families_, definition.name);
  std::string shown_help;
  if (first != nullptr) {
    check_second(definition, false, *first);
    shown_help = first->definition->help;
  }
  if (const auto known = families_.find(key_of(definition)); known != families_.end()) {
    FamilyEntry& entry = known->second;
    if (open == nullptr) {
      entry.batches.clear();
    } else if (!entry.batches.empty() && std::ranges::find(entry.batches, open) == entry.batches.end()) {
      entry.batches.push_back(open);
    }
    const auto family = entry.instruments->core;
    lock.unlock();
    report_help(definition, shown_help);
    return family;
  }
  SeriesLimits limits{.series = max_series, .label_value = max_label_value_, .budget = series_budget_};
  if (is_own) limits.budget = std::make_shared<SeriesBudget>(max_series);
  const std::string own_help = definition.help;
  if (first != nullptr) definition.help = shown_help;
  auto family = std::make_shared<FamilyCore>(std::move(definition), closed_size, std::move(limits));
  family->series.set_exemplar_source(exemplars_.function());
  const Definition& made = family->definition;
  FamilyEntry entry{std::shared_ptr<const Definition>(family, &made), std::make_shared<Instruments>(family)};
  if (open != nullptr) entry.batches.push_back(open);
  insert(std::move(entry));
  lock.unlock();
  if (first == nullptr) {
    report_lint(made);
  } else if (on_lint_) {
    Definition second = made;
    second.help = own_help;
    report_help(second, shown_help);
  }
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

void RegistryCore::report_help(const Definition& definition, const std::string& shown) const {
  if (!on_lint_ || definition.help == shown) return;
  on_lint_(definition.name, fmt::format("help text \"{}\" is not shown, because \"{}\" was there first; write the same",
                                        definition.help, shown));
}

/// The first part of the family, or null.
const RegistryCore::FamilyEntry* RegistryCore::first_part(const Families& families, std::string_view name) {
  const auto first = families.lower_bound(name);
  return first == families.end() || first->first.name != name ? nullptr : &first->second;
}

/// Throws RegistrationError if the definition cannot be one of the family whose first part this is.
void RegistryCore::check_second(const Definition& definition, bool is_collected, const FamilyEntry& first) const {
  const bool is_first_collected = first.instruments == nullptr;
  if (is_collected == is_first_collected && is_same_family(definition, *first.definition)) return;
  throw RegistrationError(
      fmt::format("cannot register {}: the name is taken by {}{}; register the same definition, or choose another name",
                  detail::describe(definition), detail::describe(*first.definition),
                  is_first_collected ? ", read by a collector" : ""));
}

/// Adds a part, which is not there yet.
void RegistryCore::insert(FamilyEntry made) {
  const std::shared_ptr<const Definition> definition = made.definition;
  const bool is_first = first_part(families_, definition->name) == nullptr;
  if (is_first) claim(*definition);
  try {
    families_.emplace(key_of(*definition), std::move(made));
    ++version_;
  } catch (...) {
    if (is_first) unclaim(definition->name);
    throw;
  }
}

/// Takes a part out. Its series may have to be destroyed without the lock, because that waits for guards.
RegistryCore::Families::node_type RegistryCore::extract(Families::iterator part) noexcept {
  auto taken = families_.extract(part);
  ++version_;
  const std::string& name = taken.key().name;
  if (first_part(families_, name) == nullptr) unclaim(name);
  return taken;
}

void RegistryCore::claim(const Definition& definition) {
  for (std::size_t i = 0; i < escapings_in_use(); ++i) {
    for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
      const auto taken = claims_[i].find(name);
      if (taken == claims_[i].end()) continue;
      throw RegistrationError(
          fmt::format("cannot register {}: {}\"{}\" would be a sample of it, and is one of {}; choose another name",
                      detail::describe(definition),
                      i == 0 ? "" : fmt::format("where names are escaped as {}, ", escaping_schemes[i].second), name,
                      detail::describe(*first_part(families_, taken->second)->definition)));
    }
  }
  try {
    for (std::size_t i = 0; i < escapings_in_use(); ++i) {
      for (const std::string& name : sample_names(definition, escaping_schemes[i].first))
        claims_[i].emplace(name, definition.name);
    }
  } catch (...) {
    unclaim(definition.name);
    throw;
  }
}

/// Needs no memory, so that a registration can always end.
void RegistryCore::unclaim(std::string_view family) noexcept {
  for (auto& claims : claims_) {
    std::erase_if(claims, [&](const auto& claimed) { return claimed.second == family; });
  }
}

CollectedFamily RegistryCore::make_collected(const FamilyDescription& described, const std::string& prefix,
                                             const OwnedLabels& const_labels) const {
  auto definition = std::make_shared<Definition>(Definition{.type = described.type,
                                                            .cells = CellKind::real,
                                                            .name = prefix + described.name,
                                                            .help = to_utf8(described.help),
                                                            .unit = described.unit,
                                                            .const_labels = const_labels,
                                                            .label_names = described.labels});
  if (described.type == MetricType::stateset) definition->label_names.push_back(definition->name);
  definition->columns.resize(definition->label_names.size(), {LabelType::text});
  check(*definition, name_rules_);
  check_sizes(definition->const_labels, max_label_value_);
  return {std::move(definition), described.name, max_label_value_};
}

std::shared_ptr<RegisteredCollector> RegistryCore::add_collector(
    Collector& collector, std::string name, const std::string& prefix, const OwnedLabels& const_labels,
    std::unique_ptr<const std::vector<std::string>> fixed_labels, std::shared_ptr<Collector> owned, Batch* batch) {
  std::vector<CollectedFamily> families;
  for (const FamilyDescription& described : collector.describe()) {
    families.push_back(make_collected(described, prefix, const_labels));
  }
  const auto make_family = [registry = weak_from_this(), prefix, const_labels](const FamilyDescription& described) {
    if (const auto core = registry.lock()) return core->make_collected(described, prefix, const_labels);
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
  std::vector<std::shared_ptr<const Definition>> first;  // of each family: null if there was none before
  std::size_t added = 0;
  try {
    for (const CollectedFamily& family : registered->families()) {
      const FamilyEntry* const known = first_part(families_, family.definition->name);
      first.push_back(known == nullptr ? nullptr : known->definition);
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
    for (std::size_t i = 0; i < first.size(); ++i) {
      const Definition& definition = *registered->families()[i].definition;
      if (first[i] == nullptr) {
        report_lint(definition);
      } else {
        report_help(definition, first[i]->help);
      }
    }
  } catch (...) {
    registered->end();  // the caller gets no registration that could end it
    throw;
  }
  return registered;
}

void RegistryCore::add_to_families(const std::shared_ptr<const Definition>& definition,
                                   const std::shared_ptr<RegisteredCollector>& registered) {
  const FamilyEntry* const first = first_part(families_, definition->name);
  if (first != nullptr) check_second(*definition, true, *first);
  const auto known = families_.find(key_of(*definition));
  if (known == families_.end()) return insert({definition, nullptr, {registered}});
  FamilyEntry& entry = known->second;
  for (const auto& other : entry.collectors) {
    const bool is_other = registered->fixed_labels() == nullptr || other->fixed_labels() == nullptr ||
                          *registered->fixed_labels() != *other->fixed_labels();
    if (other == registered || !is_other) {
      throw RegistrationError(fmt::format("cannot register {}: a callback with the same label values reads it already",
                                          detail::describe(*definition)));
    }
  }
  entry.collectors.push_back(registered);
}

/// Removes the collector from the first `families` of its families.
void RegistryCore::remove_from_families(const RegisteredCollector& registered, std::size_t families) {
  for (const CollectedFamily& family : std::span(registered.families()).first(families)) {
    auto entry = families_.lower_bound(std::string_view(family.definition->name));
    while (!is_at(entry->first, *family.definition)) ++entry;
    std::erase_if(entry->second.collectors, [&](auto& other) { return other.get() == &registered; });
    if (entry->second.collectors.empty()) static_cast<void>(extract(entry));
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
  if (family->series.find_or_create(key) == CellRef{} && !family->series.has_ended()) throw std::bad_alloc();
}

/// Removes the parts of instruments that are meant.
template <class Condition>
bool RegistryCore::remove_if(Condition is_meant) {
  Families removed;  // destroyed without the lock, because the end of series waits for guards
  const std::lock_guard lock(mutex_);
  for (auto next = families_.begin(); next != families_.end();) {
    const auto part = next++;
    const FamilyEntry& entry = part->second;
    if (entry.instruments == nullptr || !is_meant(entry)) continue;
    entry.instruments->is_removed = true;
    removed.insert(extract(part));
  }
  return !removed.empty();
}

bool RegistryCore::remove(const FamilyCore& family) {
  return remove_if([&](const FamilyEntry& entry) { return entry.instruments->core.get() == &family; });
}

bool RegistryCore::remove(CellRef series) {
  if (series == CellRef{}) return false;
  return remove_if([&](const FamilyEntry& entry) {
    return entry.definition->key_columns().empty() && entry.instruments->core->series.the_only() == series;
  });
}

bool RegistryCore::remove(const std::string& name, const OwnedLabels& const_labels) {
  return remove_if([&](const FamilyEntry& entry) {
    const OwnedLabels& all = entry.definition->const_labels;
    return entry.definition->name == name && all.size() >= const_labels.size() &&
           std::equal(const_labels.begin(), const_labels.end(), all.begin());
  });
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
  Families families;
  std::list<Info> infos;
  const std::lock_guard lock(mutex_);
  batch.is_open = false;
  infos.swap(batch.infos);
  for (auto next = families_.begin(); next != families_.end();) {
    const auto entry = next++;
    if (std::erase(entry->second.batches, &batch) == 0 || !entry->second.batches.empty()) continue;
    families.insert(extract(entry));
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
  for (const auto& [key, entry] : families_) {
    const bool is_shown = entry.batches.empty() && entry.shown_by <= start.batches;
    if (is_shown && is_wanted(names, key.name)) wanted.push_back(entry);
  }
  page.version = version_;
  add_undescribed(names, collected, page);
  return page;
}

RegistryCore::DefinedParts RegistryCore::definitions() const {
  std::vector<DefinedPart> parts;
  const std::lock_guard lock(mutex_);
  parts.reserve(families_.size());
  for (const auto& [key, entry] : families_) {
    const bool is_collected = entry.instruments == nullptr;
    const bool is_own = is_collected && entry.collectors.front()->subject() != RegisteredCollector::Subject::program;
    parts.push_back({entry.definition, is_collected, is_own});
  }
  return {std::move(parts), version_};
}

/// Of two families of collectors that clash, the page has that of the collector that was added first.
void RegistryCore::add_undescribed(std::span<const std::string> names, const Collected& collected,
                                   PageFamilies& page) const {
  Families added;
  std::map<std::string, const Definition*> claims[escaping_schemes.size()];  // of those that are added

  const auto owner_of = [&](const Definition& definition) -> const Definition* {
    for (std::size_t i = 0; i < escapings_in_use(); ++i) {
      for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
        if (const auto taken = claims_[i].find(name); taken != claims_[i].end()) {
          return first_part(families_, taken->second)->definition.get();
        }
        if (const auto taken = claims[i].find(name); taken != claims[i].end()) return taken->second;
      }
    }
    return nullptr;
  };
  const auto entry_for = [&](const CollectedFamily& family) -> FamilyEntry* {
    const Definition& definition = *family.definition;
    const FamilyEntry* first = first_part(families_, definition.name);
    if (first == nullptr) first = first_part(added, definition.name);
    if (first == nullptr) {
      if (owner_of(definition) != nullptr) return nullptr;
      for (std::size_t i = 0; i < escapings_in_use(); ++i) {
        for (const std::string& name : sample_names(definition, escaping_schemes[i].first)) {
          claims[i].emplace(name, &definition);
        }
      }
    } else if (first->instruments != nullptr || !is_same_family(definition, *first->definition)) {
      return nullptr;
    }
    FamilyKey key = key_of(definition);
    if (const auto known = families_.find(key); known != families_.end()) {
      const auto shown = std::ranges::find(page.families, known->second.definition, &FamilyEntry::definition);
      if (shown != page.families.end()) return &*shown;
      return &added.emplace(std::move(key), known->second).first->second;  // not asked for, and not shown
    }
    FamilyEntry made{.definition = family.definition, .instruments = nullptr, .is_undescribed = true};
    if (first != nullptr && first->definition->help != definition.help) {
      auto with_help = std::make_shared<Definition>(definition);
      with_help->help = first->definition->help;
      made.definition = std::move(with_help);
    }
    return &added.emplace(std::move(key), std::move(made)).first->second;
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
      page.clashes.push_back({registered, fmt::format("family {} is left out: {} has its name or one of its samples'",
                                                      detail::describe(*family.definition),
                                                      detail::describe(*owner_of(*family.definition)))});
    }
  }
  if (added.empty()) return;
  for (auto& [key, entry] : added) {
    if (entry.is_undescribed || is_wanted(names, key.name)) page.families.push_back(std::move(entry));
  }
  std::ranges::sort(page.families, [](const FamilyEntry& first, const FamilyEntry& second) {
    return is_before(*first.definition, *second.definition);
  });
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
    for (const auto& [key, entry] : families_) {
      if (entry.instruments != nullptr && entry.definition->type != MetricType::info) {
        families.push_back(entry.instruments->core);
      }
    }
  }
  for (const auto& family : families) family->series.reset();
}

std::vector<RegistryCore::FamilyLosses> RegistryCore::losses() const {
  std::vector<FamilyLosses> result;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : families_) {
    if (entry.instruments == nullptr || !entry.batches.empty()) continue;
    const SeriesTable& series = entry.instruments->core->series;
    const FamilyLosses part{.family = key.name,
                            .overflows = series.overflows(),
                            .evictions = series.evictions(),
                            .truncations = series.truncations()};
    if (part.overflows == 0 && part.evictions == 0 && part.truncations == 0) continue;
    if (result.empty() || result.back().family != key.name) result.push_back({key.name, 0, 0, 0});
    result.back().overflows += part.overflows;
    result.back().evictions += part.evictions;
    result.back().truncations += part.truncations;
  }
  return result;
}

std::vector<DescribedFamily> RegistryCore::describe() const {
  std::vector<DescribedFamily> result;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : families_) {
    if (!entry.batches.empty()) continue;
    const Definition& definition = *entry.definition;
    if (result.empty() || result.back().name != key.name) {
      DescribedFamily& family = result.emplace_back(
          DescribedFamily{.name = key.name, .help = definition.help, .unit = definition.unit, .type = definition.type});
      for (const auto& [name, value] : definition.const_labels) family.const_labels.push_back({name, {}});
      for (std::size_t i = 0; i < definition.label_names.size(); ++i) {
        const auto names = definition.columns[i].names;
        family.labels.push_back({definition.label_names[i], {names.begin(), names.end()}});
      }
    }
    for (std::size_t i = 0; i < definition.const_labels.size(); ++i) {
      std::vector<std::string>& values = result.back().const_labels[i].values;
      const std::string& value = definition.const_labels[i].second;
      if (std::ranges::find(values, value) == values.end()) values.push_back(value);
    }
  }
  return result;
}

}  // namespace quipu::detail

#include "registry/scrape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "registry/joined_registries.hpp"

namespace quipu::detail {
namespace {

/// Puts the const labels of a part, and the names of its other labels.
void begin_labels(const Definition& definition, std::vector<Label>& labels) {
  labels.clear();
  for (const auto& [name, value] : definition.const_labels) labels.push_back({name, value});
  for (const std::string& name : definition.label_names) labels.push_back({name, {}});
}

/// Tells the visitor that the series of a part follow.
void begin_part(const Definition& definition, Shown& shown, Visitor& visitor) {
  const FamilyView view{.name = definition.name,
                        .help = shown.help,
                        .unit = definition.unit,
                        .type = definition.type,
                        .const_labels = Labels(shown.labels).first(definition.const_labels.size()),
                        .label_names = definition.label_names};
  if (shown.family == view.name) return visitor.part(view);
  shown.family = view.name;
  visitor.family(view);
}

/// The time when a series was made. Not for gauges.
WallTime created(const SeriesTable::Walk::Item& series) noexcept {
  return WallTime(std::chrono::seconds(series.state));
}

}  // namespace

InstrumentWalk::InstrumentWalk(const FamilyCore& family, Shown& shown, std::uint32_t last_tag,
                               std::chrono::nanoseconds& patience)
    : family_(family),
      shown_(shown),
      const_labels_(family.definition.const_labels.size()),
      patience_(patience),
      reader_(family.definition.key_columns()),
      walk_(family.series, family.definition.type == MetricType::info ? std::optional(last_tag) : std::nullopt) {
  begin_labels(family.definition, labels_);
}

bool InstrumentWalk::show_some(Visitor& visitor) {
  if (batch_.empty() && !walk_.next_in_use(batch_)) return false;
  if (batch_.empty()) return true;
  const auto of_batch = [&](std::size_t i) { return std::pair(batch_[i].series.ref, counter_place); };
  switch (family_.definition.cells) {
    case CellKind::whole: {
      if (family_.definition.type == MetricType::info) {
        show_batch(visitor, [](std::size_t) { return Number(std::uint64_t{1}); });
        break;
      }
      read_exemplars(batch_.size(), of_batch);
      constexpr std::size_t most = SeriesTable::Walk::max_batch;
      std::array<CellRef, most> refs;
      std::array<std::uint64_t, most> values;
      for (std::size_t i = 0; i < batch_.size(); ++i) refs[i] = batch_[i].series.ref;
      read_whole(std::span(refs).first(batch_.size()), values.data());
      show_batch(visitor, [&](std::size_t i) { return Number(values[i]); });
      break;
    }
    case CellKind::real:
      read_exemplars(batch_.size(), of_batch);
      show_batch(visitor, [&](std::size_t i) { return Number(read_real(batch_[i].series.ref)); });
      break;
    case CellKind::gauge:
      show_batch(visitor, [&](std::size_t i) { return Number(read_gauge(batch_[i].series.ref)); });
      break;
    case CellKind::states: {
      const Item& next = batch_.front();
      batch_ = batch_.subspan(1);
      const std::uint64_t states = read_states(next.series.ref);
      if (!is_shown(next, visitor)) break;
      const auto names = family_.definition.columns.back().names;
      for (std::size_t i = 0; i < names.size(); ++i) {
        labels_.back().value = names[i];
        // Escaping may be necessary: the series does not know the names of its states.
        visitor.sample({.labels = labels_, .value = Number((states >> i) & 1)});
      }
      break;
    }
    case CellKind::histogram: {
      const Item& next = batch_.front();
      batch_ = batch_.subspan(1);
      read_exemplars(family_.series.layout()->buckets(),
                     [&](std::size_t i) { return std::pair(next.series.ref, bucket_place(i)); });
      read_histogram(next.series.ref, *family_.series.layout(), snapshot_, patience_);
      if (!is_shown(next, visitor)) break;
      visitor.histogram({.labels = labels_,
                         .bounds = family_.definition.bounds,
                         .counts = snapshot_.counts,
                         .sum = snapshot_.sum,
                         .needs_no_escaping = next.needs_no_escaping,
                         .created = created(next),
                         .exemplars = exemplars_});
      break;
    }
    case CellKind::native: {
      const Item& next = batch_.front();
      batch_ = batch_.subspan(1);
      read_exemplars(family_.series.layout()->buckets(),
                     [&](std::size_t i) { return std::pair(next.series.ref, bucket_place(i)); });
      read_native(next.series.ref, native_, patience_);
      if (!is_shown(next, visitor)) break;
      const NativeBuckets buckets = native_.buckets();
      visitor.histogram({.labels = labels_,
                         .bounds = family_.definition.bounds,
                         .counts = native_.counts,
                         .sum = native_.sum,
                         .needs_no_escaping = next.needs_no_escaping,
                         .created = native_.created,
                         .exemplars = exemplars_,
                         .native = &buckets});
      break;
    }
  }
  return true;
}

/// Shows the batch, with the value that read(i) returns for series i.
template <class Read>
void InstrumentWalk::show_batch(Visitor& visitor, Read read) {
  const bool is_counter = family_.definition.type == MetricType::counter;
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    Sample sample{.labels = labels_, .value = read(i), .needs_no_escaping = batch_[i].needs_no_escaping};
    if (is_counter) sample.created = created(batch_[i]);
    if (!exemplars_.empty()) sample.exemplar = exemplars_[i];
    if (is_shown(batch_[i], visitor)) visitor.sample(sample);
  }
  batch_ = {};
}

// Exemplars are read before the values. A recording is counted before its exemplar is kept, so the values include it.

/// Reads the exemplars of `count` counters or buckets. at(i) is the series and place of number i.
template <class At>
void InstrumentWalk::read_exemplars(std::size_t count, At at) {
  exemplars_.clear();
  if (!are_there_exemplars()) return;
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (found == exemplar_copies_.size()) exemplar_copies_.emplace_back();
    const auto [series, place] = at(i);
    if (!read_exemplar(series, place, exemplar_copies_[found])) continue;
    exemplars_.resize(count);
    exemplars_[i] = &exemplar_copies_[found++].view;
  }
}

/// Prepares everything to show a series whose value was just read. Returns false if the series was removed; then the
/// value is invalid.
inline bool InstrumentWalk::is_shown(const Item& series, Visitor& visitor) {
  if (!series.series.ref.is_live()) return false;
  Label* labels = labels_.data() + const_labels_;
  reader_.read(series.key, [labels](std::size_t i, std::string_view text) { labels[i].value = text; });
  if (shown_.known != nullptr) [[unlikely]] {
    // The last label of a stateset is that of its states, and tells no series apart.
    if (!shown_.known->add(Labels(labels_).subspan(const_labels_, family_.definition.key_columns().size())))
      return false;
  }
  if (!is_begun_) [[unlikely]] {
    is_begun_ = true;
    begin_part(family_.definition, shown_, visitor);
  }
  return true;
}

CollectedWalk::CollectedWalk(const RegistryCore::FamilyEntry& part, const Collected& collected, Shown& shown,
                             CollectorErrors& errors)
    : definition_(*part.definition), shown_(shown) {
  const auto by_labels = [](const CollectedSeries* a, const CollectedSeries* b) {
    return a->label_values < b->label_values;
  };
  std::set<const CollectedSeries*, decltype(by_labels)> known(by_labels);
  for (const auto& registered : part.collectors) {
    const auto found = collected.find(registered.get());
    if (found == collected.end()) continue;
    for (const CollectedFamily& family : *found->second) {
      if (family.definition->name != definition_.name) continue;
      for (const CollectedSeries& series : family.series) {
        if (known.insert(&series).second) {
          series_.push_back(&series);
        } else {
          errors.duplicates.fetch_add(1, std::memory_order_relaxed);
        }
      }
    }
  }
  begin_labels(definition_, shown_.labels);
  if (shown_.known == nullptr) return;
  const Labels own = Labels(shown_.labels).subspan(definition_.const_labels.size());
  std::erase_if(series_, [&](const CollectedSeries* series) {
    put_values(*series);
    return !shown_.known->add(own);
  });
}

bool CollectedWalk::show_some(Visitor& visitor) {
  if (next_ == series_.size()) return false;
  if (next_ == 0) begin_part(definition_, shown_, visitor);
  const std::size_t end = std::min(series_.size(), next_ + SeriesTable::Walk::max_batch);
  for (; next_ < end; ++next_) {
    const CollectedSeries& series = *series_[next_];
    put_values(series);
    visitor.sample({shown_.labels, series.value});
  }
  return true;
}

void CollectedWalk::put_values(const CollectedSeries& series) noexcept {
  Label* labels = shown_.labels.data() + definition_.const_labels.size();
  for (std::size_t i = 0; i < series.label_values.size(); ++i) labels[i].value = series.label_values[i];
}

bool KnownSeries::add(Labels own_labels) {
  std::string key;
  for (const Label& label : own_labels) key.append(std::to_string(label.value.size())).append(":").append(label.value);
  if (keys_.insert(std::move(key)).second) return true;
  on_repetition_(own_labels);
  return false;
}

Scrape::Scrape(std::shared_ptr<RegistryCore> registry, const ScrapeRequest& request) {
  sources_.push_back({registry, registry->start_scrape(request.families)});
  collected_ = collect_from(request, registry->collector_threads());
  add_parts(sources_.front(), registry->families_of(request.families, sources_.front().start).parts);
  collect_status(sources_.front());
}

Scrape::Scrape(std::shared_ptr<JoinedRegistries> registries, const ScrapeRequest& request)
    : joined_(std::move(registries)) {
  for (const auto& registry : joined_->registries()) {
    sources_.push_back({registry, registry->start_scrape(request.families)});
  }
  collected_ = collect_from(request, joined_->collector_threads());
  std::vector<std::uint64_t> versions;
  for (const Source& source : sources_) {
    auto [parts, version] = source.registry->families_of(request.families, source.start);
    add_parts(source, std::move(parts));
    versions.push_back(version);
  }
  for (const Source& source : sources_) collect_status(source);
  leave_out_clashes(versions);
  join_parts();
}

Collected Scrape::collect_from(const ScrapeRequest& request, Executor& threads) {
  std::vector<ScrapedCollector> collectors;
  for (const Source& source : sources_) {
    for (const auto& collector : source.start.collectors) collectors.push_back({collector, &source.registry->errors()});
  }
  return collect(collectors, request.deadline, request.stop, threads);
}

void Scrape::add_parts(const Source& source, std::vector<RegistryCore::FamilyEntry> entries) {
  parts_.reserve(parts_.size() + entries.size());
  for (RegistryCore::FamilyEntry& entry : entries) {
    const std::string_view help = entry.definition->help;
    parts_.push_back({std::move(entry), &source, help});
  }
}

/// Makes the series of `quipu_collector_up`, if the page has it. They are of this page: what it has is certain by now.
/// A collector that was removed meanwhile is not on it, and so has no status.
void Scrape::collect_status(const Source& source) {
  std::set<const RegisteredCollector*> present;
  const RegisteredCollector* status = nullptr;
  for (const Part& part : parts_) {
    if (part.source != &source) continue;
    for (const auto& collector : part.entry.collectors) {
      present.insert(collector.get());
      if (collector->role() == RegisteredCollector::Role::status) status = collector.get();
    }
  }
  if (status == nullptr) return;
  std::map<std::string_view, bool> is_up;
  for (const auto& collector : source.start.collectors) {
    if (collector->role() != RegisteredCollector::Role::usual || !present.contains(collector.get())) continue;
    const auto known = is_up.emplace(collector->name(), true).first;
    known->second = known->second && collected_.contains(collector.get());
  }
  auto families = status->families();
  for (const auto& [name, value] : is_up) {
    families.front().series.push_back({{std::string(name)}, Number(std::uint64_t{value ? 1U : 0U})});
  }
  collected_.emplace(status, std::make_shared<const std::vector<CollectedFamily>>(std::move(families)));
}

/// Removes the parts that the registries' plan does not show.
void Scrape::leave_out_clashes(std::span<const std::uint64_t> versions) {
  const auto plan = joined_->plan(versions);
  for (const JoinedRegistries::Clash& clash : plan->clashes) {
    sources_[clash.registry].registry->errors().clashing_families.fetch_add(1, std::memory_order_relaxed);
  }
  std::erase_if(parts_, [&](const Part& part) { return !plan->shown.contains(part.entry.definition.get()); });
}

/// Brings the parts into the order of the page, and joins those that the library has of its own.
void Scrape::join_parts() {
  std::map<std::string_view, std::string_view> helps;
  for (const Part& part : parts_) helps.emplace(part.entry.definition->name, part.help);
  for (Part& part : parts_) part.help = helps.at(part.entry.definition->name);
  const auto is_before = [](const Part& a, const Part& b) {
    const Definition& first = *a.entry.definition;
    const Definition& second = *b.entry.definition;
    const int names = first.name.compare(second.name);
    constexpr auto value = &OwnedLabels::value_type::second;
    return names != 0 ? names < 0
                      : std::ranges::lexicographical_compare(first.const_labels, second.const_labels, {}, value, value);
  };
  std::ranges::stable_sort(parts_, is_before);
  const auto is_own = [](const Part& part) {
    return !part.entry.collectors.empty() &&
           part.entry.collectors.front()->subject() != RegisteredCollector::Subject::program;
  };
  std::vector<Part> joined;
  joined.reserve(parts_.size());
  for (Part& part : parts_) {
    const bool repeats = !joined.empty() && !is_before(joined.back(), part);
    if (repeats && is_own(joined.back()) && is_own(part)) {
      join_own(joined.back(), part);
      continue;
    }
    part.repeats_const_labels = repeats;
    joined.push_back(std::move(part));
  }
  parts_ = std::move(joined);
}

/// Of what the library shows of the process, the first registry's is shown. What it shows of registries is added up; a
/// collector is up if those of its name are in all registries.
void Scrape::join_own(Part& first, const Part& other) {
  const RegisteredCollector& collector = *first.entry.collectors.front();
  if (collector.subject() == RegisteredCollector::Subject::process) return;
  const auto to = collected_.find(&collector);
  const auto from = collected_.find(other.entry.collectors.front().get());
  if (from == collected_.end()) return;
  if (to == collected_.end()) {
    first.entry.collectors = other.entry.collectors;
    return;
  }
  const auto of_family = [&first](auto& families) {
    return std::ranges::find(families, first.entry.definition->name,
                             [](const CollectedFamily& family) { return family.definition->name; });
  };
  auto joined = std::make_shared<std::vector<CollectedFamily>>(*to->second);
  const auto family = of_family(*joined);
  const auto added = of_family(*from->second);
  if (added == from->second->end()) return;
  const bool is_status = collector.role() == RegisteredCollector::Role::status;
  for (const CollectedSeries& series : added->series) {
    const auto same = std::ranges::find(family->series, series.label_values, &CollectedSeries::label_values);
    if (same == family->series.end()) {
      family->series.push_back(series);
    } else if (is_status) {
      same->value = std::min(same->value.whole(), series.value.whole());
    } else {
      same->value = same->value.whole() + series.value.whole();
    }
  }
  to->second = std::move(joined);
}

/// A series of the current part was shown before, for another registry.
void Scrape::report_repetition(Labels labels) {
  const Part& part = parts_[next_part_ - 1];
  part.source->registry->errors().clashing_series.fetch_add(1, std::memory_order_relaxed);
  std::string text;
  for (const Label& label : labels)
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", label.name, label.value);
  joined_->report(part.entry.definition->name,
                  fmt::format("two registries of a page have the series {{{}}} of {}; give them const labels of other "
                              "values, or leave it out of one",
                              text, describe(*part.entry.definition)));
}

void Scrape::begin(const Part& part) {
  if (!part.repeats_const_labels) {
    known_.reset();
    // The first of several parts with the same const labels.
    if (next_part_ < parts_.size() && parts_[next_part_].repeats_const_labels) {
      known_.emplace([this](Labels labels) { report_repetition(labels); });
    }
  }
  shown_.help = part.help;
  shown_.known = known_ ? &*known_ : nullptr;
  if (part.entry.instruments != nullptr) {
    instruments_.emplace(*part.entry.instruments->core, shown_, part.source->start.last_tag, patience_);
  } else {
    collection_.emplace(part.entry, collected_, shown_, part.source->registry->errors());
  }
}

bool Scrape::show_some(Visitor& visitor) {
  for (;;) {
    if (instruments_ && instruments_->show_some(visitor)) return true;
    if (collection_ && collection_->show_some(visitor)) return true;
    instruments_.reset();
    collection_.reset();
    if (next_part_ == parts_.size()) return false;
    const Part& part = parts_[next_part_++];
    begin(part);
  }
}

}  // namespace quipu::detail

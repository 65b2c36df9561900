#include "registry/scrape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "registry/joined_registries.hpp"
#include "registry/self_collector.hpp"

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

Number sum(Number a, Number b) noexcept {
  if (a.is_whole() && b.is_whole()) return a.whole() + b.whole();
  return a.real() + b.real();
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
    case CellKind::summary: {
      const Item& next = batch_.front();
      batch_ = batch_.subspan(1);
      read_summary(next.series.ref, summary_, patience_, std::chrono::steady_clock::now());
      if (!is_shown(next, visitor)) break;
      visitor.summary({.labels = labels_,
                       .quantiles = summary_.quantiles,
                       .count = summary_.count,
                       .sum = summary_.sum,
                       .needs_no_escaping = next.needs_no_escaping,
                       .created = summary_.created});
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
                             const OnCollectorError& on_error)
    : definition_(*part.definition), shown_(shown) {
  const auto by_labels = [](const CollectedSeries* a, const CollectedSeries* b) {
    return a->label_values < b->label_values;
  };
  std::set<const CollectedSeries*, decltype(by_labels)> known(by_labels);
  for (const auto& registered : part.collectors) {
    const auto found = collected.find(registered.get());
    if (found == collected.end() || found->second.families == nullptr) continue;
    std::uint64_t duplicates = 0;
    for (const CollectedFamily& family : *found->second.families) {
      if (family.definition->name != definition_.name) continue;
      for (const CollectedSeries& series : family.series) {
        if (known.insert(&series).second) {
          series_.push_back(&series);
        } else {
          ++duplicates;
        }
      }
    }
    if (duplicates > 0) {
      report(*registered, CollectorFault::duplicate,
             fmt::format("family {} has series that are on the page already: {} of them were left out",
                         definition_.name, duplicates),
             on_error, duplicates);
    }
  }
  begin_labels(definition_, shown_.labels);
  if (shown_.known == nullptr) return;
  // As in InstrumentWalk, the label of the states tells no series of a stateset apart. They come one after another.
  const bool is_stateset = definition_.type == MetricType::stateset;
  const std::size_t own_size = definition_.label_names.size() - (is_stateset ? 1 : 0);
  const Labels own = Labels(shown_.labels).subspan(definition_.const_labels.size(), own_size);
  const CollectedSeries* before = nullptr;
  bool is_new = true;
  std::erase_if(series_, [&](const CollectedSeries* series) {
    const auto values = std::span(series->label_values).first(own_size);
    const bool is_next_state =
        is_stateset && before != nullptr && std::ranges::equal(std::span(before->label_values).first(own_size), values);
    before = series;
    if (is_next_state) return !is_new;
    put_values(*series);
    is_new = shown_.known->add(own);
    return !is_new;
  });
}

bool CollectedWalk::show_some(Visitor& visitor) {
  if (next_ == series_.size()) return false;
  if (next_ == 0) begin_part(definition_, shown_, visitor);
  const std::size_t end = std::min(series_.size(), next_ + SeriesTable::Walk::max_batch);
  for (; next_ < end; ++next_) {
    const CollectedSeries& series = *series_[next_];
    put_values(series);
    show(series, visitor);
  }
  return true;
}

void CollectedWalk::put_values(const CollectedSeries& series) noexcept {
  Label* labels = shown_.labels.data() + definition_.const_labels.size();
  for (std::size_t i = 0; i < series.label_values.size(); ++i) labels[i].value = series.label_values[i];
}

void CollectedWalk::show(const CollectedSeries& series, Visitor& visitor) const {
  const CollectedDetails* const details = series.details.get();
  if (details == nullptr) return visitor.sample({.labels = shown_.labels, .value = series.value});
  switch (definition_.type) {
    case MetricType::histogram:
      return visitor.histogram({.labels = shown_.labels,
                                .bounds = details->bounds,
                                .counts = details->counts,
                                .sum = details->sum,
                                .created = details->created,
                                .exemplars = details->exemplars,
                                .native = details->native ? &*details->native : nullptr,
                                .timestamp = details->timestamp});
    case MetricType::summary:
      return visitor.summary({.labels = shown_.labels,
                              .quantiles = details->quantiles,
                              .count = details->count,
                              .sum = details->sum,
                              .created = details->created,
                              .timestamp = details->timestamp});
    case MetricType::counter:
    case MetricType::gauge:
    case MetricType::info:
    case MetricType::stateset:
    case MetricType::unknown:
      break;
  }
  visitor.sample({.labels = shown_.labels,
                  .value = series.value,
                  .created = details->created,
                  .exemplar = details->exemplars.empty() ? nullptr : details->exemplars.front(),
                  .timestamp = details->timestamp});
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
  add_parts(sources_.front(), registry->families_of(request.families, sources_.front().start, collected_));
  leave_out_unwanted(request.families);
}

Scrape::Scrape(std::shared_ptr<JoinedRegistries> registries, const ScrapeRequest& request)
    : joined_(std::move(registries)) {
  for (const auto& registry : joined_->registries()) {
    sources_.push_back({registry, registry->start_scrape(request.families)});
  }
  collected_ = collect_from(request, joined_->collector_threads());
  std::vector<std::uint64_t> versions;
  for (const Source& source : sources_) {
    auto page = source.registry->families_of(request.families, source.start, collected_);
    versions.push_back(page.version);
    add_parts(source, std::move(page));
  }
  leave_out_clashes(versions);
  leave_out_unwanted(request.families);
  join_parts();
}

Collected Scrape::collect_from(const ScrapeRequest& request, Executor& threads) {
  std::vector<ScrapedCollector> collectors;
  for (const auto& [registry, start] : sources_) {
    for (const auto& collector : start.collectors) collectors.push_back({collector, &registry->on_error()});
  }
  return collect(collectors, request.deadline, request.stop, threads);
}

void Scrape::add_parts(const Source& source, RegistryCore::PageFamilies page) {
  for (const auto& [collector, what] : page.clashes) {
    report(*collector, CollectorFault::clash, what, source.registry->on_error());
  }
  collect_status(source, page);
  parts_.reserve(parts_.size() + page.families.size());
  for (RegistryCore::FamilyEntry& entry : page.families) {
    const std::string_view help = entry.definition->help;
    parts_.push_back({std::move(entry), &source, help});
  }
}

/// Makes the series of `quipu_collector_up` and the durations, if the page has them. They are of this page: what it has
/// is certain by now. A collector that was removed meanwhile is not on it, and so has no status.
void Scrape::collect_status(const Source& source, const RegistryCore::PageFamilies& page) {
  std::set<const RegisteredCollector*> present;
  const RegisteredCollector* status = nullptr;
  for (const auto& collector : page.undescribed) present.insert(collector.get());
  for (const RegistryCore::FamilyEntry& family : page.families) {
    for (const auto& collector : family.collectors) {
      present.insert(collector.get());
      if (collector->role() == RegisteredCollector::Role::status) status = collector.get();
    }
  }
  if (status == nullptr) return;
  struct Status {
    bool is_up = true;
    std::optional<std::chrono::nanoseconds> duration{};  // of the calls that are over
  };
  std::map<std::string_view, Status> by_name;
  for (const auto& collector : source.start.collectors) {
    if (collector->role() != RegisteredCollector::Role::usual || !present.contains(collector.get())) continue;
    Status& of_name = by_name[collector->name()];
    const auto call = collected_.find(collector.get());
    of_name.is_up = of_name.is_up && call != collected_.end() && call->second.families != nullptr;
    if (call == collected_.end()) continue;
    of_name.duration = of_name.duration.value_or(std::chrono::nanoseconds(0)) + call->second.duration;
  }
  auto families = status->families();
  auto& up = families[up_family].series;
  auto& durations = families[duration_family].series;
  for (const auto& [name, of_name] : by_name) {
    up.push_back({{std::string(name)}, of_name.is_up ? 1 : 0});
    if (!of_name.duration) continue;
    durations.push_back({{std::string(name)}, std::chrono::duration<double>(*of_name.duration).count()});
  }
  collected_.emplace(status, CollectedCall{std::make_shared<const std::vector<CollectedFamily>>(std::move(families))});
}

/// Removes the parts that the registries' plan does not show. It does not know the families that collectors have not
/// described: these come after all others, in the order of the registries.
void Scrape::leave_out_clashes(std::span<const std::uint64_t> versions) {
  const auto plan = joined_->plan(versions);
  for (const JoinedRegistries::Clash& clash : plan->clashes) {
    sources_[clash.registry].registry->page_clashes().families.fetch_add(1, std::memory_order_relaxed);
  }
  PageNames names(&plan->names);
  std::vector<Part> shown;
  shown.reserve(parts_.size());
  for (Part& part : parts_) {
    const auto& definition = part.entry.definition;
    if (!part.entry.is_undescribed) {
      if (plan->shown.contains(definition.get())) shown.push_back(std::move(part));
      continue;
    }
    const std::string why = names.add({.definition = definition, .is_collected = true, .is_own = false});
    for (const auto& collector : part.entry.collectors) {
      if (why.empty()) break;
      report(*collector, CollectorFault::clash,
             fmt::format("family {} is left out of a page of several registries: {}", definition->name, why),
             part.source->registry->on_error());
    }
    if (why.empty()) shown.push_back(std::move(part));
  }
  parts_ = std::move(shown);
}

/// Removes the families that collectors have not described and nobody asked for.
void Scrape::leave_out_unwanted(std::span<const std::string> names) {
  std::erase_if(parts_, [names](const Part& part) {
    return part.entry.is_undescribed && !is_wanted(names, part.entry.definition->name);
  });
}

/// Brings the parts into the order of the page, and joins those that the library has of its own.
void Scrape::join_parts() {
  std::map<std::string_view, std::string_view> helps;
  for (const Part& part : parts_) helps.emplace(part.entry.definition->name, part.help);
  for (Part& part : parts_) part.help = helps.at(part.entry.definition->name);
  const auto comes_before = [](const Part& a, const Part& b) {
    return is_before(*a.entry.definition, *b.entry.definition);
  };
  std::ranges::stable_sort(parts_, comes_before);
  const auto is_own = [](const Part& part) {
    return !part.entry.collectors.empty() &&
           part.entry.collectors.front()->subject() != RegisteredCollector::Subject::program;
  };
  std::vector<Part> joined;
  joined.reserve(parts_.size());
  for (Part& part : parts_) {
    const bool repeats = !joined.empty() && !comes_before(joined.back(), part);
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
  if (from == collected_.end() || from->second.families == nullptr) return;
  if (to == collected_.end() || to->second.families == nullptr) {
    first.entry.collectors = other.entry.collectors;
    return;
  }
  const std::string& name = first.entry.definition->name;
  const auto of_family = [&name](auto& families) {
    return std::ranges::find(families, name, [](const CollectedFamily& family) { return family.definition->name; });
  };
  auto joined = std::make_shared<std::vector<CollectedFamily>>(*to->second.families);
  const auto family = of_family(*joined);
  const auto added = of_family(*from->second.families);
  if (added == from->second.families->end()) return;
  const bool is_up_family =
      collector.role() == RegisteredCollector::Role::status && name == collector.families()[up_family].definition->name;
  for (const CollectedSeries& series : added->series) {
    const auto same = std::ranges::find(family->series, series.label_values, &CollectedSeries::label_values);
    if (same == family->series.end()) {
      family->series.push_back(series);
    } else if (is_up_family) {
      same->value = std::min(same->value.whole(), series.value.whole());
    } else {
      same->value = sum(same->value, series.value);
    }
  }
  to->second.families = std::move(joined);
}

/// A series of the current part was shown before, for another registry.
void Scrape::report_repetition(Labels labels) {
  const Part& part = parts_[next_part_ - 1];
  part.source->registry->page_clashes().series.fetch_add(1, std::memory_order_relaxed);
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
    collection_.emplace(part.entry, collected_, shown_, part.source->registry->on_error());
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

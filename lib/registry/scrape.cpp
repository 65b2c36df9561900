#include "registry/scrape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "registry/self_collector.hpp"

namespace quipu::detail {
namespace {

void begin_labels(const Definition& definition, std::vector<Label>& labels, std::size_t const_labels) {
  labels.resize(const_labels);
  for (const std::string& name : definition.label_names) labels.push_back({name, {}});
}

FamilyView view(const Definition& definition, Labels labels, std::size_t const_labels) {
  return {.name = definition.name,
          .help = definition.help,
          .unit = definition.unit,
          .type = definition.type,
          .const_labels = labels.first(const_labels),
          .label_names = definition.label_names};
}

/// The time when a series was made. Not for gauges.
WallTime created(const SeriesTable::Walk::Item& series) noexcept {
  return WallTime(std::chrono::seconds(series.state));
}

}  // namespace

InstrumentWalk::InstrumentWalk(const FamilyCore& family, std::vector<Label>& labels, std::uint32_t last_tag,
                               std::chrono::nanoseconds& patience)
    : family_(family),
      labels_(labels),
      const_labels_(labels.size()),
      patience_(patience),
      reader_(family.definition.key_columns()),
      walk_(family.series, family.definition.type == MetricType::info ? std::optional(last_tag) : std::nullopt) {
  begin_labels(family.definition, labels, const_labels_);
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
  if (!is_begun_) [[unlikely]] {
    is_begun_ = true;
    visitor.family(view(family_.definition, labels_, const_labels_));
  }
  return true;
}

CollectedWalk::CollectedWalk(const RegistryCore::FamilyEntry& family, const Collected& collected,
                             std::vector<Label>& labels, const OnCollectorError& on_error)
    : definition_(*family.definition), labels_(labels), const_labels_(labels.size()) {
  const auto by_labels = [](const CollectedSeries* a, const CollectedSeries* b) {
    return a->label_values < b->label_values;
  };
  std::set<const CollectedSeries*, decltype(by_labels)> known(by_labels);
  for (const auto& registered : family.collectors) {
    const auto found = collected.find(registered.get());
    if (found == collected.end() || found->second.families == nullptr) continue;
    std::uint64_t duplicates = 0;
    for (const CollectedFamily& part : *found->second.families) {
      if (part.definition->name != definition_.name) continue;
      for (const CollectedSeries& series : part.series) {
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
  begin_labels(definition_, labels, const_labels_);
}

bool CollectedWalk::show_some(Visitor& visitor) {
  if (shown_ == series_.size()) return false;
  if (shown_ == 0) visitor.family(view(definition_, labels_, const_labels_));
  const std::size_t end = std::min(series_.size(), shown_ + SeriesTable::Walk::max_batch);
  for (; shown_ < end; ++shown_) {
    const CollectedSeries& series = *series_[shown_];
    for (std::size_t i = 0; i < series.label_values.size(); ++i) {
      labels_[const_labels_ + i].value = series.label_values[i];
    }
    show(series, visitor);
  }
  return true;
}

void CollectedWalk::show(const CollectedSeries& series, Visitor& visitor) const {
  const CollectedDetails* const details = series.details.get();
  if (details == nullptr) return visitor.sample({.labels = labels_, .value = series.value});
  switch (definition_.type) {
    case MetricType::histogram:
      return visitor.histogram({.labels = labels_,
                                .bounds = details->bounds,
                                .counts = details->counts,
                                .sum = details->sum,
                                .created = details->created,
                                .exemplars = details->exemplars,
                                .native = details->native ? &*details->native : nullptr,
                                .timestamp = details->timestamp});
    case MetricType::summary:
      return visitor.summary({.labels = labels_,
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
  visitor.sample({.labels = labels_,
                  .value = series.value,
                  .created = details->created,
                  .exemplar = details->exemplars.empty() ? nullptr : details->exemplars.front(),
                  .timestamp = details->timestamp});
}

Scrape::Scrape(std::shared_ptr<RegistryCore> registry, const ScrapeRequest& request)
    : registry_(std::move(registry)),
      start_(registry_->start_scrape(request.families)),
      collected_(collect(start_.collectors, request.deadline, request.stop, registry_->on_error(),
                         registry_->collector_threads())),
      page_(registry_->families_of(request.families, start_, collected_)) {
  for (const auto& [name, value] : registry_->const_labels()) labels_.push_back({name, value});
  report_clashes();
  collect_status();
}

void Scrape::report_clashes() const {
  for (const auto& [collector, what] : page_.clashes) {
    report(*collector, CollectorFault::clash, what, registry_->on_error());
  }
}

/// Makes the series of `quipu_collector_up` and the durations, if the page has them. They are of this page: what it has
/// is certain by now. A collector that was removed meanwhile is not on it, and so has no status.
void Scrape::collect_status() {
  std::set<const RegisteredCollector*> present;
  const RegisteredCollector* status = nullptr;
  for (const auto& collector : page_.undescribed) present.insert(collector.get());
  for (const RegistryCore::FamilyEntry& family : page_.families) {
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
  for (const auto& collector : start_.collectors) {
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

bool Scrape::show_some(Visitor& visitor) {
  for (;;) {
    if (instruments_ && instruments_->show_some(visitor)) return true;
    if (collection_ && collection_->show_some(visitor)) return true;
    instruments_.reset();
    collection_.reset();
    if (next_family_ == page_.families.size()) return false;
    const RegistryCore::FamilyEntry& family = page_.families[next_family_++];
    labels_.resize(registry_->const_labels().size());
    if (family.instruments != nullptr) {
      instruments_.emplace(*family.instruments, labels_, start_.last_tag, patience_);
    } else {
      collection_.emplace(family, collected_, labels_, registry_->on_error());
    }
  }
}

}  // namespace quipu::detail

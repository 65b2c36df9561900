#include "quipu/registry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <stdexcept>

#include "base/utf8.hpp"
#include "collectors/process_collector.hpp"
#include "collectors/runtime_collector.hpp"
#include "family/definition.hpp"
#include "quipu/batch.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/thread_cell_budget.hpp"
#include "registry/callback.hpp"
#include "registry/lint.hpp"
#include "registry/registry_core.hpp"
#include "registry/scrape.hpp"

namespace quipu {
namespace detail {

namespace {

/// What the library counts of itself.
class SelfCollector final : public Collector {
 public:
  explicit SelfCollector(const RegistryCore& registry) : registry_(registry) {}

  std::vector<FamilyDescription> describe() const override {
    return {
        {.name = "quipu_rejected_recordings_total",
         .help = "Recordings in this process that made no sense and were not counted.",
         .type = MetricType::counter,
         .labels = {"reason"}},
        {.name = "quipu_dropped_exemplars_total",
         .help = "Exemplars in this process that were not kept; what they were examples of was counted.",
         .type = MetricType::counter,
         .labels = {"reason"}},
        {.name = "quipu_thread_cell_bytes", .help = "Memory of this process in which threads count, out of a budget."},
        {.name = "quipu_overflowed_lookups_total",
         .help = "Lookups of new label values in a family that was full.",
         .type = MetricType::counter,
         .labels = {"family"}},
        {.name = "quipu_collector_errors_total",
         .help = "Collectors and callbacks that failed during a scrape.",
         .type = MetricType::counter,
         .labels = {"reason"}}};
  }
  void collect(Samples& samples) override { registry_.show_self(samples); }

 private:
  const RegistryCore& registry_;
};

}  // namespace

// The registry.

RegistryCore::RegistryCore(OwnedLabels const_labels, Names names, const RegistryOptions& options)
    : const_labels_(std::move(const_labels)),
      names_(names),
      formats_{.open_metrics_2 = options.open_metrics_2, .created_lines = options.created_lines},
      on_lint_(options.on_lint) {}

std::shared_ptr<FamilyCore> RegistryCore::add_family(Definition definition, std::size_t closed_size,
                                                     std::size_t max_series, Batch* batch) {
  check(definition, const_labels_, names_);
  std::unique_lock lock(mutex_);
  const Batch* const open = nearest_open(batch);
  if (const auto known = entries_.find(definition.name); known != entries_.end()) {
    Entry& entry = known->second;
    if (entry.instruments == nullptr || *entry.definition != definition) refuse_second(definition, entry);
    if (open == nullptr) {
      entry.batches.clear();
    } else if (!entry.batches.empty() && std::ranges::find(entry.batches, open) == entry.batches.end()) {
      entry.batches.push_back(open);
    }
    return entry.instruments;
  }
  auto family = std::make_shared<FamilyCore>(std::move(definition), closed_size, max_series);
  const Definition& made = family->definition;
  Entry entry{std::shared_ptr<const Definition>(family, &made), family};
  if (open != nullptr) entry.batches.push_back(open);
  claim(made);
  entries_.emplace(made.name, std::move(entry));
  lock.unlock();
  report_lint(made);
  return family;
}

/// Without the lock. The family is registered, whatever is said of it.
void RegistryCore::report_lint(const Definition& definition) const {
  if (!on_lint_) return;
  const FamilyView family{.name = definition.name,
                          .help = definition.help,
                          .unit = definition.unit,
                          .type = definition.type,
                          .label_names = definition.label_names};
  for (const std::string& advice : lint(family)) on_lint_(definition.name, advice);
}

void RegistryCore::refuse_second(const Definition& definition, const Entry& first) const {
  throw RegistrationError(fmt::format(
      "cannot register {}: the name is taken by {}{}; register the same definition, or choose another name",
      describe(definition), describe(*first.definition), first.instruments == nullptr ? ", read by a collector" : ""));
}

void RegistryCore::claim(const Definition& definition) {
  for (std::size_t i = 0; i < escapings_in_use(); ++i) {
    for (const std::string& name : sample_names(definition, escapings_of_names[i].first)) {
      const auto taken = claims_[i].find(name);
      if (taken == claims_[i].end()) continue;
      throw RegistrationError(
          fmt::format("cannot register {}: {}\"{}\" would be a sample of it, and is one of {}; choose another name",
                      describe(definition),
                      i == 0 ? "" : fmt::format("where names are escaped as {}, ", escapings_of_names[i].second), name,
                      describe(*entries_.at(taken->second).definition)));
    }
  }
  for (std::size_t i = 0; i < escapings_in_use(); ++i) {
    for (const std::string& name : sample_names(definition, escapings_of_names[i].first))
      claims_[i].emplace(name, definition.name);
  }
}

void RegistryCore::unclaim(const Definition& definition) {
  for (std::size_t i = 0; i < escapings_in_use(); ++i) {
    for (const std::string& name : sample_names(definition, escapings_of_names[i].first)) claims_[i].erase(name);
  }
}

std::shared_ptr<RegisteredCollector> RegistryCore::add_collector(
    Collector& collector, const std::string& prefix, std::unique_ptr<const std::vector<std::string>> fixed_labels,
    std::shared_ptr<Collector> owned, Batch* batch) {
  std::vector<CollectedFamily> families;
  for (FamilyDescription& described : collector.describe()) {
    auto definition = std::make_shared<Definition>(Definition{.type = described.type,
                                                              .cells = CellKind::real,
                                                              .name = prefix + described.name,
                                                              .help = to_utf8(described.help),
                                                              .unit = std::move(described.unit),
                                                              .label_names = std::move(described.labels)});
    definition->columns.resize(definition->label_names.size(), {LabelType::text});
    if (described.type != MetricType::counter && described.type != MetricType::gauge) {
      throw RegistrationError(
          fmt::format("collector family \"{}\": a collector shows counters and gauges", described.name));
    }
    check(*definition, const_labels_, names_);
    families.push_back({std::move(definition), std::move(described.name)});
  }
  const auto on_end = [registry = weak_from_this()](const RegisteredCollector& ended) {
    if (const auto core = registry.lock()) core->remove_collector(ended);
  };
  auto registered = std::make_shared<RegisteredCollector>(collector, std::move(owned), std::move(families),
                                                          std::move(fixed_labels), on_end);

  std::unique_lock lock(mutex_);
  readers_.reserve(readers_.size() + 1);
  std::size_t added = 0;
  try {
    for (const CollectedFamily& family : registered->families()) {
      add_to_entry(family.definition, registered);
      ++added;
    }
  } catch (...) {
    remove_from_entries(*registered, added);
    throw;
  }
  readers_.push_back({registered, nearest_open(batch)});
  lock.unlock();
  for (const CollectedFamily& family : registered->families()) report_lint(*family.definition);
  return registered;
}

void RegistryCore::add_to_entry(const std::shared_ptr<const Definition>& definition,
                                const std::shared_ptr<RegisteredCollector>& registered) {
  const auto known = entries_.find(definition->name);
  if (known == entries_.end()) {
    claim(*definition);
    entries_.emplace(definition->name, Entry{definition, nullptr, {registered}});
    return;
  }
  Entry& entry = known->second;
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

/// Its first so many families.
void RegistryCore::remove_from_entries(const RegisteredCollector& registered, std::size_t families) {
  for (const CollectedFamily& family : std::span(registered.families()).first(families)) {
    const auto entry = entries_.find(family.definition->name);
    std::erase_if(entry->second.collectors, [&](auto& other) { return other.get() == &registered; });
    if (!entry->second.collectors.empty()) continue;
    unclaim(*entry->second.definition);
    entries_.erase(entry);
  }
}

void RegistryCore::remove_collector(const RegisteredCollector& registered) {
  const std::lock_guard lock(mutex_);
  if (std::erase_if(readers_, [&](auto& reader) { return reader.registered.get() == &registered; }) == 0) return;
  remove_from_entries(registered, registered.families().size());
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
  for (auto& [name, entry] : entries_) {
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
  for (Reader& reader : readers_) {
    if (reader.batch == &batch) reader.batch = outer;
  }
  if (outer != nullptr) return outer->infos.splice(outer->infos.end(), batch.infos);
  for (auto& [family, key] : batch.infos) static_cast<void>(family->series.find_or_create(key));
  batch.infos.clear();
}

void RegistryCore::take_back(Batch& batch) noexcept {
  // What families hold is given back without the lock, because that waits for guards.
  std::map<std::string, Entry> families;
  std::list<Info> infos;
  const std::lock_guard lock(mutex_);
  batch.is_open = false;
  infos.swap(batch.infos);
  for (auto next = entries_.begin(); next != entries_.end();) {
    const auto entry = next++;
    if (std::erase(entry->second.batches, &batch) == 0 || !entry->second.batches.empty()) continue;
    unclaim(*entry->second.definition);
    families.insert(entries_.extract(entry));
  }
  // Collectors that are still there belong to registrations that are kept elsewhere.
  std::erase_if(readers_, [this, &batch](const Reader& reader) {
    if (reader.batch != &batch) return false;
    remove_from_entries(*reader.registered, reader.registered->families().size());
    return true;
  });
}

namespace {

bool is_wanted(std::span<const std::string> names, const std::string& name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

}  // namespace

RegistryCore::Beginning RegistryCore::begin(std::span<const std::string> names) const {
  const std::lock_guard lock(mutex_);
  Beginning beginning{{}, shown_batches_, last_tag()};
  for (const auto& [registered, batch] : readers_) {
    if (batch != nullptr) continue;
    const bool is_asked = names.empty() || std::ranges::any_of(registered->families(), [names](const auto& family) {
                            return is_wanted(names, family.definition->name);
                          });
    if (is_asked) beginning.collectors.push_back(registered);
  }
  return beginning;
}

std::vector<RegistryCore::Entry> RegistryCore::entries_of(std::span<const std::string> names,
                                                          const Beginning& beginning) const {
  std::vector<Entry> wanted;
  const std::lock_guard lock(mutex_);
  wanted.reserve(names.empty() ? entries_.size() : names.size());
  for (const auto& [name, entry] : entries_) {
    const bool is_shown = entry.batches.empty() && entry.shown_by <= beginning.batches;
    if (is_shown && is_wanted(names, name)) wanted.push_back(entry);
  }
  return wanted;
}

void RegistryCore::show_self(Samples& samples) const {
  const auto rejected = [](Rejection why) {
    return rejections[static_cast<std::size_t>(why)].load(std::memory_order_relaxed);
  };
  samples.add("quipu_rejected_recordings_total", {"negative_step"}, rejected(Rejection::negative_step));
  samples.add("quipu_rejected_recordings_total", {"not_a_number"}, rejected(Rejection::not_a_number));
  samples.add("quipu_rejected_recordings_total", {"unknown_state"}, rejected(Rejection::unknown_state));
  const auto dropped = [&](std::string_view reason, Dropped why) {
    samples.add("quipu_dropped_exemplars_total", {reason},
                dropped_exemplars[static_cast<std::size_t>(why)].load(std::memory_order_relaxed));
  };
  dropped("bad_label", Dropped::bad_label);
  dropped("busy", Dropped::busy);
  dropped("no_room", Dropped::no_room);
  dropped("not_utf8", Dropped::not_utf8);
  dropped("too_long", Dropped::too_long);
  const auto errors = [&](std::string_view reason, const std::atomic<std::uint64_t>& count) {
    samples.add("quipu_collector_errors_total", {reason}, count.load(std::memory_order_relaxed));
  };
  errors("duplicate", errors_.duplicates);
  errors("exception", errors_.exceptions);
  errors("timeout", errors_.timeouts);
  samples.add("quipu_thread_cell_bytes", static_cast<std::uint64_t>(thread_cell_bytes()));
  const std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    if (entry.instruments == nullptr || !entry.batches.empty()) continue;
    const std::uint64_t overflows = entry.instruments->series.overflows();
    if (overflows > 0) samples.add("quipu_overflowed_lookups_total", {name}, overflows);
  }
}

}  // namespace detail

// Registry and Scope.

namespace {

detail::OwnedLabels owned(std::span<const ConstLabel> labels) {
  detail::OwnedLabels result;
  for (const ConstLabel& label : labels) result.emplace_back(label.name.text(), detail::to_utf8(label.value));
  return result;
}

std::string joined(std::string_view prefix, detail::Names names) {
  detail::check_prefix(prefix, names);
  return prefix.empty() ? std::string() : fmt::format("{}_", prefix);
}

detail::Names names_of(const RegistryOptions& options) noexcept {
  return options.utf8_names ? detail::Names::utf8 : detail::Names::legacy;
}

std::shared_ptr<detail::RegistryCore> make_core(const RegistryOptions& options) {
  auto const_labels = owned(options.const_labels);
  detail::check(const_labels, names_of(options));
  auto core = std::make_shared<detail::RegistryCore>(std::move(const_labels), names_of(options), options);
  const auto add_own = [&core](std::shared_ptr<Collector> collector) {
    Collector& added = *collector;
    return core->add_collector(added, "", nullptr, std::move(collector), nullptr);
  };
  if (options.process_metrics) add_own(detail::make_process_collector())->set_prompt();
  if (options.runtime_metrics) add_own(detail::make_runtime_collector());
  if (options.self_metrics) add_own(std::make_shared<detail::SelfCollector>(*core))->set_prompt();
  return core;
}

}  // namespace

std::shared_ptr<detail::FamilyCore> Scope::add_family(detail::Definition definition,
                                                      std::initializer_list<LabelName> labels, std::size_t closed_size,
                                                      std::size_t max_series) const {
  definition.name.insert(0, prefix_);
  definition.help = detail::to_utf8(definition.help);
  for (const LabelName& label : labels) definition.label_names.emplace_back(label.text());
  if (definition.type == MetricType::stateset) definition.label_names.push_back(definition.name);
  return core_->add_family(std::move(definition), closed_size, max_series, batch_.get());
}

void Scope::info(const InfoOptions& options, std::span<const InfoLabel> labels) const {
  detail::Definition definition{
      .type = MetricType::info, .name = std::string(options.name.text()), .help = std::string(options.help)};
  std::list<detail::Info> info(1);
  for (const auto& [name, value] : labels) {
    definition.label_names.emplace_back(name.text());
    definition.columns.push_back({detail::LabelType::text});
    info.front().key.put(value);
  }
  info.front().family = add_family(std::move(definition), {}, 0, options.max_series);
  core_->add_info(std::move(info), batch_.get());
}

Registration Scope::callback(MetricType type, const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                             std::function<double()> read) const {
  FamilyDescription family{.name = std::string(options.name.text()),
                           .help = std::string(options.help),
                           .type = type,
                           .unit = std::string(options.unit)};
  std::vector<std::string> values;
  for (auto& [name, value] : owned(std::span(labels.begin(), labels.size()))) {
    family.labels.push_back(std::move(name));
    values.push_back(std::move(value));
  }
  auto fixed_labels = std::make_unique<const std::vector<std::string>>(values);
  auto callback = detail::make_callback(std::move(family), std::move(values), std::move(read));
  Collector& collector = *callback;
  return Registration(
      core_->add_collector(collector, prefix_, std::move(fixed_labels), std::move(callback), batch_.get()));
}

Registration Scope::add(Collector& collector) const {
  return Registration(core_->add_collector(collector, prefix_, nullptr, nullptr, batch_.get()));
}

Registration Scope::add(std::shared_ptr<Collector> collector) const {
  if (collector == nullptr) throw RegistrationError("cannot add a collector that is null");
  Collector& added = *collector;
  return Registration(core_->add_collector(added, prefix_, nullptr, std::move(collector), batch_.get()));
}

Scope Scope::subsystem(MetricPrefix prefix) const {
  return {core_, prefix_ + joined(prefix.text(), core_->names()), batch_};
}

namespace detail {

OpenBatch::OpenBatch(const Scope& scope, MetricPrefix subsystem) : scope_(scope.subsystem(subsystem)) {
  scope_.batch_ = std::make_shared<Batch>(scope.batch_);
}

OpenBatch::~OpenBatch() {
  if (!is_taken_back_) scope_.core_->close(*scope_.batch_);
}

void OpenBatch::take_back() noexcept {
  is_taken_back_ = true;
  scope_.core_->take_back(*scope_.batch_);
}

}  // namespace detail

Registry::Registry(const RegistryOptions& options)
    : Scope(make_core(options), joined(options.prefix.text(), names_of(options))) {
  const BuildInfo& build = options.build_info;
  if (build.version.empty()) return;
  info({.name = "build_info", .help = "What is running."},
       {{"version", build.version}, {"revision", build.revision}, {"compiler", build.compiler}});
}

void Registry::collect(Visitor& visitor) const {
  detail::Scrape scrape(core(), {});
  while (scrape.show_some(visitor)) {
  }
}

}  // namespace quipu

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <utility>

#include "quipu/detail/family/instrument_traits.hpp"
#include "quipu/detail/family/label_key.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/error.hpp"
#include "quipu/family.hpp"
#include "quipu/name.hpp"
#include "quipu/recorder.hpp"
#include "quipu/scope.hpp"
#include "registry/scope_access.hpp"

namespace quipu {
namespace {

using detail::CellRef;
using detail::FamilyCore;

constexpr std::size_t most_names = 1'000'000;

enum class Recording : std::uint8_t { increment, gauge, histogram, time };

std::string legal(std::string_view name) {
  std::string result(name);
  for (char& c : result) {
    if (!detail::is_letter(c) && !detail::is_digit(c)) c = '_';
  }
  if (result.empty() || detail::is_digit(result.front())) result.insert(0, 1, '_');
  return result;
}

std::string legal_label(std::string_view name) {
  std::string result = legal(name);
  if (result.starts_with("__")) result.erase(0, std::min(result.find_first_not_of('_'), result.size()) - 1);
  return result;
}

std::string with_suffix(std::string name, std::string_view suffix) {
  if (!name.ends_with(suffix)) name += suffix;
  return name;
}

/// The value of the first label of that name; empty if there is none.
std::string_view value_of(Labels labels, std::string_view name) noexcept {
  const auto found = std::ranges::find(labels, name, &Label::name);
  return found == labels.end() ? std::string_view() : found->value;
}

/// A name that was recorded. It does not change after it is published.
class KnownName {
 public:
  /// `labels` are the labels of its first recording, each name once.
  KnownName(std::uint32_t hash, Recording kind, std::string_view name, Labels labels, bool is_fractional)
      : hash_(hash), kind_(kind), is_fractional_(is_fractional) {
    detail::LabelKey key;
    key.put(name);
    std::size_t count = 0;
    for (auto label = labels.begin(); label != labels.end(); ++label) {
      const bool is_new = std::none_of(labels.begin(), label, [&](const Label& l) { return l.name == label->name; });
      if (is_new) key.put(label->name), ++count;
    }
    const auto words = key.finish();
    key_.assign(words.begin(), words.end());
    detail::KeyCursor cursor(key_);
    text_ = cursor.text();
    while (label_names_.size() < count) label_names_.push_back(cursor.text());
  }
  KnownName(const KnownName&) = delete;
  KnownName& operator=(const KnownName&) = delete;

  [[nodiscard]] std::uint32_t hash() const noexcept { return hash_; }
  [[nodiscard]] Recording kind() const noexcept { return kind_; }
  /// Whether it is a counter whose steps may be fractions.
  [[nodiscard]] bool is_fractional() const noexcept { return is_fractional_; }
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  [[nodiscard]] std::span<const std::string_view> label_names() const noexcept { return label_names_; }

  [[nodiscard]] bool is(std::uint32_t hash, Recording kind, std::string_view name) const noexcept {
    const char* next = reinterpret_cast<const char*>(key_.data());
    return hash_ == hash && kind_ == kind && detail::is_next(next, name);
  }
  /// Whether these are its labels, in their order.
  [[nodiscard]] bool has_labels(Labels labels) const noexcept {
    if (labels.size() != label_names_.size()) return false;
    const char* next = text_.data() + text_.size();
    for (const Label& label : labels) {
      if (!detail::is_next(next, label.name)) return false;
    }
    return true;
  }

  // Set before it is published.
  std::shared_ptr<FamilyCore> family{};  // null if the registry refused it
  CellRef only{};                        // of a name without labels
  bool is_published = false;             // guarded by the lock of the names
  mutable std::atomic<bool> has_told_of_fraction{false};

 private:
  const std::uint32_t hash_;
  const Recording kind_;
  const bool is_fractional_;
  std::vector<std::uint64_t> key_;  // as a LabelKey: the name, then those of the labels; where the views below point
  std::string_view text_;
  std::vector<std::string_view> label_names_;
};

}  // namespace

/// The recorded names.
///
/// Lookups take no lock. The slots are an open-addressing hash table (linear probing, at most half full, because there
/// are never more than `max_names`). Names are only added: a slot changes once, from null to a complete name. It is
/// written with release, and read with acquire, so a lookup finds a complete name or none. A miss is repeated under the
/// lock, unless `max_names` names are already published.
///
/// A name is first claimed, under the lock, with the labels of its first recording. Then it is registered without the
/// lock, because that calls functions of the program. All threads that find it claimed register the same definition,
/// and get the same family or the same refusal. The first one that returns publishes the name.
class RegistryRecorder::NameTable {
 public:
  NameTable(const Scope& scope, RegistryRecorderOptions options)
      : scope_(scope), options_(std::move(options)), mask_(std::bit_ceil(2 * checked_max_names()) - 1) {
    if (options_.max_series == 0) {
      throw RegistrationError("RegistryRecorderOptions::max_series is 0, and must be at least 1");
    }
    for (const RecordedMetric& metric : options_.metrics) {
      if (described_.emplace(metric.name, metric).second) continue;
      throw RegistrationError(
          fmt::format("recorded metric \"{}\" is described twice; leave one of the two in "
                      "RegistryRecorderOptions::metrics",
                      metric.name));
    }
    slots_.reset(new std::atomic<const KnownName*>[mask_ + 1]());
    const Family<Counter, std::string_view> dropped(detail::ScopeAccess::add_unprefixed(
        scope_,
        {.type = MetricType::counter,
         .cells = detail::CellKind::whole,
         .name = "quipu_recorder_dropped_total",
         .help = "What recorders could not put on this page: recordings, and labels of recordings.",
         .label_names = {"reason"},
         .columns = {{detail::LabelType::text}}},
        100));
    dropped_fractions_ = dropped("fraction");
    dropped_labels_ = dropped("label");
    refused_ = dropped("refused");
    too_many_names_ = dropped("too_many_names");
  }

  /// Calls record(instrument) with the series that was recorded.
  template <class Instrument, class Record>
  void record(Recording kind, std::string_view name, Labels labels, Record record) {
    with_series(kind, name, labels, false, [&record](const KnownName& known, CellRef cell) {
      record(detail::InstrumentTraits<Instrument>::make(cell, known.family->series));
    });
  }

  void increment(std::string_view name, Number step, Labels labels) {
    with_series(Recording::increment, name, labels, !step.is_whole(), [&](const KnownName& known, CellRef cell) {
      if (known.is_fractional()) {
        detail::InstrumentTraits<FractionalCounter>::make(cell, known.family->series).inc(step.real());
      } else if (step.is_whole()) [[likely]] {
        detail::InstrumentTraits<Counter>::make(cell, known.family->series).inc(step.whole());
      } else {
        add_real_to_whole(known, cell, step.real());
      }
    });
  }

  [[nodiscard]] std::uint64_t dropped() const noexcept {
    return dropped_fractions_.value() + dropped_labels_.value() + refused_.value() + too_many_names_.value();
  }

 private:
  /// Calls use(name, cell) unless the recording is dropped. `is_fractional` is for a name that is new.
  template <class Use>
  void with_series(Recording kind, std::string_view name, Labels labels, bool is_fractional, Use use) {
    const auto hash = detail::folded(detail::hash_value(seed_.start + static_cast<std::uint64_t>(kind), seed_, name));
    const KnownName* known = find(hash, kind, name);
    if (known == nullptr) [[unlikely]] {
      known = learn(hash, kind, name, labels, is_fractional);
      if (known == nullptr) return too_many_names_.inc();
    }
    if (known->family == nullptr) [[unlikely]] {
      return refused_.inc();
    }
    use(*known, series(*known, labels));
  }

  [[gnu::noinline]] void add_real_to_whole(const KnownName& known, CellRef cell, double step) {
    if (step >= 0 && step < 0x1p64 && step == std::floor(step)) {
      return detail::InstrumentTraits<Counter>::make(cell, known.family->series).inc(static_cast<std::uint64_t>(step));
    }
    dropped_fractions_.inc();
    if (known.has_told_of_fraction.exchange(true, std::memory_order_relaxed)) return;
    tell(known.text(), fmt::format("cannot add {} to \"{}\", a total of whole numbers because its first step was one; "
                                   "name it in RegistryRecorderOptions::metrics, with is_fractional",
                                   step, known.text()));
  }

  [[nodiscard]] std::size_t checked_max_names() const {
    if (options_.max_names >= 1 && options_.max_names <= most_names) return options_.max_names;
    throw RegistrationError(fmt::format("RegistryRecorderOptions::max_names is {}, and must be from 1 to {}",
                                        options_.max_names, most_names));
  }

  [[nodiscard]] const KnownName* find(std::uint32_t hash, Recording kind, std::string_view name) const noexcept {
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const KnownName* met = slots_[i].load(std::memory_order_acquire);  // pairs with the release in publish()
      if (met == nullptr || met->is(hash, kind, name)) return met;
    }
  }

  [[nodiscard]] CellRef series(const KnownName& known, Labels labels) {
    if (known.has_labels(labels)) [[likely]] {
      if (labels.empty()) return known.only;
      const CellRef found =
          known.family->series.find_texts(labels.size(), [labels](std::size_t i) { return labels[i].value; });
      if (found != CellRef{}) [[likely]] {
        return found;
      }
    }
    return series_by_name(known, labels);
  }

  /// The series with these labels, in any order. It is made if there is none.
  [[gnu::noinline]] CellRef series_by_name(const KnownName& known, Labels labels) {
    const auto names = known.label_names();
    std::size_t surplus = 0;
    for (auto label = labels.begin(); label != labels.end(); ++label) {
      const bool is_first = std::none_of(labels.begin(), label, [&](const Label& l) { return l.name == label->name; });
      surplus += static_cast<std::size_t>(!is_first || std::ranges::find(names, label->name) == names.end());
    }
    dropped_labels_.inc(surplus);
    if (names.empty()) return known.only;
    detail::SeriesTable& table = known.family->series;
    const CellRef found = table.find_values(names.size(), [&](std::size_t i) { return value_of(labels, names[i]); });
    if (found != CellRef{}) return found;
    detail::LabelKey key(table.max_put());
    for (const std::string_view label : names) key.put(value_of(labels, label));
    return table.find_or_create(key);
  }

  /// Returns null if there are too many names already.
  [[gnu::noinline]] const KnownName* learn(std::uint32_t hash, Recording kind, std::string_view name, Labels labels,
                                           bool is_fractional) {
    if (is_full_.load(std::memory_order_acquire)) {  // pairs with the release in publish()
      const KnownName* known = find(hash, kind, name);
      if (known == nullptr) tell_that_it_is_full(name);
      return known;
    }
    KnownName* claimed = claim(hash, kind, name, labels, is_fractional);
    if (claimed == nullptr) {
      tell_that_it_is_full(name);
      return nullptr;
    }
    if (const KnownName* known = find(hash, kind, name)) return known;  // published meanwhile
    std::shared_ptr<FamilyCore> family;
    CellRef only;
    std::string refusal;
    try {
      family = detail::ScopeAccess::add_family(scope_, definition(*claimed),
                                               claimed->label_names().empty() ? 1 : options_.max_series);
      if (claimed->label_names().empty()) only = family->the_only_series();
    } catch (const RegistrationError& error) {
      refusal = fmt::format("cannot record \"{}\": {}", name, error.what());
    }
    if (publish(*claimed, std::move(family), only) && !refusal.empty()) tell(name, refusal);
    return claimed;
  }

  [[nodiscard]] KnownName* claim(std::uint32_t hash, Recording kind, std::string_view name, Labels labels,
                                 bool is_fractional) {
    if (const RecordedMetric* metric = described(name)) is_fractional = is_fractional || metric->is_fractional;
    const std::lock_guard lock(mutex_);
    std::pair<Recording, std::string> key(kind, name);
    const auto known = names_.find(key);
    if (known != names_.end()) return &known->second;
    if (names_.size() == options_.max_names) return nullptr;
    return &names_.try_emplace(std::move(key), hash, kind, name, labels, is_fractional).first->second;
  }

  /// Returns whether it was not published before.
  bool publish(KnownName& name, std::shared_ptr<FamilyCore> family, CellRef only) {
    const std::lock_guard lock(mutex_);
    if (std::exchange(name.is_published, true)) return false;
    name.family = std::move(family);
    name.only = only;
    std::size_t i = name.hash() & mask_;
    while (slots_[i].load(std::memory_order_relaxed) != nullptr) i = (i + 1) & mask_;
    slots_[i].store(&name, std::memory_order_release);  // pairs with the acquire in find()
    // Release: pairs with the acquire in learn(), where find() then sees every name.
    if (++published_ == options_.max_names) is_full_.store(true, std::memory_order_release);
    return true;
  }

  /// Null if the options do not describe that name.
  [[nodiscard]] const RecordedMetric* described(std::string_view name) const {
    const auto found = described_.find(name);
    return found == described_.end() ? nullptr : &found->second;
  }

  [[nodiscard]] detail::Definition definition(const KnownName& known) const {
    const std::string recorded(known.text());
    detail::Definition made{.name = legal(recorded), .help = fmt::format("Recorded as \"{}\".", recorded)};
    const RecordedMetric* metric = described(recorded);
    if (metric != nullptr && !metric->help.empty()) made.help = metric->help;
    for (const std::string_view label : known.label_names()) made.label_names.push_back(legal_label(label));
    made.columns.resize(made.label_names.size(), {detail::LabelType::text});
    const auto make_histogram = [&](const Buckets& usual) {
      const Buckets& buckets = metric != nullptr && metric->buckets ? *metric->buckets : usual;
      made.type = MetricType::histogram;
      made.cells = detail::CellKind::histogram;
      made.bounds.assign(buckets.bounds().begin(), buckets.bounds().end());
    };
    switch (known.kind()) {
      case Recording::increment:
        if (known.is_fractional()) made.cells = detail::CellKind::real;
        if (options_.total_suffix && (metric == nullptr || metric->total_suffix)) {
          made.name = with_suffix(std::move(made.name), "_total");
        }
        break;
      case Recording::gauge:
        made.type = MetricType::gauge;
        made.cells = detail::CellKind::gauge;
        break;
      case Recording::histogram:
        make_histogram(options_.value_buckets);
        break;
      case Recording::time:
        made.name = with_suffix(std::move(made.name), "_seconds");
        make_histogram(options_.time_buckets);
        break;
    }
    return made;
  }

  void tell_that_it_is_full(std::string_view name) {
    if (has_told_.exchange(true, std::memory_order_relaxed)) return;
    tell(name, fmt::format("cannot record \"{}\": {} names are recorded already; raise "
                           "RegistryRecorderOptions::max_names, or make a label of the part that differs",
                           name, options_.max_names));
  }

  void tell(std::string_view name, std::string_view why) const {
    if (options_.on_error) options_.on_error(name, why);
  }

  const Scope scope_;
  const RegistryRecorderOptions options_;
  const detail::HashSeed seed_ = detail::random_seed();
  const std::size_t mask_;
  std::unique_ptr<std::atomic<const KnownName*>[]> slots_;
  std::map<std::string, RecordedMetric, std::less<>> described_;
  Counter dropped_fractions_;
  Counter dropped_labels_;
  Counter refused_;
  Counter too_many_names_;
  std::atomic<bool> is_full_{false};   // all names there may ever be are in the slots
  std::atomic<bool> has_told_{false};  // that it is full

  std::mutex mutex_;  // guards what follows, and changes to the slots; not held while anything is registered
  std::map<std::pair<Recording, std::string>, KnownName> names_;
  std::size_t published_ = 0;
};

RegistryRecorder::RegistryRecorder(const Scope& scope, RegistryRecorderOptions options)
    : names_(std::make_unique<NameTable>(scope, std::move(options))) {}
RegistryRecorder::~RegistryRecorder() = default;

void RegistryRecorder::increment(std::string_view name, Number step, Labels labels) {
  names_->increment(name, step, labels);
}

void RegistryRecorder::gauge(std::string_view name, double value, Labels labels) {
  names_->record<Gauge>(Recording::gauge, name, labels, [value](Gauge gauge) { gauge.set(value); });
}

void RegistryRecorder::histogram(std::string_view name, double value, Labels labels) {
  names_->record<Histogram>(Recording::histogram, name, labels,
                            [value](Histogram histogram) { histogram.observe(value); });
}

void RegistryRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  names_->record<Histogram>(Recording::time, name, labels, [time](Histogram histogram) { histogram.observe(time); });
}

std::uint64_t RegistryRecorder::dropped() const noexcept { return names_->dropped(); }

}  // namespace quipu

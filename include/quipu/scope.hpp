#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "quipu/collector.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/detail/family/instrument_traits.hpp"
#include "quipu/detail/family/label_lookup.hpp"
#include "quipu/detail/registry/refused_registrations.hpp"
#include "quipu/error.hpp"
#include "quipu/family.hpp"
#include "quipu/label.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"
#include "quipu/runtime_family.hpp"
#include "quipu/sample.hpp"

namespace quipu {

namespace detail {

class RegistryCore;
class OpenBatch;
struct Batch;
struct ScopeAccess;

/// The family of an instrument with `Count` labels, of these types. Without types all values are text.
template <class Instrument, std::size_t Count, class... LabelTypes>
struct FamilyOf {
  using Type = Family<Instrument, LabelTypes...>;
  static constexpr std::array<LabelColumn, sizeof...(LabelTypes)> columns{LabelTraits<LabelTypes>::column...};
  static constexpr std::size_t closed_size = closed_combinations<LabelTypes...>;
};
template <class... LabelTypes>
constexpr void labels_named_at_run_time_are_text() {
  static_assert(
      sizeof...(LabelTypes) == 0,
      "quipu: labels whose names come at run time are text: leave out the types, or give the names in braces");
}

template <std::size_t>
using TextLabel = std::string_view;
template <class Instrument, std::size_t... Index>
FamilyOf<Instrument, sizeof...(Index), TextLabel<Index>...> family_of_texts(std::index_sequence<Index...>);
template <class Instrument, std::size_t Count>
struct FamilyOf<Instrument, Count> : decltype(family_of_texts<Instrument>(std::make_index_sequence<Count>())) {};

}  // namespace detail

/// Where metrics are registered: a registry, or a part of one with a longer prefix.
///
/// Registering the same definition again returns the same family, whose `max_series` and help text stay as they are;
/// RegistryOptions::on_lint is told of another help text. RegistrationError is thrown for a clash with another
/// definition, a bad run-time name, a label used twice, `le` on a histogram, `quantile` on a summary, or a name that
/// the samples of another family have (`x_count` beside a histogram `x`). Thread-safe. A scope is a handle: it keeps
/// the registry's memory alive.
///
/// A family may be registered with different values of the same const labels (subsystem(),
/// MetricOptions::const_labels). Each value has a family of its own to record to, and the page shows them as parts of
/// one: under one HELP and TYPE, in the order of the values. The names of all labels, in their order, and the rest of
/// the definition must be the same.
///
/// Without label names a registration returns the instrument itself. Its series is on the page at once, at 0. With
/// label names it returns the family. Label values are text unless types are given:
/// `registry.counter<Method, int>({.name = "requests_total"}, {"method", "code"})`. If the names are known only at run
/// time, as a std::vector<std::string> or another range of texts, it returns a RuntimeFamily. If there are none then,
/// its only series is on the page at once.
class QUIPU_EXPORT Scope : detail::RefusedRegistrations {
 public:
  [[nodiscard]] Counter counter(const MetricOptions& options) const { return single<Counter>(options); }
  [[nodiscard]] FractionalCounter fractional_counter(const MetricOptions& options) const {
    return single<FractionalCounter>(options);
  }
  [[nodiscard]] Gauge gauge(const MetricOptions& options) const { return single<Gauge>(options); }
  [[nodiscard]] Histogram histogram(const HistogramOptions& options) const { return single<Histogram>(options); }
  [[nodiscard]] NativeHistogram native_histogram(const NativeHistogramOptions& options) const {
    return single<NativeHistogram>(options);
  }
  [[nodiscard]] Summary summary(const SummaryOptions& options) const { return single<Summary>(options); }

  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto counter(const MetricOptions& options, const LabelName (&labels)[Count]) const {
    return family<Counter, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto fractional_counter(const MetricOptions& options, const LabelName (&labels)[Count]) const {
    return family<FractionalCounter, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto gauge(const MetricOptions& options, const LabelName (&labels)[Count]) const {
    return family<Gauge, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto histogram(const HistogramOptions& options, const LabelName (&labels)[Count]) const {
    return family<Histogram, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto native_histogram(const NativeHistogramOptions& options, const LabelName (&labels)[Count]) const {
    return family<NativeHistogram, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto summary(const SummaryOptions& options, const LabelName (&labels)[Count]) const {
    return family<Summary, LabelTypes...>(options, labels);
  }

  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<Counter> counter(const MetricOptions& options, const Names& labels) const {
    return runtime_family<Counter, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<FractionalCounter> fractional_counter(const MetricOptions& options,
                                                                    const Names& labels) const {
    return runtime_family<FractionalCounter, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<Gauge> gauge(const MetricOptions& options, const Names& labels) const {
    return runtime_family<Gauge, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<Histogram> histogram(const HistogramOptions& options, const Names& labels) const {
    return runtime_family<Histogram, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<NativeHistogram> native_histogram(const NativeHistogramOptions& options,
                                                                const Names& labels) const {
    return runtime_family<NativeHistogram, LabelTypes...>(options, labels);
  }
  template <class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<Summary> summary(const SummaryOptions& options, const Names& labels) const {
    return runtime_family<Summary, LabelTypes...>(options, labels);
  }

  // What else people write is refused in words that say what to do.
  using RefusedRegistrations::counter;
  using RefusedRegistrations::counter_callback;
  using RefusedRegistrations::fractional_counter;
  using RefusedRegistrations::gauge;
  using RefusedRegistrations::gauge_callback;
  using RefusedRegistrations::histogram;
  using RefusedRegistrations::info;
  using RefusedRegistrations::native_histogram;
  using RefusedRegistrations::stateset;
  using RefusedRegistrations::summary;

  /// Shows which states of something are active, one of them or any number:
  /// `registry.stateset<Phase>({.name = "phase", .first = Phase::start})`.
  template <class State>
  [[nodiscard]] StateSet<State> stateset(const StateSetOptions<State>& options) const {
    return single<StateSet<State>>(options);
  }
  template <class State, class... LabelTypes, std::size_t Count>
  [[nodiscard]] auto stateset(const StateSetOptions<State>& options, const LabelName (&labels)[Count]) const {
    return family<StateSet<State>, LabelTypes...>(options, labels);
  }
  template <class State, class... LabelTypes, detail::TextRange Names>
  [[nodiscard]] RuntimeFamily<StateSet<State>> stateset(const StateSetOptions<State>& options,
                                                        const Names& labels) const {
    return runtime_family<StateSet<State>, LabelTypes...>(options, labels);
  }

  /// Shows facts that do not change, as label values: `registry.info({.name = "build_info"}, {{"version", "1.2"}})`.
  /// Scrapes that begin from now on show a series with these labels and the value 1. Registering it again with other
  /// values adds a second series.
  void info(const InfoOptions& options, std::initializer_list<InfoLabel> labels) const {
    info(options, std::span(labels.begin(), labels.size()));
  }
  void info(const InfoOptions& options, std::span<const InfoLabel> labels) const;

  /// A gauge whose value `read` returns at each scrape, until the registration ends. `read` is called without a lock,
  /// as Collector::collect() is: if there are several scrapes at once, perhaps by several threads at once. If it
  /// throws, only its own series is missing on that page. Several callbacks may share a family if their labels have the
  /// same names and different values.
  Registration gauge_callback(const MetricOptions& options, std::function<double()> read) const {
    return callback(MetricType::gauge, options, {}, std::move(read));
  }
  Registration gauge_callback(const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                              std::function<double()> read) const {
    return callback(MetricType::gauge, options, labels, std::move(read));
  }
  /// The same for a total that something else counts; it must never go down.
  Registration counter_callback(const MetricOptions& options, std::function<double()> read) const {
    return callback(MetricType::counter, options, {}, std::move(read));
  }
  Registration counter_callback(const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                                std::function<double()> read) const {
    return callback(MetricType::counter, options, labels, std::move(read));
  }

  /// Reads `collector` at each scrape, until the registration ends. The registration must end before the collector
  /// does. `name` is any text that stands for the collector in `quipu_collector_up{collector}`, its duration and its
  /// errors, without the prefix; by default it is the full name of the first family that it describes, or "unnamed".
  /// Collectors of the same name share a series.
  Registration add(Collector& collector, std::string_view name = {}) const;
  /// The same for a collector that the registration keeps until it ends.
  Registration add(std::shared_ptr<Collector> collector, std::string_view name = {}) const;
  /// The same for a function that is a collector: `registry.add([&](quipu::Samples& samples) { … })`. It describes the
  /// families where it shows them, by Samples::family(), or shows those that are described here, and checked:
  ///
  ///     registry.add({{.name = "pool_connections", .labels = {"pool"}}},
  ///                  [&](quipu::Samples& samples) { samples.add("pool_connections", {"main"}, pool.size()); });
  Registration add(std::function<void(Samples&)> collect, std::string_view name = {}) const;
  Registration add(std::vector<FamilyDescription> families, std::function<void(Samples&)> collect,
                   std::string_view name = {}) const;

  /// The same registry with a longer prefix: `registry.subsystem("db").counter({.name = "queries_total"})`, and with
  /// more const labels, which stand behind those that there are: `registry.subsystem("db", {{"shard", "1"}})`. Throws
  /// RegistrationError for a bad run-time prefix, and for const labels as the constructor of a registry.
  [[nodiscard]] Scope subsystem(MetricPrefix prefix, const std::vector<ConstLabel>& const_labels = {}) const;

  /// Removes the family from its registry: of a family with several parts, the part that the handle was registered for.
  /// Returns false if it is not there, or not any more. Its series end: no later page shows them, and what handles
  /// record goes nowhere. A page under way shows the whole family or nothing of it; if it shows the family, the series
  /// end with that page. The name can be registered anew, with any definition. Thread-safe. Takes time in proportion to
  /// the number of families of the registry, and of the series that end.
  template <class Instrument, class... LabelTypes>
  bool remove(const Family<Instrument, LabelTypes...>& family) const {
    return remove_family(*family.core_);
  }
  template <class Instrument>
  bool remove(const RuntimeFamily<Instrument>& family) const {
    return remove_family(*family.core_);
  }
  /// The same for an instrument that was registered without labels. False for a series of a family with labels:
  /// `family.remove(values...)` removes that.
  template <class Instrument>
  requires(std::is_class_v<Instrument> && !std::is_convertible_v<const Instrument&, MetricName>)  //
      bool remove(const Instrument& instrument) const {
    return remove_single(detail::InstrumentTraits<Instrument>::series(instrument));
  }
  /// The same by the name, to which the prefix is added. Removes all parts that have the const labels of this scope.
  /// False for a family of callbacks or collectors, which ends with their registrations.
  bool remove(MetricName name) const;

 protected:
  Scope(std::shared_ptr<detail::RegistryCore> core, std::string prefix, std::shared_ptr<detail::Batch> batch = nullptr,
        detail::OwnedLabels const_labels = {}) noexcept
      : core_(std::move(core)),
        prefix_(std::move(prefix)),
        batch_(std::move(batch)),
        const_labels_(std::move(const_labels)) {}

 private:
  friend detail::OpenBatch;
  friend detail::ScopeAccess;

  /// `labels` come after the label names that the definition has already.
  [[nodiscard]] std::shared_ptr<detail::FamilyCore> add_family(detail::Definition definition,
                                                               std::span<const LabelName> labels,
                                                               std::size_t closed_size, std::size_t max_series) const;

  template <class Instrument, class Options>
  [[nodiscard]] Instrument single(const Options& options) const {
    const auto core = add_family(detail::InstrumentTraits<Instrument>::definition(options), {}, 0,
                                 std::min<std::size_t>(options.max_series, 1));
    return detail::InstrumentTraits<Instrument>::make(core->the_only_series(), core->series);
  }

  template <class Instrument, class... LabelTypes, class Options, std::size_t Count>
  [[nodiscard]] auto family(const Options& options, const LabelName (&labels)[Count]) const {
    static_assert(sizeof...(LabelTypes) == 0 || sizeof...(LabelTypes) == Count,
                  "quipu: each label has a name and a type: counter<Method, int>(options, {\"method\", \"code\"})");
    using Made = detail::FamilyOf<Instrument, Count, LabelTypes...>;
    auto definition = detail::InstrumentTraits<Instrument>::definition(options);
    definition.columns.insert(definition.columns.begin(), Made::columns.begin(), Made::columns.end());
    return typename Made::Type(add_family(std::move(definition), labels, Made::closed_size, options.max_series));
  }

  bool remove_family(const detail::FamilyCore& family) const;
  bool remove_single(detail::CellRef series) const;
  [[nodiscard]] detail::OwnedLabels all_const_labels() const;

  template <class Instrument, class... LabelTypes, class Options, class Names>
  [[nodiscard]] RuntimeFamily<Instrument> runtime_family(const Options& options, const Names& names) const {
    detail::labels_named_at_run_time_are_text<LabelTypes...>();
    std::vector<LabelName> labels;
    for (const auto& name : names) labels.emplace_back(runtime(name));
    auto definition = detail::InstrumentTraits<Instrument>::definition(options);
    definition.columns.insert(definition.columns.begin(), labels.size(), {detail::LabelType::text});
    auto core = add_family(std::move(definition), labels, 0, options.max_series);
    if (labels.empty()) static_cast<void>(core->the_only_series());
    return RuntimeFamily<Instrument>(std::move(core));
  }

  Registration callback(MetricType type, const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                        std::function<double()> read) const;

  std::shared_ptr<detail::RegistryCore> core_;
  std::string prefix_;                    // with the underscore that joins it
  std::shared_ptr<detail::Batch> batch_;  // takes what is registered while it is open; null for none
  detail::OwnedLabels const_labels_;      // those that the registry does not have
};

}  // namespace quipu

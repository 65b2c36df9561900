#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "quipu/collector.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/detail/family/instrument_traits.hpp"
#include "quipu/error.hpp"
#include "quipu/family.hpp"
#include "quipu/label.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"
#include "quipu/sample.hpp"

namespace quipu {

namespace detail {

class RegistryCore;
class OpenBatch;
struct Batch;
struct ScopeAccess;

template <std::size_t Names, std::size_t Types>
constexpr void each_label_has_a_name_and_a_type() {
  static_assert(Names == Types,
                "quipu: each label has a name and a type: counter<Method, int>(options, {\"method\", \"code\"})");
}

/// The family of an instrument with `Count` labels, of these types. Without types all values are text.
template <class Instrument, std::size_t Count, class... LabelTypes>
struct FamilyOf {
  using Type = Family<Instrument, LabelTypes...>;
  static constexpr std::array<LabelColumn, sizeof...(LabelTypes)> columns{LabelTraits<LabelTypes>::column...};
  static constexpr std::size_t closed_size = closed_combinations<LabelTypes...>;
};
template <class... Names>
constexpr void label_names_are_one_list_in_braces() {
  static_assert(sizeof...(Names) == 0,
                "quipu: label names are one list in braces: counter(options, {\"method\", \"code\"})");
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
/// Registering the same definition again returns the same family, whose `max_series` stays as it is. RegistrationError
/// is thrown for a clash with another definition, a bad run-time name, a label used twice, `le` on a histogram,
/// `quantile` on a summary, or a name that the samples of another family have (`x_count` beside a histogram `x`).
/// Thread-safe. A scope is a handle: it keeps the registry's memory alive.
///
/// Without label names a registration returns the instrument itself. Its series is on the page at once, at 0. With
/// label names it returns the family. Label values are text unless types are given:
/// `registry.counter<Method, int>({.name = "requests_total"}, {"method", "code"})`.
class QUIPU_EXPORT Scope {
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

  // Without the braces.
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void counter(const MetricOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void fractional_counter(const MetricOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void gauge(const MetricOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void histogram(const HistogramOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void native_histogram(const NativeHistogramOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void summary(const SummaryOptions&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
  }

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
  template <class State, class... LabelTypes, class... Names>
  requires(sizeof...(Names) > 0) void stateset(const StateSetOptions<State>&, const Names&...) const {
    detail::label_names_are_one_list_in_braces<Names...>();
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
  [[nodiscard]] Registration gauge_callback(const MetricOptions& options, std::function<double()> read) const {
    return callback(MetricType::gauge, options, {}, std::move(read));
  }
  [[nodiscard]] Registration gauge_callback(const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                                            std::function<double()> read) const {
    return callback(MetricType::gauge, options, labels, std::move(read));
  }
  /// The same for a total that something else counts; it must never go down.
  [[nodiscard]] Registration counter_callback(const MetricOptions& options, std::function<double()> read) const {
    return callback(MetricType::counter, options, {}, std::move(read));
  }
  [[nodiscard]] Registration counter_callback(const MetricOptions& options, std::initializer_list<CallbackLabel> labels,
                                              std::function<double()> read) const {
    return callback(MetricType::counter, options, labels, std::move(read));
  }

  /// Reads `collector` at each scrape, until the registration ends. The registration must end before the collector
  /// does. `name` is any text that stands for the collector in `quipu_collector_up{collector}`, without the prefix; by
  /// default it is the full name of its first family. Collectors of the same name share a series.
  [[nodiscard]] Registration add(Collector& collector, std::string_view name = {}) const;
  /// The same for a collector that the registration keeps until it ends.
  [[nodiscard]] Registration add(std::shared_ptr<Collector> collector, std::string_view name = {}) const;

  /// The same registry with a longer prefix: `registry.subsystem("db").counter({.name = "queries_total"})`.
  [[nodiscard]] Scope subsystem(MetricPrefix prefix) const;

 protected:
  Scope(std::shared_ptr<detail::RegistryCore> core, std::string prefix,
        std::shared_ptr<detail::Batch> batch = nullptr) noexcept
      : core_(std::move(core)), prefix_(std::move(prefix)), batch_(std::move(batch)) {}

 private:
  friend detail::OpenBatch;
  friend detail::ScopeAccess;

  /// `labels` come after the label names that the definition has already.
  [[nodiscard]] std::shared_ptr<detail::FamilyCore> add_family(detail::Definition definition,
                                                               std::span<const LabelName> labels,
                                                               std::size_t closed_size, std::size_t max_series) const;

  template <class Instrument, class Options>
  [[nodiscard]] Instrument single(const Options& options) const {
    const auto core = add_family(detail::InstrumentTraits<Instrument>::definition(options), {}, 0, 1);
    return detail::InstrumentTraits<Instrument>::make(core->the_only_series(), core->series);
  }

  template <class Instrument, class... LabelTypes, class Options, std::size_t Count>
  [[nodiscard]] auto family(const Options& options, const LabelName (&labels)[Count]) const {
    if constexpr (sizeof...(LabelTypes) > 0) detail::each_label_has_a_name_and_a_type<Count, sizeof...(LabelTypes)>();
    using Made = detail::FamilyOf<Instrument, Count, LabelTypes...>;
    auto definition = detail::InstrumentTraits<Instrument>::definition(options);
    definition.columns.insert(definition.columns.begin(), Made::columns.begin(), Made::columns.end());
    return typename Made::Type(add_family(std::move(definition), labels, Made::closed_size, options.max_series));
  }

  [[nodiscard]] Registration callback(MetricType type, const MetricOptions& options,
                                      std::initializer_list<CallbackLabel> labels, std::function<double()> read) const;

  std::shared_ptr<detail::RegistryCore> core_;
  std::string prefix_;                    // with the underscore that joins it
  std::shared_ptr<detail::Batch> batch_;  // takes what is registered while it is open; null for none
};

}  // namespace quipu

#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "quipu/counter.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/error.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/label.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/sample.hpp"
#include "quipu/stateset.hpp"
#include "quipu/summary.hpp"

namespace quipu::detail {

/// Tells a registry how to define and make an instrument. A new instrument needs a specialisation of this. It also
/// needs a CellKind if it uses the cells of its series in a new way.
///
/// `definition(options)` is the definition of a family of the instrument, without labels that the options do not name.
/// It throws RegistrationError. `make(series, table)` is the instrument that writes a series of that table, and
/// `series(instrument)` that series.
template <class Instrument>
struct InstrumentTraits {
  static_assert(misuse<Instrument>,
                "quipu: this instrument has no specialisation of quipu::detail::InstrumentTraits with "
                "definition(options), make(series, table) and series(instrument)");
};

/// The part of a definition that the options of all instruments have. The options of a stateset have no unit and no
/// expiry, because a state lasts.
template <class Options>
[[nodiscard]] Definition common_definition(MetricType type, CellKind cells, const Options& options) {
  Definition made{.type = type, .cells = cells, .name = std::string(options.name.text()), .help = options.help};
  if constexpr (requires { options.unit; }) made.unit = options.unit;
  if constexpr (requires { options.idle_expiry; }) made.idle_expiry = options.idle_expiry;
  for (const ConstLabel& label : options.const_labels) made.const_labels.emplace_back(label.name.text(), label.value);
  return made;
}

template <>
struct InstrumentTraits<Counter> {
  [[nodiscard]] static Definition definition(const MetricOptions& options) {
    return common_definition(MetricType::counter, CellKind::whole, options);
  }
  [[nodiscard]] static Counter make(CellRef series, const SeriesTable&) noexcept { return Counter(series); }
  [[nodiscard]] static CellRef series(const Counter& made) noexcept { return made.ref_; }
};

template <>
struct InstrumentTraits<FractionalCounter> {
  [[nodiscard]] static Definition definition(const MetricOptions& options) {
    return common_definition(MetricType::counter, CellKind::real, options);
  }
  [[nodiscard]] static FractionalCounter make(CellRef series, const SeriesTable&) noexcept {
    return FractionalCounter(series);
  }
  [[nodiscard]] static CellRef series(const FractionalCounter& made) noexcept { return made.ref_; }
};

template <>
struct InstrumentTraits<Gauge> {
  [[nodiscard]] static Definition definition(const MetricOptions& options) {
    return common_definition(MetricType::gauge, CellKind::gauge, options);
  }
  [[nodiscard]] static Gauge make(CellRef series, const SeriesTable&) noexcept { return Gauge(series); }
  [[nodiscard]] static CellRef series(const Gauge& made) noexcept { return made.ref_; }
};

template <class State>
struct InstrumentTraits<StateSet<State>> {
  [[nodiscard]] static Definition definition(const StateSetOptions<State>& options) {
    Definition made = common_definition(MetricType::stateset, CellKind::states, options);
    made.columns = {LabelTraits<State>::column};
    if (!options.first) return made;
    const auto first = static_cast<std::uint64_t>(*options.first);
    if (first >= StateSet<State>::size) {
      throw RegistrationError("cannot register stateset " + made.name + ": the state it begins in, " +
                              std::to_string(first) + ", has no name");
    }
    made.first_states = std::uint64_t{1} << first;
    return made;
  }
  [[nodiscard]] static StateSet<State> make(CellRef series, const SeriesTable&) noexcept {
    return StateSet<State>(series);
  }
  [[nodiscard]] static CellRef series(const StateSet<State>& made) noexcept { return made.ref_; }
};

template <>
struct InstrumentTraits<Histogram> {
  [[nodiscard]] static Definition definition(const HistogramOptions& options) {
    Definition made = common_definition(MetricType::histogram, CellKind::histogram, options);
    made.bounds.assign(options.buckets.bounds().begin(), options.buckets.bounds().end());
    return made;
  }
  [[nodiscard]] static Histogram make(CellRef series, const SeriesTable& table) noexcept {
    return Histogram(series, *table.layout());
  }
  [[nodiscard]] static CellRef series(const Histogram& made) noexcept { return made.ref_; }
};

template <>
struct InstrumentTraits<NativeHistogram> {
  [[nodiscard]] static Definition definition(const NativeHistogramOptions& options) {
    Definition made = common_definition(MetricType::histogram, CellKind::native, options);
    made.native = native_spec(options);
    if (options.buckets) made.bounds.assign(options.buckets->bounds().begin(), options.buckets->bounds().end());
    return made;
  }
  [[nodiscard]] static NativeHistogram make(CellRef series, const SeriesTable&) noexcept {
    return NativeHistogram(series);
  }
  [[nodiscard]] static CellRef series(const NativeHistogram& made) noexcept { return made.ref_; }
};

template <>
struct InstrumentTraits<Summary> {
  [[nodiscard]] static Definition definition(const SummaryOptions& options) {
    Definition made = common_definition(MetricType::summary, CellKind::summary, options);
    made.native = summary_spec(options);
    return made;
  }
  [[nodiscard]] static Summary make(CellRef series, const SeriesTable&) noexcept { return Summary(series); }
  [[nodiscard]] static CellRef series(const Summary& made) noexcept { return made.ref_; }
};

}  // namespace quipu::detail

#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "quipu/buckets.hpp"
#include "quipu/build_info.hpp"
#include "quipu/collector.hpp"
#include "quipu/counter.hpp"
#include "quipu/error.hpp"
#include "quipu/exposition.hpp"
#include "quipu/family.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/name.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/sample.hpp"
#include "quipu/stateset.hpp"

namespace quipu {

/// A counter or a gauge to be registered.
struct MetricOptions {
  /// Without the prefix. A counter's name ends in "_total".
  MetricName name;
  /// What it counts or measures, for people: any text. Prometheus' linter wants one.
  std::string_view help = {};
  /// The unit, if it should be told apart from the name, which ends in it: "seconds", "bytes".
  std::string_view unit = {};
  /// The most series the family may have; the rest is counted in one overflow series.
  std::size_t max_series = 100'000;
};

struct HistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string_view help = {};
  std::string_view unit = {};
  /// Upper bounds: `quipu::buckets::exponential(1ms, 2, 12)`, or a list of numbers or durations.
  Buckets buckets = quipu::buckets::defaults();
  std::size_t max_series = 100'000;
};

struct InfoOptions {
  /// Without the prefix. Ends in "_info".
  MetricName name;
  std::string_view help = {};
  std::size_t max_series = 100'000;
};

template <class State>
struct StateSetOptions {
  /// Without the prefix. With it, it is also the name of the label that says which state a series is of.
  MetricName name;
  std::string_view help = {};
  /// The state that a series begins in; none unless given.
  std::optional<State> first = {};
  std::size_t max_series = 100'000;
};

struct NativeHistogramOptions {
  /// Without the prefix, with the unit: "http_request_duration_seconds".
  MetricName name;
  std::string_view help = {};
  std::string_view unit = {};
  /// How much wider each bucket is than the one before, at the most: the next lower of the factors there are, which are
  /// 2^(2^-n) for n from -4 to 8. From 1.1 comes 1.09 (n is 3).
  double growth_factor = 1.1;
  /// Values from -zero_threshold to zero_threshold are in one bucket.
  double zero_threshold = 0x1p-128;
  /// The most buckets of a series, from 1 to 400, the one at zero not counted. When a value needs another one: the
  /// series is reset if `min_reset_interval` says so; or else the bucket at zero becomes wider, up to
  /// `max_zero_threshold`; or else every two buckets become one, as often as it takes. (With the widest there are, for
  /// factor 65536, there may be more, but no more than 266.)
  std::uint32_t max_buckets = 160;
  double max_zero_threshold = 0;
  /// A series whose last reset (or beginning) is longer ago, and that was read since, may be reset: it begins again, at
  /// 0 and with the buckets that were asked for. 0 for never. A series whose buckets have become coarser is reset when
  /// it is first read after that time, which shows all that it counted until then.
  std::chrono::nanoseconds min_reset_interval{0};
  /// Classic upper bounds, at most 100, for a page that is to show both.
  std::optional<Buckets> buckets = {};
  std::size_t max_series = 100'000;
};

/// A label and its value, the same on every series of a registry.
struct ConstLabel {
  LabelName name;
  std::string_view value;
};

/// A label value of one callback.
using CallbackLabel = ConstLabel;

/// A label value of an info.
using InfoLabel = ConstLabel;

struct RegistryOptions {
  /// Stands before every name, joined by an underscore: prefix "shop" makes "shop_orders_total".
  MetricPrefix prefix = {};
  /// On every series, before the family's own labels.
  std::vector<ConstLabel> const_labels = {};
  /// Whether names, also of labels, may be any text in UTF-8 where they are given with `utf8()` or `runtime()`:
  /// "my.size". Prometheus can read such names from version 3 on. To a server that does not ask for them a page shows
  /// them escaped
  /// (`my_size`), so names that would then be equal are refused. A label whose name would then begin with two
  /// underscores is lost there, as those are Prometheus' own.
  bool utf8_names = false;
  /// Whether OpenMetrics pages say when each series was made, in `_created` lines. Most servers take these for series
  /// of their own. Protobuf, where they cost nothing, always says it.
  bool created_lines = false;
  /// Whether scrapers that ask for OpenMetrics 2.0.0 get it. Experimental: its specification is a release candidate.
  bool open_metrics_2 = false;
  /// Called for each family that is registered and does not follow Prometheus' advice on names, with what promtool
  /// would say of it: no unit, no "_total", no help. Without a lock, on the thread that registers. It must not throw.
  std::function<void(std::string_view family, std::string_view advice)> on_lint = {};
  /// Whether the page shows process_cpu_seconds_total, process_resident_memory_bytes and their like (Linux).
  bool process_metrics = true;
  /// Whether the page shows quipu_rejected_recordings_total and what else the library counts of itself.
  bool self_metrics = true;
  /// For `build_info{version,revision,compiler}`, under the prefix.
  BuildInfo build_info = {};
  /// Whether the page shows cxx_allocator_bytes, cxx_cpu_seconds_total and cxx_threads. To count its memory, glibc's
  /// malloc walks all free pieces, and makes threads that allocate there wait meanwhile: usually microseconds, but
  /// 14 ms with 100,000 pieces, and a third of a second with a million. Of another malloc it knows nothing.
  bool runtime_metrics = false;
};

namespace detail {

class RegistryCore;
class OpenBatch;
struct Batch;

/// Throws RegistrationError.
[[nodiscard]] NativeSpec native_spec(const NativeHistogramOptions& options);

template <class>
struct LabelNameFor {
  using type = LabelName;
};

}  // namespace detail

/// Where metrics are registered: a registry, or a part of one with a longer prefix.
///
/// Registering the same definition again gives the same family. A clash with another definition, a bad run-time name, a
/// label used twice, `le` on a histogram, or a name that another family's samples have (`x_count` beside a histogram
/// `x`) throws RegistrationError. Thread-safe. A handle that keeps the registry's memory alive.
///
/// Without label names a registration returns the instrument itself, which is on the page at 0 at once. With label
/// names it returns the family. Label values are text unless types are given:
/// `registry.counter<Method, int>({.name = "requests_total"}, "method", "code")`.
class Scope {
  using T = std::string_view;
  using L = LabelName;

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

  template <class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0) [[nodiscard]] CounterFamily<LabelTypes...> counter(
      const MetricOptions& options, typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<Counter, LabelTypes...>(options, {labels...});
  }
  template <class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0) [[nodiscard]] FractionalCounterFamily<LabelTypes...> fractional_counter(
      const MetricOptions& options, typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<FractionalCounter, LabelTypes...>(options, {labels...});
  }
  template <class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0)
      [[nodiscard]] GaugeFamily<LabelTypes...> gauge(const MetricOptions& options,
                                                     typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<Gauge, LabelTypes...>(options, {labels...});
  }
  template <class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0) [[nodiscard]] HistogramFamily<LabelTypes...> histogram(
      const HistogramOptions& options, typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<Histogram, LabelTypes...>(options, {labels...});
  }
  template <class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0) [[nodiscard]] NativeHistogramFamily<LabelTypes...> native_histogram(
      const NativeHistogramOptions& options, typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<NativeHistogram, LabelTypes...>(options, {labels...});
  }

  // One to four labels of text, without types. (Parameters of a deduced type could not be checked by the compiler.)
  [[nodiscard]] auto counter(const MetricOptions& o, L a) const { return counter<T>(o, a); }
  [[nodiscard]] auto counter(const MetricOptions& o, L a, L b) const { return counter<T, T>(o, a, b); }
  [[nodiscard]] auto counter(const MetricOptions& o, L a, L b, L c) const { return counter<T, T, T>(o, a, b, c); }
  [[nodiscard]] auto counter(const MetricOptions& o, L a, L b, L c, L d) const {
    return counter<T, T, T, T>(o, a, b, c, d);
  }
  [[nodiscard]] auto fractional_counter(const MetricOptions& o, L a) const { return fractional_counter<T>(o, a); }
  [[nodiscard]] auto fractional_counter(const MetricOptions& o, L a, L b) const {
    return fractional_counter<T, T>(o, a, b);
  }
  [[nodiscard]] auto fractional_counter(const MetricOptions& o, L a, L b, L c) const {
    return fractional_counter<T, T, T>(o, a, b, c);
  }
  [[nodiscard]] auto fractional_counter(const MetricOptions& o, L a, L b, L c, L d) const {
    return fractional_counter<T, T, T, T>(o, a, b, c, d);
  }
  [[nodiscard]] auto gauge(const MetricOptions& o, L a) const { return gauge<T>(o, a); }
  [[nodiscard]] auto gauge(const MetricOptions& o, L a, L b) const { return gauge<T, T>(o, a, b); }
  [[nodiscard]] auto gauge(const MetricOptions& o, L a, L b, L c) const { return gauge<T, T, T>(o, a, b, c); }
  [[nodiscard]] auto gauge(const MetricOptions& o, L a, L b, L c, L d) const {
    return gauge<T, T, T, T>(o, a, b, c, d);
  }
  [[nodiscard]] auto histogram(const HistogramOptions& o, L a) const { return histogram<T>(o, a); }
  [[nodiscard]] auto histogram(const HistogramOptions& o, L a, L b) const { return histogram<T, T>(o, a, b); }
  [[nodiscard]] auto histogram(const HistogramOptions& o, L a, L b, L c) const {
    return histogram<T, T, T>(o, a, b, c);
  }
  [[nodiscard]] auto histogram(const HistogramOptions& o, L a, L b, L c, L d) const {
    return histogram<T, T, T, T>(o, a, b, c, d);
  }
  [[nodiscard]] auto native_histogram(const NativeHistogramOptions& o, L a) const { return native_histogram<T>(o, a); }
  [[nodiscard]] auto native_histogram(const NativeHistogramOptions& o, L a, L b) const {
    return native_histogram<T, T>(o, a, b);
  }
  [[nodiscard]] auto native_histogram(const NativeHistogramOptions& o, L a, L b, L c) const {
    return native_histogram<T, T, T>(o, a, b, c);
  }
  [[nodiscard]] auto native_histogram(const NativeHistogramOptions& o, L a, L b, L c, L d) const {
    return native_histogram<T, T, T, T>(o, a, b, c, d);
  }

  /// The states of something, one of them or any: `registry.stateset<Phase>({.name = "phase", .first = Phase::start})`.
  template <class State>
  [[nodiscard]] StateSet<State> stateset(const StateSetOptions<State>& options) const {
    return single<StateSet<State>>(options);
  }
  template <class State, class... LabelTypes>
  requires(sizeof...(LabelTypes) > 0) [[nodiscard]] StateSetFamily<State, LabelTypes...> stateset(
      const StateSetOptions<State>& options, typename detail::LabelNameFor<LabelTypes>::type... labels) const {
    return family<StateSet<State>, LabelTypes...>(options, {labels...});
  }
  template <class State>
  [[nodiscard]] auto stateset(const StateSetOptions<State>& o, L a) const {
    return stateset<State, T>(o, a);
  }
  template <class State>
  [[nodiscard]] auto stateset(const StateSetOptions<State>& o, L a, L b) const {
    return stateset<State, T, T>(o, a, b);
  }

  /// Facts that do not change, as label values: `registry.info({.name = "build_info"}, {{"version", "1.2"}})`. On the
  /// page of scrapes that begin from now on, as a series that is 1. Registered again with other values, it is a second
  /// series.
  void info(const InfoOptions& options, std::initializer_list<InfoLabel> labels) const {
    info(options, std::span(labels.begin(), labels.size()));
  }
  void info(const InfoOptions& options, std::span<const InfoLabel> labels) const;

  /// A gauge whose value `read` returns at each scrape, until the registration ends. `read` is called without a lock,
  /// by several threads at once if there are several scrapes at once; what it throws costs its own series on that page.
  /// Several callbacks may share a family if their labels have the same names and different values.
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
  /// does.
  [[nodiscard]] Registration add(Collector& collector) const;
  /// The same for a collector that the registration keeps until it ends.
  [[nodiscard]] Registration add(std::shared_ptr<Collector> collector) const;

  /// The same registry with a longer prefix: `registry.subsystem("db").counter({.name = "queries_total"})`.
  [[nodiscard]] Scope subsystem(MetricPrefix prefix) const;

 protected:
  Scope(std::shared_ptr<detail::RegistryCore> core, std::string prefix,
        std::shared_ptr<detail::Batch> batch = nullptr) noexcept
      : core_(std::move(core)), prefix_(std::move(prefix)), batch_(std::move(batch)) {}

  [[nodiscard]] const std::shared_ptr<detail::RegistryCore>& core() const noexcept { return core_; }

  /// `labels` come after the label names that the definition has already.
  [[nodiscard]] std::shared_ptr<detail::FamilyCore> add_family(detail::Definition definition,
                                                               std::initializer_list<LabelName> labels,
                                                               std::size_t closed_size, std::size_t max_series) const;

 private:
  friend detail::OpenBatch;

  template <class Instrument, class Options>
  [[nodiscard]] Instrument single(const Options& options) const {
    const auto core = add_family(definition<Instrument>(options), {}, 0, 1);
    return detail::Access::make<Instrument>(core->the_only_series(), core->series);
  }

  template <class Instrument, class... LabelTypes, class Options>
  [[nodiscard]] Family<Instrument, LabelTypes...> family(const Options& options,
                                                         std::initializer_list<LabelName> labels) const {
    auto made = definition<Instrument>(options);
    made.columns.insert(made.columns.begin(), {detail::LabelTraits<LabelTypes>::column...});
    return Family<Instrument, LabelTypes...>(
        add_family(std::move(made), labels, detail::closed_combinations<LabelTypes...>, options.max_series));
  }

  template <class Instrument, class Options>
  [[nodiscard]] detail::Definition definition(const Options& options) const {
    detail::Definition made{.name = std::string(options.name.text()), .help = std::string(options.help)};
    if constexpr (requires { options.unit; }) made.unit = options.unit;
    if constexpr (requires { options.first; }) {
      define_states(made, options);
    } else if constexpr (std::is_same_v<Instrument, Histogram>) {
      made.type = MetricType::histogram;
      made.cells = detail::CellKind::histogram;
      made.bounds.assign(options.buckets.bounds().begin(), options.buckets.bounds().end());
    } else if constexpr (std::is_same_v<Instrument, NativeHistogram>) {
      made.type = MetricType::histogram;
      made.cells = detail::CellKind::native;
      made.native = detail::native_spec(options);
      if (options.buckets) made.bounds.assign(options.buckets->bounds().begin(), options.buckets->bounds().end());
    } else {
      made.type = std::is_same_v<Instrument, Gauge> ? MetricType::gauge : MetricType::counter;
      made.cells = std::is_same_v<Instrument, Counter> ? detail::CellKind::whole
                   : std::is_same_v<Instrument, Gauge> ? detail::CellKind::gauge
                                                       : detail::CellKind::real;
    }
    return made;
  }

  template <class State>
  static void define_states(detail::Definition& made, const StateSetOptions<State>& options) {
    made.type = MetricType::stateset;
    made.cells = detail::CellKind::states;
    made.columns = {detail::LabelTraits<State>::column};
    if (!options.first) return;
    const auto first = static_cast<std::uint64_t>(*options.first);
    if (first >= StateSet<State>::size) {
      throw RegistrationError("cannot register stateset " + made.name + ": the state it begins in, " +
                              std::to_string(first) + ", has no name");
    }
    made.first_states = std::uint64_t{1} << first;
  }

  [[nodiscard]] Registration callback(MetricType type, const MetricOptions& options,
                                      std::initializer_list<CallbackLabel> labels, std::function<double()> read) const;

  std::shared_ptr<detail::RegistryCore> core_;
  std::string prefix_;                    // with the underscore that joins it
  std::shared_ptr<detail::Batch> batch_;  // that what is registered belongs to, while it is open; null for none
};

/// All metrics of one page. A process may have several, which know nothing of each other.
/// A handle: copies are the same registry, whose memory lives as long as the last of them.
///
/// What a scrape of it promises: a counter never goes down from one scrape to the next; a histogram's buckets, count
/// and sum are of one moment; everything that happened before the scrape began (in the sense of the memory model) is on
/// the page; and it never makes a thread that records wait.
class Registry : public Scope {
 public:
  /// Throws RegistrationError for a bad run-time prefix or label name, or a label given twice.
  explicit Registry(const RegistryOptions& options = {});

  /// Shows every series to `visitor`. Thread-safe. Collectors and callbacks are called first, then families are shown
  /// in the order of their names; no lock is held while `visitor` is called. Throws what `visitor` throws, and
  /// std::bad_alloc.
  void collect(Visitor& visitor) const;

 private:
  friend std::unique_ptr<PageStream> open_page(const Registry& registry, const ScrapeRequest& request);
};

}  // namespace quipu

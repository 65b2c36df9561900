#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

namespace quipu {

namespace detail {
class RegisteredCollector;
struct CollectedFamily;

/// What can be gone through again and again and holds texts. A text alone is none.
template <class Range>
concept RangeOfTexts = !std::is_convertible_v<const Range&, std::string_view> && requires(const Range& range) {
  { *std::begin(range) } -> std::convertible_to<std::string_view>;
  std::end(range);
  requires !std::is_same_v<decltype(*std::begin(range)), std::string>;  // a view of it would outlive it
};
}  // namespace detail

/// Describes a family that a collector shows. The registry puts its prefix before the name and its const labels before
/// the labels.
struct FamilyDescription {
  /// A counter's ends in "_total", an info's in "_info".
  std::string name;
  std::string help = {};
  MetricType type = MetricType::gauge;
  /// Without `le`, `quantile`, and the label that holds the state of a stateset.
  std::vector<std::string> labels = {};
  std::string unit = {};
};

/// The label values of a series, from any range of texts: `{"get", path}`, a `std::vector<std::string>`, an array.
/// Refers to it, so it is valid only in the call that it is passed to.
class LabelValues {
 public:
  constexpr LabelValues() noexcept = default;
  LabelValues(std::initializer_list<std::string_view> values) noexcept
      : range_(values.begin()), size_(values.size()), visit_(visit_list) {}
  template <detail::RangeOfTexts Range>
  LabelValues(const Range& values)
      : range_(&values),
        size_(static_cast<std::size_t>(std::distance(std::begin(values), std::end(values)))),
        visit_(visit_range<Range>) {}

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Calls take(std::string_view) with each of them.
  template <class Take>
  void for_each(Take take) const {
    if (size_ == 0) return;
    visit_(range_, size_, &take, [](void* to, std::string_view value) { (*static_cast<Take*>(to))(value); });
  }

 private:
  using Each = void (*)(void* to, std::string_view value);

  static void visit_list(const void* list, std::size_t size, void* to, Each each) {
    const auto* const values = static_cast<const std::string_view*>(list);
    std::for_each_n(values, size, [&](std::string_view value) { each(to, value); });
  }
  template <class Range>
  static void visit_range(const void* range, std::size_t /*size*/, void* to, Each each) {
    for (const auto& value : *static_cast<const Range*>(range)) each(to, value);
  }

  const void* range_ = nullptr;
  std::size_t size_ = 0;
  void (*visit_)(const void* range, std::size_t size, void* to, Each each) = nullptr;
};

// The values of one series, by the type of its family. Exemplars, native buckets and the texts in them are the
// collector's, and have to last until the call that they are passed to returns.

/// Of a counter, a gauge, an info, whose value is 1, or a family of unknown type. A counter is neither negative nor
/// NaN.
struct NumberValue {
  Number value;
  std::optional<WallTime> created = {};       // when counting began; only for counters
  std::optional<ExemplarView> exemplar = {};  // only for counters
  std::optional<WallTime> timestamp = {};     // as in Sample
};

/// Of a histogram, with classic buckets, native ones, or both.
struct HistogramValue {
  std::vector<double> bounds = {};         // finite upper bounds, increasing
  std::vector<std::uint64_t> counts = {};  // one for each bound, and one for +Inf; not cumulative
  double sum = 0;
  std::optional<WallTime> created = {};                     // when counting began
  std::vector<std::optional<ExemplarView>> exemplars = {};  // by bucket; may be shorter than `counts`
  /// Has the same total count. Where there are no bounds, `counts` may be left out.
  std::optional<NativeBuckets> native = {};
  std::optional<WallTime> timestamp = {};  // as in Sample
};

/// Of a summary.
struct SummaryValue {
  std::vector<Quantile> quantiles = {};  // increasing, from 0 to 1
  std::uint64_t count = 0;               // of all observations
  double sum = 0;                        // of all observations
  std::optional<WallTime> created = {};  // when counting began
  std::optional<WallTime> timestamp = {};
};

/// Of a stateset.
struct StateSetValue {
  struct State {
    std::string name;
    bool is_on;
  };
  std::vector<State> states;  // all states, each once
  std::optional<WallTime> timestamp = {};
};

/// One of these, or a number alone.
class SeriesValue {
 public:
  template <class T>
  requires std::is_convertible_v<T, Number> SeriesValue(T number) : value_(NumberValue{.value = number}) {}
  SeriesValue(NumberValue value) : value_(std::move(value)) {}
  SeriesValue(HistogramValue value) : value_(std::move(value)) {}
  SeriesValue(SummaryValue value) : value_(std::move(value)) {}
  SeriesValue(StateSetValue value) : value_(std::move(value)) {}

  using Any = std::variant<NumberValue, HistogramValue, SummaryValue, StateSetValue>;
  [[nodiscard]] Any& any() noexcept { return value_; }

 private:
  Any value_;
};

/// Receives the values of one family, in one call of a collector. Valid until the call returns.
class QUIPU_EXPORT FamilySamples {
 public:
  /// Adds one series. There is one label value for each label of the family; it becomes valid UTF-8 and is cut as that
  /// of a Family. If a series is added twice, the first value counts.
  ///
  /// Throws CollectorError if the number of label values is wrong, or the value is not one of the family's type: bounds
  /// or quantiles that do not increase, counts that are not one more than the bounds, a time before 1970. If the
  /// collector lets this exception pass, the scrape goes on without the collector.
  void add(LabelValues label_values, SeriesValue value) const;
  /// For a family without labels.
  void add(SeriesValue value) const { add({}, std::move(value)); }

 private:
  friend class Samples;
  FamilySamples(std::vector<detail::CollectedFamily>& families, std::size_t index) noexcept
      : families_(&families), index_(index) {}

  std::vector<detail::CollectedFamily>* families_;
  std::size_t index_;
};

/// Receives a collector's values for one scrape.
class QUIPU_EXPORT Samples {
 public:
  /// The family with the name in its description. Throws CollectorError if the collector has not described it.
  [[nodiscard]] FamilySamples family(std::string_view name);
  /// The family with this description, for this scrape. Throws CollectorError if the description breaks a rule of the
  /// registry, if another family of the collector has the name, or if the collector has described others.
  FamilySamples family(const FamilyDescription& description);

  /// Adds one series to the family with this name. Throws as both functions do.
  void add(std::string_view family, LabelValues label_values, SeriesValue value) {
    this->family(family).add(label_values, std::move(value));
  }
  void add(std::string_view family, SeriesValue value) { this->family(family).add(std::move(value)); }

 private:
  friend class detail::RegisteredCollector;
  using MakeFamily = std::function<detail::CollectedFamily(const FamilyDescription&)>;
  Samples(std::vector<detail::CollectedFamily>& families, const MakeFamily& make_family) noexcept;

  std::vector<detail::CollectedFamily>& families_;
  const MakeFamily& make_family_;
  const bool has_described_;
};

/// Reads values that something else keeps, at the time of each scrape. A function of Samples is a collector, too:
///
///     auto registration = registry.add([&](quipu::Samples& samples) {
///       samples.family({.name = "pool_connections", .help = "Connections by pool.", .labels = {"pool"}})
///           .add({"main"}, pool.size());
///     });
class QUIPU_EXPORT Collector {
 public:
  virtual ~Collector() = default;
  /// The families that the collector shows. Called once, when the collector is added to a registry: what clashes with
  /// another family, or breaks a rule, is refused there.
  ///
  /// A collector that describes nothing may show any family: it describes it where it shows it, by Samples::family().
  /// Nothing can be refused beforehand then. A family that clashes with a registered one or with that of another
  /// collector, in type, labels or names of samples, is left out of the page, and counted. Equal ones are one family.
  [[nodiscard]] virtual std::vector<FamilyDescription> describe() const { return {}; }
  /// Called for scrapes, without a lock. If it throws, this collector's families are missing on the page, and the
  /// failure is counted in `quipu_collector_errors_total{collector,reason}` and reported to RegistryOptions::on_error.
  /// `quipu_collector_duration_seconds{collector}` says how long the call took. Callbacks are called in the same way.
  ///
  /// A scrape without a deadline calls it on the scraping thread. A scrape with a deadline (every scrape of the
  /// endpoint has one) calls it on a thread of the registry, on which no signal of the program is delivered. In both
  /// cases collectors are called one after another, in the order in which they were added. With a deadline, a call that
  /// takes more than 100 ms no longer holds up the collectors after it: they are called meanwhile.
  ///
  /// Scrapes with a deadline share calls, and make them one at a time. (Scrapes without a deadline each make a call of
  /// their own at any time, and so does a scrape with a deadline that begins inside a call. So several threads may call
  /// it at once.) A scrape that finds a call under way waits for the next one, which shows what happened before the
  /// scrape began. If the next one is not over at the deadline, the page shows what the call under way found. A
  /// collector that has shown nothing by then is missing, and is counted as a timeout. A scrape does not wait for a
  /// call that has been under way for longer than the scrape has time.
  virtual void collect(Samples& samples) = 0;
};

/// Keeps a collector or a callback in its registry, and removes it when the registration ends. The end waits for calls
/// that are under way, even if no scrape waits for them any more, so what they use may be destroyed afterwards. It does
/// not wait for the call in which it happens. Inside a call of a collector, callback or health check, it does not wait
/// for a call either that is itself ending another one, and so perhaps waits for this one: then what both use must last
/// until both are over. Movable; may outlive the registry. Thread-compatible.
class [[nodiscard(
    "quipu: keep the registration: when it ends, no page shows any more what it stands for")]] QUIPU_EXPORT
    Registration {
 public:
  Registration() noexcept = default;
  explicit Registration(std::shared_ptr<detail::RegisteredCollector> collector) noexcept;
  Registration(Registration &&) noexcept;
  Registration& operator=(Registration&&) noexcept;
  ~Registration();

  /// Removes it now.
  void end() noexcept;

 private:
  std::shared_ptr<detail::RegisteredCollector> collector_;
};

}  // namespace quipu

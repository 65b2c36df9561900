#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "quipu/counter.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/detail/family/instrument_traits.hpp"
#include "quipu/detail/family/label_key.hpp"
#include "quipu/detail/family/label_lookup.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/label.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/sample.hpp"
#include "quipu/stateset.hpp"
#include "quipu/summary.hpp"

namespace quipu {

namespace detail {

struct QUIPU_EXPORT FamilyCore {
  FamilyCore(Definition made, std::size_t closed_size, SeriesLimits limits);

  /// The series of a family without labels, made if there is none. A handle to nowhere when the family has ended.
  /// Throws std::bad_alloc.
  [[nodiscard]] CellRef the_only_series();

  const Definition definition;
  SeriesTable series;
  /// The names of the labels that tell series apart.
  const std::span<const std::string> key_names;
  /// The same names as a key, to compare them fast.
  const std::vector<std::uint64_t> key_of_names;
};

/// Where a family points that was never registered: it never has a series. Throws std::bad_alloc, the first time.
[[nodiscard]] QUIPU_EXPORT std::shared_ptr<FamilyCore> unregistered_family();

/// One of the holders of a series, which the last of them removes. Movable.
class QUIPU_EXPORT HeldSeries {
 public:
  HeldSeries() noexcept = default;
  /// Makes the series if there is none. Holds nothing if memory runs out, or if it is the overflow series.
  HeldSeries(const std::shared_ptr<FamilyCore>& family, LabelKey& key, std::size_t index) noexcept;
  HeldSeries(HeldSeries&& other) noexcept
      : family_(std::move(other.family_)), series_(std::exchange(other.series_, CellRef{})) {}
  HeldSeries& operator=(HeldSeries&& other) noexcept {
    if (this != &other) {
      end();
      family_ = std::move(other.family_);
      series_ = std::exchange(other.series_, CellRef{});
    }
    return *this;
  }
  ~HeldSeries() { end(); }

  void end() noexcept;
  /// A handle to nowhere after the end.
  [[nodiscard]] CellRef series() const noexcept { return series_; }

 private:
  std::shared_ptr<FamilyCore> family_;  // null if nothing is held
  CellRef series_;
};

inline constexpr std::size_t most_closed_combinations = 4096;

/// The number of combinations of closed labels; 0 if any label is open, or there are too many to index.
template <class... LabelTypes>
inline constexpr std::size_t closed_combinations = [] {
  std::size_t product = sizeof...(LabelTypes) == 0 ? 0 : 1;
  for (const std::size_t size : {std::size_t{1}, (closed_size<LabelTypes>)...}) {
    product *= size;
    if (product > most_closed_combinations) return std::size_t{0};
  }
  return product;
}();

/// What all kinds of families do in the same way. `Self` has `lookup()`, which says what is looked up where.
template <class Self, class Instrument>
class FamilyOperations {
 public:
  using InstrumentType = Instrument;

  /// The series with these labels, in any order; made at 0 if there is none: `with({{"method", m}, {"code", 200}})`.
  /// Also takes any range of names and values that is there already: a std::map<std::string, std::string>, a
  /// std::vector of pairs, a span of LabelPair or of Label. For labels that are known when the program is written, give
  /// the values alone: the compiler checks them, and it takes two thirds of the time.
  ///
  /// A value has the type of its label: text, an integer of any type if it is in the range of the label's, a bool or
  /// the label's own enum. A text is also taken for a bool or an enum if it is one of its names, and for an integer if
  /// the whole of it is one in decimal. Throws LabelError if a label is missing, unknown, given twice or given another
  /// value, and std::bad_alloc only if there are more than 16 labels. If memory runs out for the series, what the
  /// instrument records goes nowhere.
  ///
  /// Thread-safe. A series that exists is found without a lock or an allocation.
  [[nodiscard]] Instrument with(const LabelPairs& labels) const {
    return made(self().lookup().find_or_create(labels.all()));
  }
  /// The series with these labels, if there is one. Makes none. Takes the family's lock if there is none. Throws as
  /// with(), and std::bad_alloc for texts that are long or not valid UTF-8.
  [[nodiscard]] std::optional<Instrument> find_with(const LabelPairs& labels) const {
    return found(self().lookup().find(labels.all()));
  }
  /// Makes the series with these labels if there is none. Throws as with().
  void create_with(const LabelPairs& labels) const { static_cast<void>(with(labels)); }
  /// Removes the series with these labels, as remove(). Throws as find_with().
  bool remove_with(const LabelPairs& labels) const { return self().lookup().remove(labels.all()); }

  /// Removes the series for which `should_remove(labels)` is true, and returns how many. The labels are the family's
  /// own, in order, and valid during the call. `should_remove` is called without a lock, so it may use the family.
  /// Throws std::bad_alloc, and what `should_remove` throws.
  template <class Predicate>
  std::size_t remove_if(Predicate should_remove) const {
    return self().lookup().remove_if(&should_remove, [](void* predicate, Labels labels) -> bool {
      return (*static_cast<Predicate*>(predicate))(labels);
    });
  }

 protected:
  [[nodiscard]] Instrument made(CellRef series) const noexcept {
    return InstrumentTraits<Instrument>::make(series, self().lookup().core.series);
  }
  [[nodiscard]] std::optional<Instrument> found(CellRef series) const noexcept {
    return series == CellRef{} ? std::nullopt : std::optional(made(series));
  }

 private:
  [[nodiscard]] const Self& self() const noexcept { return static_cast<const Self&>(*this); }
};

template <class... T>
struct Types {};

template <class T>
using OwnedValue = std::conditional_t<std::is_convertible_v<T, std::string_view>, std::string, T>;

/// The values of the labels that are fixed in a curried family. They do not change.
template <class... Fixed>
struct CurriedValues {
  CurriedValues() : CurriedValues(std::tuple<OwnedValue<Fixed>...>()) {}
  explicit CurriedValues(std::tuple<OwnedValue<Fixed>...> made) : values(std::move(made)) {
    std::apply([this](const auto&... value) { stored = {as_stored(value)...}; }, values);
  }
  CurriedValues(const CurriedValues&) = delete;
  CurriedValues& operator=(const CurriedValues&) = delete;

  static StoredValue as_stored(const std::string& text) noexcept { return StoredValue(std::string_view(text)); }
  template <class Number>
  static StoredValue as_stored(Number number) noexcept {
    return StoredValue(static_cast<std::uint64_t>(number));
  }

  const std::tuple<OwnedValue<Fixed>...> values;
  std::array<StoredValue, sizeof...(Fixed)> stored;  // the same; point there
};

template <class T>
[[nodiscard]] OwnedValue<T> owned_value(const FamilyCore& core, LabelArgument<T> value) {
  if constexpr (std::is_convertible_v<T, std::string_view>) {
    return stored_text(core, value.get());
  } else {
    return value.get();
  }
}

/// The family with one more label fixed: the first one that is open.
template <class Instrument, class Fixed, class Open>
struct CurryOnce;

}  // namespace detail

template <class Instrument, class Fixed, class Open>
class BasicCurriedFamily;

namespace detail {

template <class Instrument, class... Fixed, class First, class... Rest>
struct CurryOnce<Instrument, Types<Fixed...>, Types<First, Rest...>> {
  using Value = First;
  using Made = BasicCurriedFamily<Instrument, Types<Fixed..., First>, Types<Rest...>>;
};

/// There is no family without a label.
struct NoLabelIsOpen {};
template <class Instrument, class... Fixed, class Last>
struct CurryOnce<Instrument, Types<Fixed...>, Types<Last>> {
  using Value = Last;
  using Made = NoLabelIsOpen;
};

template <class Curried, std::size_t More>
struct CurryTimes {
  using Made = Curried;
};
template <class Instrument, class Fixed, class Open, std::size_t More>
requires(More > 0) struct CurryTimes<BasicCurriedFamily<Instrument, Fixed, Open>, More>
    : CurryTimes<typename CurryOnce<Instrument, Fixed, Open>::Made, More - 1> {
};

template <class Count>
constexpr void curry_takes_one_value() {
  static_assert(Count::value == 1,
                "quipu: curry fixes the first label, and takes one value: family.curry(Method::get).curry(200)");
}
template <std::size_t Open>
constexpr void curry_leaves_a_label_open() {
  static_assert(Open > 1, "quipu: curry leaves a label open: where all values are known, call the family with them");
}

}  // namespace detail

template <class AnyFamily, class... Arguments>
class [[nodiscard("quipu: keep the timer until what it measures has ended")]] BasicFamilyTimer;
template <class AnyFamily, class... Arguments>
class [[nodiscard("quipu: keep the tracker: when it ends, it takes away what was added")]] BasicFamilyTracker;
class Scope;

/// An instrument whose series goes with this object, which `Family::scoped` returns: `session->inc()`.
///
/// Its end removes the series from the page, with what it counted since the last scrape. If several of them have the
/// same label values at once, the last one does. So does it if the series was there before. Removing the series
/// otherwise does no harm: what this object records then goes nowhere, and its end leaves a new series alone.
///
/// Movable. Recording is thread-safe, as for the instrument; moving and ending are thread-compatible. The end takes the
/// family's lock, and waits for threads that are just looking series up: a few microseconds.
template <class Instrument>
class [[nodiscard]] ScopedSeries {
 public:
  /// Records nowhere.
  ScopedSeries() noexcept = default;
  ScopedSeries(detail::HeldSeries held, Instrument instrument) noexcept
      : held_(std::move(held)), instrument_(instrument) {}
  ScopedSeries(ScopedSeries&& other) noexcept
      : held_(std::move(other.held_)), instrument_(std::exchange(other.instrument_, Instrument())) {}
  ScopedSeries& operator=(ScopedSeries&& other) noexcept {
    held_ = std::move(other.held_);
    instrument_ = std::exchange(other.instrument_, Instrument());
    return *this;
  }

  /// The instrument. Copies of it record nowhere once the series is removed.
  [[nodiscard]] const Instrument& operator*() const& noexcept { return instrument_; }
  [[nodiscard]] const Instrument* operator->() const& noexcept { return &instrument_; }
  // Not of a temporary, whose series would be gone at once.
  void operator*() const&& = delete;
  void operator->() const&& = delete;

  /// Ends now instead of at the end of the scope.
  void end() noexcept {
    held_.end();
    instrument_ = Instrument();
  }

 private:
  detail::HeldSeries held_;
  Instrument instrument_;
};

/// All series of one name, one for each combination of label values: `requests(Method::get, 200).inc()`.
///
/// A handle: it keeps the family's memory alive, and may outlive the registry (no page shows what it records then).
/// Thread-safe. Finding a series takes no lock and does not allocate. Making one takes the family's lock. When the
/// family or its registry has `max_series` series, further label values are counted together in one series whose labels
/// all say "overflow".
///
/// Label values are any text. What is not valid UTF-8 is replaced by U+FFFD. A value longer than
/// RegistryOptions::max_label_value_size is cut, where a code point ends. Both are slower to look up, and take the
/// family's lock. Values that are equal then are one series. How long a look-up takes does not depend on how much is
/// cut off.
template <class Instrument, class... LabelTypes>
class Family : public detail::FamilyOperations<Family<Instrument, LabelTypes...>, Instrument> {
 public:
  static_assert(sizeof...(LabelTypes) > 0,
                "quipu: a family has labels; without labels there is the instrument itself, as quipu::Counter");

 private:
  using Curry = detail::CurryOnce<Instrument, detail::Types<>, detail::Types<LabelTypes...>>;

 public:
  /// A family that is on no page, and has no series: what its instruments record goes nowhere. Throws std::bad_alloc.
  Family() : core_(detail::unregistered_family()) {}
  explicit Family(std::shared_ptr<detail::FamilyCore> core) noexcept : core_(std::move(core)) {}
  // There is no move, so that no family is ever without a core.
  Family(const Family&) noexcept = default;
  template <class OtherInstrument, class... OtherTypes>
  Family(const Family<OtherInstrument, OtherTypes...>&) {
    static_assert(detail::misuse<OtherInstrument>,
                  "quipu: this family has another instrument or labels of other types than what it is assigned to");
  }
  Family& operator=(const Family&) noexcept = default;

  /// The series with these label values. If there is none, it is made, at 0. Keep the instrument where the values are
  /// known beforehand. Never throws. If memory runs out, what the instrument records goes nowhere.
  [[nodiscard]] Instrument operator()(detail::LabelArgument<LabelTypes>... values) const noexcept {
    detail::SeriesTable& table = core_->series;
    std::size_t index = detail::SeriesTable::not_closed;
    if constexpr (closed_size_ > 0) {
      index = closed_index(values...);
      if (index != detail::SeriesTable::not_closed) [[likely]] {
        const detail::CellRef series = table.closed(index);
        if (series != detail::CellRef{}) [[likely]] {
          return detail::InstrumentTraits<Instrument>::make(series, table);
        }
      }
    } else {
      const detail::CellRef series = table.find(as_stored(values.get())...);
      if (series != detail::CellRef{}) [[likely]] {
        return detail::InstrumentTraits<Instrument>::make(series, table);
      }
    }
    return make(index, values...);
  }

  // For a wrong number of values.
  template <class... Values>
  requires(sizeof...(Values) != sizeof...(LabelTypes)) Instrument operator()(const Values&...) const {
    static_assert(detail::misuse<Instrument, Values...>, "quipu: a family takes one value for each of its labels");
  }

  /// The series with these label values, if there is one. Makes none. Takes the family's lock if there is none. Throws
  /// std::bad_alloc, but only for texts that are long or not valid UTF-8.
  [[nodiscard]] std::optional<Instrument> find(detail::LabelArgument<LabelTypes>... values) const {
    const detail::SeriesTable& table = core_->series;
    detail::CellRef series;
    if constexpr (closed_size_ > 0) {
      const std::size_t index = closed_index(values...);
      if (index != detail::SeriesTable::not_closed) series = table.closed(index);
    } else {
      series = table.find(as_stored(values.get())...);
    }
    if (series == detail::CellRef{}) {
      detail::LabelKey key(table.max_put());
      (key.put(as_stored(values.get())), ...);
      series = table.find_stored(key);
    }
    return this->found(series);
  }

  /// Makes the series with these label values if there is none, so that it is on the page, at 0, before anything
  /// happens.
  void create(detail::LabelArgument<LabelTypes>... values) const noexcept { static_cast<void>((*this)(values...)); }

  /// Makes the series of every combination, so that all of them are on the page, at 0, from the start.
  void create_all() const noexcept {
    static_assert(closed_size_ > 0, "quipu: create_all() needs labels of closed types: bool, and enums with names");
    for (std::size_t index = 0; index < closed_size_; ++index) {
      create_nth(index, std::index_sequence_for<LabelTypes...>());
    }
  }

  /// The series with these label values, made if there is none, for as long as the returned object lives:
  /// `auto session = sessions.scoped("player-17"); session->inc();`. Never throws. If memory runs out, what it records
  /// goes nowhere. When there is no room for the series, it records in the overflow series, which stays.
  [[nodiscard]] ScopedSeries<Instrument> scoped(detail::LabelArgument<LabelTypes>... values) const noexcept {
    std::size_t index = detail::SeriesTable::not_closed;
    if constexpr (closed_size_ > 0) index = closed_index(values...);
    try {
      detail::LabelKey key(core_->series.max_put());
      (key.put(as_stored(values.get())), ...);
      detail::HeldSeries held(core_, key, index);
      const auto instrument = detail::InstrumentTraits<Instrument>::make(held.series(), core_->series);
      return {std::move(held), instrument};
    } catch (...) {  // out of memory, for label values too long for the stack
      return {};
    }
  }

  /// Removes the series from the page and forgets its value. Returns whether there was one. What its handles record
  /// afterwards goes nowhere. The same values, used again, make a new series at 0. Throws std::bad_alloc, but only for
  /// texts that are long or not valid UTF-8.
  bool remove(detail::LabelArgument<LabelTypes>... values) const {
    detail::LabelKey key(core_->series.max_put());
    (key.put(as_stored(values.get())), ...);
    return core_->series.remove(key);
  }

  /// Removes every series. What their handles record afterwards goes nowhere.
  void clear() const { core_->series.clear(); }

  /// For tests: all values begin again at 0, exemplars are forgotten, and statesets are in their first states. Handles
  /// stay valid. Series begin anew, so a server takes it for a restart. What was recorded before the call is taken off.
  /// What is recorded meanwhile counts on, except in native histograms and summaries, where it may be lost. They are
  /// not reset where memory cannot be reused (without membarrier(2)). Something that is still tracked by a gauge makes
  /// it negative at its end. Waits as a scrape does. Throws std::bad_alloc; some series may have been reset by then.
  void reset() const { core_->series.reset(); }

  /// How many series there are.
  [[nodiscard]] std::size_t size() const { return core_->series.size(); }

  /// Starts a timer whose label values are given later: `auto timer = latency.time(); … timer.labels("/cart");`
  BasicFamilyTimer<Family, detail::LabelArgument<LabelTypes>...> time() const noexcept requires
      requires(Instrument instrument) {
    instrument.time();
  }
  { return BasicFamilyTimer<Family, detail::LabelArgument<LabelTypes>...>(*this); }

  /// The part of the family whose first label has this value, to give the other values later:
  ///
  ///     auto get = requests.curry(Method::get);
  ///     get(200).inc();
  ///
  /// It keeps the value, and may be curried again. Throws std::bad_alloc.
  [[nodiscard]] typename Curry::Made curry(detail::LabelArgument<typename Curry::Value> first) const {
    detail::curry_leaves_a_label_open<sizeof...(LabelTypes)>();
    if constexpr (sizeof...(LabelTypes) > 1) {
      return typename Curry::Made(*this, std::tuple(detail::owned_value(*core_, first)));
    } else {
      return {};
    }
  }
  template <class... Values>
  requires(sizeof...(Values) != 1) void curry(const Values&...) const {
    detail::curry_takes_one_value<std::integral_constant<std::size_t, sizeof...(Values)>>();
  }

  /// Adds `step` from when the label values are given until the end of the scope:
  /// `auto in_flight = busy.track(); … in_flight.labels("/cart");`
  [[nodiscard("quipu: keep the tracker: when it ends, it takes away what was added")]] BasicFamilyTracker<
      Family, detail::LabelArgument<LabelTypes>...>
  track(double step = 1) const noexcept requires std::same_as<Instrument, Gauge> {
    return BasicFamilyTracker<Family, detail::LabelArgument<LabelTypes>...>(*this, step);
  }

 private:
  friend Scope;
  friend detail::FamilyOperations<Family, Instrument>;
  template <class, class, class>
  friend class BasicCurriedFamily;

  static constexpr std::size_t closed_size_ = detail::closed_combinations<LabelTypes...>;
  static constexpr std::array<detail::LabelDomain, sizeof...(LabelTypes)> domains_{detail::label_domain<LabelTypes>...};

  [[nodiscard]] detail::LabelLookup lookup() const noexcept { return {*core_, domains_}; }

  static std::string_view as_stored(std::string_view text) noexcept { return text; }
  template <class Number>
  requires(!std::is_convertible_v<Number, std::string_view>) static std::uint64_t as_stored(Number number) noexcept {
    return static_cast<std::uint64_t>(number);
  }

  /// Not inlined, so that the code of a lookup stays small.
  [[gnu::noinline]] Instrument make(std::size_t index, detail::LabelArgument<LabelTypes>... values) const noexcept {
    try {
      detail::LabelKey key(core_->series.max_put());
      (key.put(as_stored(values.get())), ...);
      return detail::InstrumentTraits<Instrument>::make(core_->series.find_or_create(key, index), core_->series);
    } catch (...) {  // out of memory, for label values too long for the stack
      return {};
    }
  }

  static std::size_t closed_index(detail::LabelArgument<LabelTypes>... values) noexcept {
    std::size_t index = 0;
    bool is_known = true;
    ((is_known &= static_cast<std::uint64_t>(values.get()) < detail::closed_size<LabelTypes>,
      index = index * detail::closed_size<LabelTypes> + static_cast<std::size_t>(values.get())),
     ...);
    return is_known ? index : detail::SeriesTable::not_closed;
  }

  template <std::size_t... Column>
  void create_nth(std::size_t index, std::index_sequence<Column...>) const noexcept {
    std::array<std::size_t, sizeof...(LabelTypes)> digits{};
    constexpr std::array<std::size_t, sizeof...(LabelTypes)> sizes{detail::closed_size<LabelTypes>...};
    for (std::size_t i = digits.size(); i-- > 0; index /= sizes[i]) digits[i] = index % sizes[i];
    create(static_cast<LabelTypes>(digits[Column])...);
  }

  std::shared_ptr<detail::FamilyCore> core_;
};

template <class... LabelTypes>
using CounterFamily = Family<Counter, LabelTypes...>;
template <class... LabelTypes>
using FractionalCounterFamily = Family<FractionalCounter, LabelTypes...>;
template <class... LabelTypes>
using GaugeFamily = Family<Gauge, LabelTypes...>;
template <class State, class... LabelTypes>
using StateSetFamily = Family<StateSet<State>, LabelTypes...>;
template <class... LabelTypes>
using HistogramFamily = Family<Histogram, LabelTypes...>;
template <class... LabelTypes>
using NativeHistogramFamily = Family<NativeHistogram, LabelTypes...>;
template <class... LabelTypes>
using SummaryFamily = Family<Summary, LabelTypes...>;

/// The part of a family whose first labels have fixed values; see Family::curry. It has the operations of a family, for
/// the labels that are open and for the series that have the fixed values. A look-up takes as long as in the family.
///
/// A handle that keeps the fixed values, and the family's memory alive. Copies share both. Thread-safe.
template <class Instrument, class... Fixed, class... Open>
class BasicCurriedFamily<Instrument, detail::Types<Fixed...>, detail::Types<Open...>>
    : public detail::FamilyOperations<BasicCurriedFamily<Instrument, detail::Types<Fixed...>, detail::Types<Open...>>,
                                      Instrument> {
  using Curry = detail::CurryOnce<Instrument, detail::Types<Fixed...>, detail::Types<Open...>>;
  using Values = detail::CurriedValues<Fixed...>;

 public:
  /// A part of a family that is on no page. Throws std::bad_alloc.
  BasicCurriedFamily() : values_(std::make_shared<const Values>()) {}
  /// For Family::curry.
  BasicCurriedFamily(const Family<Instrument, Fixed..., Open...>& family,
                     std::tuple<detail::OwnedValue<Fixed>...> values)
      : family_(family), values_(std::make_shared<const Values>(std::move(values))) {}
  // There is no move, so that none is ever without values.
  BasicCurriedFamily(const BasicCurriedFamily&) noexcept = default;
  BasicCurriedFamily& operator=(const BasicCurriedFamily&) noexcept = default;

  // As in Family.

  [[nodiscard]] Instrument operator()(detail::LabelArgument<Open>... values) const noexcept {
    return std::apply([&](const auto&... fixed) { return family_(detail::LabelArgument<Fixed>(fixed)..., values...); },
                      values_->values);
  }
  [[nodiscard]] std::optional<Instrument> find(detail::LabelArgument<Open>... values) const {
    return std::apply(
        [&](const auto&... fixed) { return family_.find(detail::LabelArgument<Fixed>(fixed)..., values...); },
        values_->values);
  }
  void create(detail::LabelArgument<Open>... values) const noexcept { static_cast<void>((*this)(values...)); }
  bool remove(detail::LabelArgument<Open>... values) const {
    return std::apply(
        [&](const auto&... fixed) { return family_.remove(detail::LabelArgument<Fixed>(fixed)..., values...); },
        values_->values);
  }

  /// Removes every series that has the fixed values, and no other. Goes through the whole family. Throws
  /// std::bad_alloc.
  void clear() const {
    this->remove_if([](Labels) { return true; });
  }
  /// How many series have the fixed values. Goes through the whole family. Throws std::bad_alloc.
  [[nodiscard]] std::size_t size() const { return lookup().size(); }

  BasicFamilyTimer<BasicCurriedFamily, detail::LabelArgument<Open>...> time() const noexcept requires
      requires(Instrument instrument) {
    instrument.time();
  }
  { return BasicFamilyTimer<BasicCurriedFamily, detail::LabelArgument<Open>...>(*this); }
  BasicFamilyTracker<BasicCurriedFamily, detail::LabelArgument<Open>...> track(
      double step = 1) const noexcept requires std::same_as<Instrument, Gauge> {
    return BasicFamilyTracker<BasicCurriedFamily, detail::LabelArgument<Open>...>(*this, step);
  }

  [[nodiscard]] typename Curry::Made curry(detail::LabelArgument<typename Curry::Value> first) const {
    detail::curry_leaves_a_label_open<sizeof...(Open)>();
    if constexpr (sizeof...(Open) > 1) {
      return typename Curry::Made(
          family_, std::tuple_cat(values_->values, std::tuple(detail::owned_value(lookup().core, first))));
    } else {
      return {};
    }
  }
  template <class... More>
  requires(sizeof...(More) != 1) void curry(const More&...) const {
    detail::curry_takes_one_value<std::integral_constant<std::size_t, sizeof...(More)>>();
  }

 private:
  friend detail::FamilyOperations<BasicCurriedFamily, Instrument>;

  [[nodiscard]] detail::LabelLookup lookup() const noexcept {
    detail::LabelLookup lookup = family_.lookup();
    lookup.fixed = values_->stored;
    return lookup;
  }

  Family<Instrument, Fixed..., Open...> family_;
  std::shared_ptr<const Values> values_;
};

namespace detail {

template <class AnyFamily, std::size_t Fixed>
struct CurriedOf;
template <class Instrument, class... LabelTypes, std::size_t Fixed>
struct CurriedOf<Family<Instrument, LabelTypes...>, Fixed>
    : CurryTimes<BasicCurriedFamily<Instrument, Types<>, Types<LabelTypes...>>, Fixed> {
  static_assert(Fixed > 0 && Fixed < sizeof...(LabelTypes));
};

}  // namespace detail

/// What a family is after so many times curry(): `CurriedFamily<CounterFamily<Method, int>, 1>`.
template <class AnyFamily, std::size_t Fixed>
using CurriedFamily = typename detail::CurriedOf<AnyFamily, Fixed>::Made;

/// A timer of a family, for label values that are known only at the end (a status, say). It records the time until the
/// end of the scope, in the series that `labels()` named last. Without `labels()` it records nothing. Movable.
/// Thread-compatible.
template <class AnyFamily, class... Arguments>
class BasicFamilyTimer {
 public:
  [[nodiscard("quipu: keep the timer until what it measures has ended")]] explicit BasicFamilyTimer(
      const AnyFamily& family) noexcept
      : family_(family) {}

  /// Chooses the series to record in. The time goes on. Throws as a look-up in the family: never, if the compiler
  /// knows the labels.
  void labels(Arguments... values) noexcept(looks_up_without_error) { timer_.into(family_(values...)); }
  /// The same by name, as `with()`. Throws LabelError.
  void labels_with(const detail::LabelPairs& labels) { timer_.into(family_.with(labels)); }

  /// As Timer::stop.
  Timer::Clock::duration stop() noexcept { return timer_.stop(); }
  Timer::Clock::duration stop(const Exemplar& exemplar) noexcept
      requires(detail::takes_exemplars<typename AnyFamily::InstrumentType>) {
    return timer_.stop(exemplar);
  }
  template <ExemplarMaker Make>
  requires(detail::takes_exemplars<typename AnyFamily::InstrumentType>) Timer::Clock::duration stop(Make make) {
    return timer_.stop(std::move(make));
  }
  /// Records with these label values, now and only now.
  Timer::Clock::duration stop(Arguments... values) noexcept(looks_up_without_error) {
    labels(values...);
    return timer_.stop();
  }
  /// Records nothing, now or at the end of the scope.
  void discard() noexcept { timer_.discard(); }

  /// Time since the start.
  [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return timer_.elapsed(); }

 private:
  static constexpr bool looks_up_without_error = std::is_nothrow_invocable_v<const AnyFamily&, Arguments...>;

  AnyFamily family_;
  BasicTimer<typename AnyFamily::InstrumentType> timer_{typename AnyFamily::InstrumentType()};
};

template <class... LabelTypes>
using FamilyTimer = BasicFamilyTimer<HistogramFamily<LabelTypes...>, detail::LabelArgument<LabelTypes>...>;
template <class... LabelTypes>
using NativeFamilyTimer = BasicFamilyTimer<NativeHistogramFamily<LabelTypes...>, detail::LabelArgument<LabelTypes>...>;
template <class... LabelTypes>
using GaugeFamilyTimer = BasicFamilyTimer<GaugeFamily<LabelTypes...>, detail::LabelArgument<LabelTypes>...>;
template <class... LabelTypes>
using SummaryFamilyTimer = BasicFamilyTimer<SummaryFamily<LabelTypes...>, detail::LabelArgument<LabelTypes>...>;

/// Tracks in a gauge family something whose label values are known only later, or change while it goes on (a stage,
/// say). The step is in the series that `labels()` named last; before that, in none. Movable. Thread-compatible.
template <class AnyFamily, class... Arguments>
class BasicFamilyTracker {
 public:
  [[nodiscard("quipu: keep the tracker: when it ends, it takes away what was added")]] BasicFamilyTracker(
      const AnyFamily& family, double step) noexcept
      : family_(family), tracker_(Gauge().track(step)) {}

  /// Moves the step to the series with these label values; see GaugeTracker::into. Throws as a look-up in the family:
  /// never, if the compiler knows the labels.
  void labels(Arguments... values) noexcept(std::is_nothrow_invocable_v<const AnyFamily&, Arguments...>) {
    tracker_.into(family_(values...));
  }
  /// The same by name, as `with()`. Throws LabelError.
  void labels_with(const detail::LabelPairs& labels) { tracker_.into(family_.with(labels)); }

  /// Takes it away now instead of at the end of the scope. There is nothing to move then.
  void end() noexcept { tracker_.end(); }

 private:
  AnyFamily family_;
  GaugeTracker tracker_;
};

template <class... LabelTypes>
using FamilyTracker = BasicFamilyTracker<GaugeFamily<LabelTypes...>, detail::LabelArgument<LabelTypes>...>;

}  // namespace quipu

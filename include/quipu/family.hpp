#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "quipu/counter.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/detail/family/instrument_traits.hpp"
#include "quipu/detail/family/label_key.hpp"
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

  /// The series of a family without labels. Throws std::bad_alloc.
  [[nodiscard]] CellRef the_only_series();

  const Definition definition;
  SeriesTable series;
};

/// Where a family points that was never registered: it never has a series. Throws std::bad_alloc, the first time.
[[nodiscard]] QUIPU_EXPORT std::shared_ptr<FamilyCore> unregistered_family();

/// Removes each series for which should_remove(labels) is true, and returns how many. No lock is held during these
/// calls.
QUIPU_EXPORT std::size_t remove_series_if(FamilyCore& core, void* context,
                                          bool (*should_remove)(void* context, Labels labels));

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

}  // namespace detail

template <class Instrument, class... LabelTypes>
class BasicFamilyTimer;
template <class... LabelTypes>
class FamilyTracker;

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
class Family {
 public:
  static_assert(sizeof...(LabelTypes) > 0);

  /// A family that is on no page, and has no series: what its instruments record goes nowhere. Throws std::bad_alloc.
  Family() : core_(detail::unregistered_family()) {}
  explicit Family(std::shared_ptr<detail::FamilyCore> core) noexcept : core_(std::move(core)) {}
  // There is no move, so that no family is ever without a core.
  Family(const Family&) noexcept = default;
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

  /// Makes the series with these label values if there is none, so that it is on the page, at 0, before anything
  /// happens.
  void create(detail::LabelArgument<LabelTypes>... values) const noexcept { static_cast<void>((*this)(values...)); }

  /// Makes the series of every combination, so that all of them are on the page, at 0, from the start.
  void create_all() const noexcept requires(detail::closed_combinations<LabelTypes...> > 0) {
    for (std::size_t index = 0; index < closed_size_; ++index) {
      create_nth(index, std::index_sequence_for<LabelTypes...>());
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

  /// Removes the series for which `should_remove(labels)` is true, and returns how many. The labels are the family's
  /// own, in order, and valid during the call. `should_remove` is called without a lock, so it may use the family.
  /// Throws std::bad_alloc, and what `should_remove` throws.
  template <class Predicate>
  std::size_t remove_if(Predicate should_remove) const {
    return detail::remove_series_if(*core_, &should_remove, [](void* predicate, Labels labels) -> bool {
      return (*static_cast<Predicate*>(predicate))(labels);
    });
  }

  /// Removes every series.
  void clear() const { core_->series.clear(); }

  /// How many series there are.
  [[nodiscard]] std::size_t size() const { return core_->series.size(); }

  /// Starts a timer whose label values are given later: `auto timer = latency.time(); … timer.labels("/cart");`
  [[nodiscard]] BasicFamilyTimer<Instrument, LabelTypes...> time() const noexcept requires
      requires(Instrument instrument) {
    instrument.time();
  }
  { return BasicFamilyTimer<Instrument, LabelTypes...>(*this); }

  /// Adds `step` from when the label values are given until the end of the scope:
  /// `auto in_flight = busy.track(); … in_flight.labels("/cart");`
  [[nodiscard]] FamilyTracker<LabelTypes...> track(
      double step = 1) const noexcept requires std::same_as<Instrument, Gauge> {
    return FamilyTracker<LabelTypes...>(*this, step);
  }

 private:
  static constexpr std::size_t closed_size_ = detail::closed_combinations<LabelTypes...>;

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

/// A timer of a family, for label values that are known only at the end (a status, say). It records the time until the
/// end of the scope, in the series that `labels()` named last. Without `labels()` it records nothing. Movable.
/// Thread-compatible.
template <class Instrument, class... LabelTypes>
class [[nodiscard]] BasicFamilyTimer {
 public:
  explicit BasicFamilyTimer(Family<Instrument, LabelTypes...> family) noexcept : family_(std::move(family)) {}

  /// Chooses the series to record in. The time goes on.
  void labels(detail::LabelArgument<LabelTypes>... values) noexcept { timer_.into(family_(values...)); }

  /// As Timer::stop.
  Timer::Clock::duration stop() noexcept { return timer_.stop(); }
  Timer::Clock::duration stop(const Exemplar& exemplar) noexcept requires detail::TakesExemplars<Instrument> {
    return timer_.stop(exemplar);
  }
  template <ExemplarMaker Make>
  requires detail::TakesExemplars<Instrument> Timer::Clock::duration stop(Make make) {
    return timer_.stop(std::move(make));
  }
  /// Records with these label values, now and only now.
  Timer::Clock::duration stop(detail::LabelArgument<LabelTypes>... values) noexcept {
    labels(values...);
    return timer_.stop();
  }
  /// Records nothing, now or at the end of the scope.
  void discard() noexcept { timer_.discard(); }

  /// Time since the start.
  [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return timer_.elapsed(); }

 private:
  Family<Instrument, LabelTypes...> family_;
  BasicTimer<Instrument> timer_{Instrument()};
};

template <class... LabelTypes>
using FamilyTimer = BasicFamilyTimer<Histogram, LabelTypes...>;
template <class... LabelTypes>
using NativeFamilyTimer = BasicFamilyTimer<NativeHistogram, LabelTypes...>;
template <class... LabelTypes>
using GaugeFamilyTimer = BasicFamilyTimer<Gauge, LabelTypes...>;
template <class... LabelTypes>
using SummaryFamilyTimer = BasicFamilyTimer<Summary, LabelTypes...>;

/// Tracks in a gauge family something whose label values are known only later, or change while it goes on (a stage,
/// say). The step is in the series that `labels()` named last; before that, in none. Movable. Thread-compatible.
template <class... LabelTypes>
class [[nodiscard]] FamilyTracker {
 public:
  FamilyTracker(Family<Gauge, LabelTypes...> family, double step) noexcept
      : family_(std::move(family)), tracker_(Gauge().track(step)) {}

  /// Moves the step to the series with these label values; see GaugeTracker::into.
  void labels(detail::LabelArgument<LabelTypes>... values) noexcept { tracker_.into(family_(values...)); }

  /// Takes it away now instead of at the end of the scope. There is nothing to move then.
  void end() noexcept { tracker_.end(); }

 private:
  Family<Gauge, LabelTypes...> family_;
  GaugeTracker tracker_;
};

}  // namespace quipu

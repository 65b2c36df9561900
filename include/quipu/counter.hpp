#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/counter_cells.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/detail/instruments/arguments.hpp"
#include "quipu/exemplar.hpp"

namespace quipu {

namespace detail {
template <class Instrument>
struct InstrumentTraits;
}

/// A whole number that only goes up: requests served, bytes sent. Exact to 2^64 - 1, after which it wraps.
///
/// A handle: two words, trivially copyable, cheap to pass and to keep. It never dangles. It records nothing if its
/// series has been removed, its registry is gone, or it was default-constructed.
/// Thread-safe. Recording never throws, allocates, locks or calls the system.
class Counter {
 public:
  Counter() noexcept = default;

  void inc() const noexcept { detail::add_whole(ref_, 1); }

  /// Adds `step`. A negative step is not added; it counts as a rejected recording (`quipu_rejected_recordings_total`).
  /// For fractions of a unit there is FractionalCounter.
  template <detail::WholeNumber Step>
  void inc(Step step) const noexcept {
    if constexpr (std::signed_integral<Step>) {
      if (step < 0) [[unlikely]] {
        return detail::reject(detail::Rejection::negative_step);
      }
    }
    detail::add_whole(ref_, static_cast<std::uint64_t>(step));
  }

  /// The same, and keeps the exemplar, with the step as its value. Reads the clock; may allocate the first time.
  void inc(const Exemplar& exemplar) const noexcept { inc_with(1, exemplar); }
  template <detail::WholeNumber Step>
  void inc(Step step, const Exemplar& exemplar) const noexcept {
    inc_with(step, exemplar);
  }
  /// The same with the exemplar that `make` returns, if one is due (see ExemplarMaker). If none is due, the check takes
  /// a few nanoseconds.
  template <ExemplarMaker Make>
  void inc(Make make) const {
    inc_with(1, make);
  }
  template <detail::WholeNumber Step, ExemplarMaker Make>
  void inc(Step step, Make make) const {
    inc_with(step, make);
  }

  // For wrong steps.
  template <class Step, class... More>
  requires((!detail::WholeNumber<Step> && !detail::ExemplarArgument<Step>) ||
           sizeof...(More) > 1) void inc(const Step&, const More&...) const {
    static_assert(detail::misuse<Step>,
                  "quipu: inc() of a counter takes a whole number, and perhaps an exemplar: inc(1, "
                  "quipu::Exemplar{{\"trace_id\", id}}); a fractional_counter() takes fractions");
  }
  template <detail::WholeNumber Step, class Other>
  requires(!detail::ExemplarArgument<Other>) void inc(const Step&, const Other&) const {
    static_assert(detail::misuse<Other>, "quipu: after the step comes an Exemplar, or a function that returns one");
  }

  /// The count so far; 0 if the series is gone. Includes all recordings that happened before the call, and may include
  /// some that happen during it.
  [[nodiscard]] std::uint64_t value() const noexcept { return detail::read_whole(ref_); }

  /// Whether both record to the same series.
  friend bool operator==(const Counter&, const Counter&) = default;
  template <class Number>
  requires std::is_arithmetic_v<Number>
  friend bool operator==(const Counter&, Number) {
    static_assert(detail::misuse<Number>, "quipu: compare its value(): requests.value() == 3");
    return false;
  }

 private:
  friend detail::InstrumentTraits<Counter>;
  explicit Counter(detail::CellRef ref) noexcept : ref_(ref) {}

  template <class Step, class Source>
  void inc_with(Step step, Source& exemplar) const {
    inc(step);
    if constexpr (std::signed_integral<Step>) {
      if (step < 0) return;
    }
    detail::attach(ref_, detail::counter_place, static_cast<double>(step), exemplar);
  }

  detail::CellRef ref_;
};

/// A sum of non-negative amounts that need not be whole: seconds of CPU time, euros. It is a double, so a step below
/// about 1e-16 of the total is lost. Where that matters, count in whole units (`Counter`).
///
/// A handle like Counter, with the same promises. Thread-safe.
class FractionalCounter {
 public:
  FractionalCounter() noexcept = default;

  /// Adds `step`. A negative step, NaN or infinity is not added; it counts as a rejected recording.
  void inc(double step) const noexcept {
    if (!(step >= 0)) [[unlikely]] {
      return detail::reject(step < 0 ? detail::Rejection::negative_step : detail::Rejection::not_a_number);
    }
    if (step > std::numeric_limits<double>::max()) [[unlikely]] {
      return detail::reject(detail::Rejection::not_a_number);
    }
    detail::add_real(ref_, step);
  }

  /// As in Counter.
  void inc(double step, const Exemplar& exemplar) const noexcept { inc_with(step, exemplar); }
  template <ExemplarMaker Make>
  void inc(double step, Make make) const {
    inc_with(step, make);
  }

  /// The total so far; 0 if the series is gone. May miss recordings that happen during the call.
  [[nodiscard]] double value() const noexcept { return detail::read_real(ref_); }

  friend bool operator==(const FractionalCounter&, const FractionalCounter&) = default;
  template <class Number>
  requires std::is_arithmetic_v<Number>
  friend bool operator==(const FractionalCounter&, Number) {
    static_assert(detail::misuse<Number>, "quipu: compare its value(): seconds.value() == 0.5");
    return false;
  }

 private:
  friend detail::InstrumentTraits<FractionalCounter>;
  explicit FractionalCounter(detail::CellRef ref) noexcept : ref_(ref) {}

  template <class Source>
  void inc_with(double step, Source& exemplar) const {
    inc(step);
    if (!(step >= 0 && step <= std::numeric_limits<double>::max())) return;
    detail::attach(ref_, detail::counter_place, step, exemplar);
  }

  detail::CellRef ref_;
};

}  // namespace quipu

#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "quipu/detail/cells/rejection.hpp"
#include "quipu/exemplar.hpp"

/// What recording takes, and what the compiler says of other arguments.
namespace quipu::detail {

template <class Type>
concept WholeNumber = std::integral<Type> && !std::same_as<Type, bool>;

template <class Type>
concept ExemplarSource = std::is_convertible_v<const Type&, Exemplar> || ExemplarMaker<Type>;

template <class Type>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class Type>
concept Observed = std::is_convertible_v<const Type&, double> || is_duration<Type>;

/// Calls observe(count) if the value and the count can be observed. Counts a rejected recording if not.
template <WholeNumber Count, class Observe>
void if_observable(double value, Count count, Observe observe) noexcept {
  if (value != value) [[unlikely]] {
    return reject(Rejection::not_a_number);
  }
  if constexpr (std::is_signed_v<Count>) {
    if (count < 0) [[unlikely]] {
      return reject(Rejection::negative_step);
    }
  }
  if (count != 0) observe(static_cast<std::uint64_t>(count));
}

/// Only to be instantiated in static assertions, which it fails.
template <class...>
inline constexpr bool never = false;

/// The part of a counter that refuses what is no step.
struct RefusedSteps {
  template <class Step, class... More>
  requires(!WholeNumber<Step> && !ExemplarSource<Step>) void inc(const Step&, const More&...) const {
    static_assert(never<Step>,
                  "quipu: a Counter goes up by a whole number; for fractions of a unit there is FractionalCounter");
  }
  template <WholeNumber Step, class Other>
  requires(!ExemplarSource<Other>) void inc(const Step&, const Other&) const {
    static_assert(never<Other>, "quipu: after the step comes an Exemplar, or a function that returns one");
  }
  friend bool operator==(const RefusedSteps&, const RefusedSteps&) = default;
};

/// The part of a histogram or summary that refuses what cannot be observed.
struct RefusedObservations {
  template <class Value, class... More>
  requires(!Observed<Value>) void observe(const Value&, const More&...) const {
    static_assert(never<Value>,
                  "quipu: what is observed is a number, or a std::chrono duration, which is taken in seconds");
  }
  template <Observed Value, class Other>
  requires(!WholeNumber<Other> && !ExemplarSource<Other>) void observe(const Value&, const Other&) const {
    static_assert(never<Other>,
                  "quipu: after the value comes how often it was observed, a whole number; or an "
                  "Exemplar or a function that returns one");
  }
  friend bool operator==(const RefusedObservations&, const RefusedObservations&) = default;
};

}  // namespace quipu::detail

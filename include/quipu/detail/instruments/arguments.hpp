#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/exemplar.hpp"

/// What recording takes, and what the compiler says of other arguments.
namespace quipu::detail {

template <class Type>
concept WholeNumber = std::integral<Type> && !std::same_as<Type, bool>;

template <class Type>
concept ExemplarArgument = std::is_convertible_v<const Type&, Exemplar> || ExemplarMaker<Type>;

template <class Type>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

template <class Type>
concept Observable = std::is_convertible_v<const Type&, double> || is_duration<Type>;

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

/// The part of a histogram or summary that refuses what cannot be observed.
struct RefusedObservations {
  template <class Value, class... More>
  requires(!Observable<Value> || sizeof...(More) > 1) void observe(const Value&, const More&...) const {
    static_assert(
        misuse<Value>,
        "quipu: observe() takes a number or a duration, and perhaps how often it was observed, or an exemplar: "
        "observe(0.1, 3), observe(0.1, quipu::Exemplar{{\"trace_id\", id}})");
  }
  template <Observable Value, class Other>
  requires(!WholeNumber<Other> && !ExemplarArgument<Other>) void observe(const Value&, const Other&) const {
    static_assert(
        misuse<Other>,
        "quipu: after the value comes how often it was observed, a whole number; or an Exemplar or a function "
        "that returns one");
  }
  friend bool operator==(const RefusedObservations&, const RefusedObservations&) = default;
};

}  // namespace quipu::detail

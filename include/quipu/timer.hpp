#pragma once

#include <chrono>
#include <utility>

#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/exemplar.hpp"

namespace quipu {

namespace detail {

/// Whether the instrument observes a time with an exemplar.
template <class Instrument>
inline constexpr bool takes_exemplars = requires(Instrument instrument, std::chrono::nanoseconds time,
                                                 const Exemplar& exemplar) {
  instrument.observe(time, exemplar);
};

/// Not inlined, so that the code of timers stays small.
template <class Instrument>
[[gnu::noinline]] void observe_with_current_exemplar(const Instrument& histogram,
                                                     std::chrono::steady_clock::duration time) noexcept {
  histogram.observe(time, current_exemplar);
}

/// Records what a timer measured, with the exemplar of the registry's source if the instrument takes one.
template <class Instrument>
void observe_time(const Instrument& instrument, std::chrono::steady_clock::duration time) noexcept {
  if constexpr (takes_exemplars<Instrument>) {
    if (has_exemplar_sources.load(std::memory_order_relaxed)) [[unlikely]] {
      return observe_with_current_exemplar(instrument, time);
    }
  }
  if constexpr (requires { instrument.observe(time); }) {
    instrument.observe(time);
  } else {
    instrument.set(time);
  }
}

}  // namespace detail

/// Measures time by the steady clock, from its construction until `stop()` or the end of the scope. A histogram or
/// summary then observes it; a gauge is set to it. Movable. Thread-compatible.
template <class Instrument>
class [[nodiscard("quipu: keep the timer until what it measures has ended")]] BasicTimer {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard("quipu: keep the timer until what it measures has ended")]] explicit BasicTimer(
      Instrument instrument) noexcept
      : instrument_(instrument), start_(Clock::now()), running_(true) {}
  BasicTimer(BasicTimer && other) noexcept
      : instrument_(other.instrument_), start_(other.start_), running_(std::exchange(other.running_, false)) {}
  BasicTimer& operator=(BasicTimer&& other) noexcept {
    if (this != &other) {
      stop();
      instrument_ = other.instrument_;
      start_ = other.start_;
      running_ = std::exchange(other.running_, false);
    }
    return *this;
  }
  ~BasicTimer() { stop(); }

  /// Time since the start.
  [[nodiscard]] Clock::duration elapsed() const noexcept { return Clock::now() - start_; }

  /// Records the time since the start and returns it. The end of the scope then records nothing. Returns zero, and
  /// records nothing, if the timer was stopped or discarded before. The exemplar is that of the registry's source
  /// (RegistryOptions::exemplars), if it has one and the instrument takes exemplars.
  Clock::duration stop() noexcept {
    return stop_with([this](Clock::duration time) { detail::observe_time(instrument_, time); });
  }

  /// The same with an exemplar, or with a function that makes one (see ExemplarMaker).
  Clock::duration stop(const Exemplar& exemplar) noexcept requires(detail::takes_exemplars<Instrument>) {
    return stop_with([&](Clock::duration time) { instrument_.observe(time, exemplar); });
  }
  template <ExemplarMaker Make>
  requires(detail::takes_exemplars<Instrument>) Clock::duration stop(Make make) {
    return stop_with([&](Clock::duration time) { instrument_.observe(time, std::move(make)); });
  }

  /// Records nothing, now or at the end of the scope.
  void discard() noexcept { running_ = false; }

  /// Changes the instrument in which the time is recorded. The time goes on.
  void into(Instrument instrument) noexcept { instrument_ = instrument; }

 private:
  template <class Record>
  Clock::duration stop_with(Record record) {
    if (!std::exchange(running_, false)) return Clock::duration::zero();
    const Clock::duration time = elapsed();
    record(time);
    return time;
  }

  Instrument instrument_;
  Clock::time_point start_;
  bool running_;
};

}  // namespace quipu

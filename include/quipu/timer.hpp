#pragma once

#include <chrono>
#include <utility>

#include "quipu/exemplar.hpp"

namespace quipu {

namespace detail {

/// Whether the instrument observes a time with an exemplar.
template <class Instrument>
concept TakesExemplars = requires(Instrument instrument, std::chrono::nanoseconds time, const Exemplar& exemplar) {
  instrument.observe(time, exemplar);
};

}  // namespace detail

/// Measures time by the steady clock, from its construction until `stop()` or the end of the scope. A histogram or
/// summary then observes it; a gauge is set to it. Movable. Thread-compatible.
template <class Instrument>
class [[nodiscard]] BasicTimer {
 public:
  using Clock = std::chrono::steady_clock;

  explicit BasicTimer(Instrument instrument) noexcept : instrument_(instrument), start_(Clock::now()), running_(true) {}
  BasicTimer(BasicTimer&& other) noexcept
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
  /// records nothing, if the timer was stopped or discarded before.
  Clock::duration stop() noexcept {
    return stop_with([this](Clock::duration time) {
      if constexpr (requires { instrument_.observe(time); }) {
        instrument_.observe(time);
      } else {
        instrument_.set(time);
      }
    });
  }

  /// The same with an exemplar, or with a function that makes one (see ExemplarMaker).
  Clock::duration stop(const Exemplar& exemplar) noexcept requires detail::TakesExemplars<Instrument> {
    return stop_with([&](Clock::duration time) { instrument_.observe(time, exemplar); });
  }
  template <ExemplarMaker Make>
  requires detail::TakesExemplars<Instrument> Clock::duration stop(Make make) {
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

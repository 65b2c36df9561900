#pragma once

#include <chrono>
#include <concepts>
#include <type_traits>
#include <utility>

#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/cells/gauge_cells.hpp"
#include "quipu/timer.hpp"

namespace quipu {

namespace detail {
template <class Instrument>
struct InstrumentTraits;
}

class Gauge;
class [[nodiscard("quipu: keep the tracker: when it ends, it takes away what was added")]] GaugeTracker;
using GaugeTimer = BasicTimer<Gauge>;

/// A number that goes up and down: requests in flight, a temperature, the length of a queue. Any double.
///
/// A handle like Counter, with the same promises. Thread-safe: of concurrent `set` calls one wins, and no `inc` or
/// `dec` is lost. Recording never throws, allocates, locks or calls the system, except that set_to_current_time() reads
/// the clock.
class Gauge {
 public:
  Gauge() noexcept = default;

  void set(double value) const noexcept { detail::set_gauge(ref_, value); }
  /// Sets seconds, with fractions.
  template <class Rep, class Period>
  void set(std::chrono::duration<Rep, Period> duration) const noexcept {
    set(std::chrono::duration<double>(duration).count());
  }
  void add(double step) const noexcept { detail::add_gauge(ref_, step); }
  void sub(double step) const noexcept { detail::add_gauge(ref_, -step); }
  void inc(double step = 1) const noexcept { add(step); }
  void dec(double step = 1) const noexcept { sub(step); }

  // For wrong values.
  template <class Value>
  requires(!std::convertible_to<const Value&, double>) void set(const Value&) const {
    static_assert(detail::misuse<Value>, "quipu: set() of a gauge takes a number or a duration");
  }

  /// Sets seconds since the Unix epoch, with fractions.
  void set_to_current_time() const noexcept {
    set(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  }

  /// Adds `step` now and takes it away at the end of the scope: `auto in_flight = busy.track();`
  GaugeTracker track(double step = 1) const noexcept;

  /// Starts a timer that sets the seconds until the end of the scope: `auto timer = last_run.time();`
  GaugeTimer time() const noexcept;

  /// A value that the gauge had during the call. It includes all recordings that happened before. 0 if the series is
  /// gone. Takes a lock if threads change the gauge without a pause.
  [[nodiscard]] double value() const noexcept { return detail::read_gauge(ref_); }

  friend bool operator==(const Gauge&, const Gauge&) = default;
  template <class Number>
  requires std::is_arithmetic_v<Number>
  friend bool operator==(const Gauge&, Number) {
    static_assert(detail::misuse<Number>, "quipu: compare its value(): size.value() == 3");
    return false;
  }

 private:
  friend detail::InstrumentTraits<Gauge>;
  explicit Gauge(detail::CellRef ref) noexcept : ref_(ref) {}

  detail::CellRef ref_;
};

/// Takes away from a gauge, once, what `Gauge::track` added. Movable. Thread-compatible.
class GaugeTracker {
 public:
  GaugeTracker(GaugeTracker&& other) noexcept : gauge_(other.gauge_), step_(std::exchange(other.step_, 0)) {}
  GaugeTracker& operator=(GaugeTracker&& other) noexcept {
    if (this != &other) {
      end();
      gauge_ = other.gauge_;
      step_ = std::exchange(other.step_, 0);
    }
    return *this;
  }
  ~GaugeTracker() { end(); }

  /// Changes the gauge: takes the step away from the old one and adds it to the new one, where it stays until the end.
  /// A scrape in between shows it in neither.
  void into(Gauge gauge) noexcept {
    if (step_ != 0) gauge_.sub(step_);
    gauge_ = gauge;
    if (step_ != 0) gauge_.add(step_);
  }

  /// Takes it away now instead of at the end of the scope.
  void end() noexcept {
    if (const double step = std::exchange(step_, 0); step != 0) gauge_.sub(step);
  }

 private:
  friend Gauge;
  GaugeTracker(Gauge gauge, double step) noexcept : gauge_(gauge), step_(step) { gauge_.add(step); }

  Gauge gauge_;
  double step_;
};

inline GaugeTracker Gauge::track(double step) const noexcept { return {*this, step}; }

inline GaugeTimer Gauge::time() const noexcept { return GaugeTimer(*this); }

}  // namespace quipu

#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <tuple>
#include <utility>

namespace quipu {

namespace detail {

template <class Listener, class Event>
concept HasOn = requires(Listener& listener, const Event& event) {
  listener.on(event);
};

template <class Listener>
struct Listening {
  template <class Event>
  static constexpr bool hears = HasOn<Listener, Event> || std::invocable<Listener&, const Event&>;

  template <class Event>
  static void tell(Listener& listener, const Event& event) {
    if constexpr (HasOn<Listener, Event>) {
      listener.on(event);
    } else {
      std::invoke(listener, event);
    }
  }
};

template <class Listener>
struct Listening<std::reference_wrapper<Listener>> : Listening<Listener> {};

}  // namespace detail

/// Notifies several listeners of events. Events are plain structs of the program. A listener has a function `on` for
/// each type of event that it handles, and hears of no others; or it is a callable:
///
///     struct StepEnded { std::string_view step; std::chrono::nanoseconds time; };
///
///     struct StepMetrics {
///       quipu::HistogramFamily<std::string_view> durations;
///       void on(const StepEnded& event) { durations(event.step).observe(event.time); }
///     };
///
///     StepMetrics metrics{registry.histogram({.name = "step_duration_seconds"}, {"step"})};
///     quipu::Observers observers(metrics, std::ref(log), [](const StepEnded&) { /* a line, say */ });
///     observers.notify(StepEnded{"load", 3ms});
///
/// A listener is moved in, or referred to by `std::ref`. Listeners are called one after the other, on the thread that
/// notifies. If a listener throws, the failure is counted, and the others are still called.
///
/// The compiler knows the listeners. So `Observers<>` is an empty class whose `notify` compiles to nothing. An event
/// can also be given as a function that makes it, which is not called if nobody hears of such events:
/// `observers.notify<StepEnded>([&] { return StepEnded{…}; })`.
///
/// Thread-safe if the listeners are. Neither copyable nor movable.
template <class... Listeners>
class Observers {
 public:
  explicit Observers(Listeners... listeners) : listeners_(std::move(listeners)...) {}
  Observers(const Observers&) = delete;
  Observers& operator=(const Observers&) = delete;

  /// Whether any listener hears of events of this type. (A listener does not if its `on` takes a non-const reference.)
  template <class Event>
  static constexpr bool hears = (detail::Listening<Listeners>::template hears<Event> || ...);

  template <class Event>
  requires(!std::invocable<const Event&>) void notify(const Event& event) noexcept {
    std::apply([&](auto&... listeners) { (tell(listeners, event), ...); }, listeners_);
  }
  /// Calls `make` once if any listener hears of the event. Throws what `make` throws.
  template <class Event, std::invocable Make>
  void notify(Make make) {
    if constexpr (hears<Event>) notify<Event>(static_cast<const Event&>(make()));
  }

  /// How many calls of listeners have thrown.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

 private:
  template <class Listener, class Event>
  void tell(Listener& listener, const Event& event) noexcept {
    if constexpr (detail::Listening<Listener>::template hears<Event>) {
      try {
        detail::Listening<Listener>::tell(listener, event);
      } catch (...) {
        failures_.fetch_add(1, std::memory_order_relaxed);
      }
    }
  }

  std::tuple<Listeners...> listeners_;
  std::atomic<std::uint64_t> failures_{0};
};

template <>
class Observers<> {
 public:
  template <class Event>
  static constexpr bool hears = false;

  template <class Event>
  requires(!std::invocable<const Event&>) constexpr void notify(const Event&) const noexcept {}
  template <class Event, std::invocable Make>
  constexpr void notify(const Make&) const noexcept {}

  [[nodiscard]] constexpr std::uint64_t failures() const noexcept { return 0; }
};

}  // namespace quipu

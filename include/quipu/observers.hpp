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

/// Tells several listeners what happens. Events are plain structs of the program. A listener has a function `on` for
/// each type of event that it hears of, and does not hear of the others; or it is a callable:
///
///     struct StepEnded { std::string_view step; std::chrono::nanoseconds time; };
///
///     struct StepMetrics {
///       quipu::HistogramFamily<std::string_view> durations;
///       void on(const StepEnded& event) { durations(event.step).observe(event.time); }
///     };
///
///     quipu::Observers observers(StepMetrics{…}, std::ref(log), [](const StepEnded& event) { … });
///     observers.notify(StepEnded{"load", 3ms});
///
/// A listener is moved in, or referred to by `std::ref`. They are called one after the other, on the thread that
/// notifies. What one throws is counted, and the others are called.
///
/// The compiler knows who listens. So `Observers<>` is an empty class whose `notify` is no instruction at all, and an
/// event that nobody hears of is not even made if it is given as what makes it:
/// `observers.notify<StepEnded>([&] { return StepEnded{…}; })`.
///
/// Thread-safe if the listeners are. Neither copied nor moved.
template <class... Listeners>
class Observers {
 public:
  explicit Observers(Listeners... listeners) : listeners_(std::move(listeners)...) {}
  Observers(const Observers&) = delete;
  Observers& operator=(const Observers&) = delete;

  /// Whether anyone hears of events of this type. (A listener whose `on` takes no const reference does not.)
  template <class Event>
  static constexpr bool hears = (detail::Listening<Listeners>::template hears<Event> || ...);

  template <class Event>
  requires(!std::invocable<const Event&>) void notify(const Event& event) noexcept {
    std::apply([&](auto&... listeners) { (tell(listeners, event), ...); }, listeners_);
  }
  /// Throws what `make` throws; it is called once, if anyone hears of the event.
  template <class Event, std::invocable Make>
  void notify(Make make) {
    if constexpr (hears<Event>) notify<Event>(static_cast<const Event&>(make()));
  }

  /// How often a listener has thrown.
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

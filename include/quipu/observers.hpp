#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
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

template <class Listener>
struct Listening<std::shared_ptr<Listener>> : Listening<Listener> {
  template <class Event>
  static void tell(const std::shared_ptr<Listener>& listener, const Event& event) {
    Listening<Listener>::tell(*listener, event);
  }
};

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
/// A listener is moved in, referred to by `std::ref`, or shared (`std::shared_ptr`). Listeners are called one after the
/// other, on the thread that notifies. If a listener throws, the failure is counted, and the others are still called.
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

/// Listeners that are chosen at run time, of events that are known:
///
///     quipu::ObserverList<StepStarted, StepEnded> chosen;
///     if (is_verbose) chosen.add(std::ref(log));
///
///     quipu::Observers observers(metrics, std::ref(chosen));  // a list is a listener itself
///     observers.notify(StepEnded{"load", 3ms});
///
/// Its listeners are those of Observers: each has a function `on` for some of the events, or is a callable. They may
/// derive from a class of the program with virtual functions, and be added as pointers to that. Listeners are called in
/// the order in which they were added, on the thread that notifies. If one throws, the failure is counted, and the
/// others are still called. Each costs a call through a pointer; a list that is empty costs one load.
///
/// Thread-safe if the listeners are, adding too: who notifies meanwhile may or may not tell the new one. Listeners stay
/// until the list is destroyed. Neither copyable nor movable.
template <class... Events>
class ObserverList {
 public:
  ObserverList() noexcept = default;
  ObserverList(const ObserverList&) = delete;
  ObserverList& operator=(const ObserverList&) = delete;
  ~ObserverList() {
    // Pairs with the release in add(). One by one, because a chain of destructors might be deep.
    for (const Entry* entry = first_.load(std::memory_order_acquire); entry != nullptr;) {
      delete std::exchange(entry, entry->next.load(std::memory_order_acquire));
    }
  }

  /// Moves a listener in, or keeps its reference or pointer; a null pointer is left out. Throws std::bad_alloc and what
  /// moving the listener throws.
  template <class Listener>
  void add(Listener listener) {
    static_assert((detail::Listening<Listener>::template hears<Events> || ...),
                  "quipu: this listener hears of none of the events of the list");
    if constexpr (requires { listener == nullptr; }) {
      if (listener == nullptr) return;
    }
    auto kept = std::make_shared<Listener>(std::move(listener));
    auto entry = std::make_unique<Entry>(std::move(kept), teller<Listener, Events>()...);
    // Behind the last one. Release: pairs with the acquires of those who walk along the list.
    std::atomic<const Entry*>* end = &first_;
    for (const Entry* next = nullptr;
         !end->compare_exchange_weak(next, entry.get(), std::memory_order_release, std::memory_order_acquire);) {
      if (next != nullptr) end = &std::exchange(next, nullptr)->next;
    }
    static_cast<void>(entry.release());
  }

  /// Whether it is a list of such events.
  template <class Event>
  static constexpr bool hears = (std::same_as<Event, Events> || ...);

  template <class Event>
  requires(!std::invocable<const Event&>) void notify(const Event& event) noexcept {
    static_assert(hears<Event>, "quipu: this event is none of those that the list was declared with");
    if constexpr (hears<Event>) {
      for_each_listener_of<Event>([&](const Entry& entry, auto tell) {
        try {
          tell(entry.listener.get(), event);
        } catch (...) {
          failures_.fetch_add(1, std::memory_order_relaxed);
        }
        return true;
      });
    }
  }
  /// Calls `make` once if any listener hears of the event. Throws what `make` throws.
  template <class Event, std::invocable Make>
  void notify(Make make) {
    bool is_heard = false;
    for_each_listener_of<Event>([&](const Entry&, auto) { return !(is_heard = true); });
    if (is_heard) notify<Event>(static_cast<const Event&>(make()));
  }
  /// The same as notify(): the list is a listener.
  template <class Event>
  requires hears<Event>
  void on(const Event& event) noexcept { notify(event); }

  /// How many calls of listeners have thrown.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

 private:
  template <class Event>
  using Tell = void (*)(void* listener, const Event& event);

  struct Entry {
    Entry(std::shared_ptr<void> added, Tell<Events>... tells) noexcept : listener(std::move(added)), tell(tells...) {}

    const std::shared_ptr<void> listener;
    const std::tuple<Tell<Events>...> tell;  // null for events that it does not hear of
    mutable std::atomic<const Entry*> next{nullptr};
  };

  template <class Listener, class Event>
  static constexpr Tell<Event> teller() noexcept {
    if constexpr (detail::Listening<Listener>::template hears<Event>) {
      return [](void* listener, const Event& event) {
        detail::Listening<Listener>::tell(*static_cast<Listener*>(listener), event);
      };
    } else {
      return nullptr;
    }
  }

  /// Calls use(entry, tell) until it returns false.
  template <class Event, class Use>
  void for_each_listener_of(Use use) const {
    const Entry* entry = first_.load(std::memory_order_acquire);  // pairs with the release in add(), as below
    for (; entry != nullptr; entry = entry->next.load(std::memory_order_acquire)) {
      const auto tell = std::get<Tell<Event>>(entry->tell);
      if (tell != nullptr && !use(*entry, tell)) return;
    }
  }

  // The list only grows, at its end: each pointer changes once, from null.
  std::atomic<const Entry*> first_{nullptr};
  std::atomic<std::uint64_t> failures_{0};
};

}  // namespace quipu

#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <utility>

namespace quipu {

/// Tells several listeners what happens. Events are plain structs of the program; a listener has a function `on` for
/// each type of event that it wants to hear of, and does not hear of the others:
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
/// A listener is kept as a copy, or by `std::ref`. A callable is a listener of what it can be called with. Listeners
/// are called one after the other, on the thread that notifies. What one throws is counted, and the others are called.
///
/// Who listens is known to the compiler. So `Observers<>` is an empty class whose `notify` is no instruction at all,
/// and an event that nobody listens to is not even made: `notify<StepEnded>([&] { return …; })`.
///
/// Thread-safe if the listeners are.
template <class... Listeners>
class Observers;

}  // namespace quipu

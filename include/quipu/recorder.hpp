#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/buckets.hpp"
#include "quipu/collector.hpp"
#include "quipu/registry.hpp"
#include "quipu/sample.hpp"

/// Recording for code that must not know where the numbers go.
///
///     quipu::Recorder recorder({std::make_shared<quipu::RegistryRecorder>(registry)});
///     recorder.increment("comments.created", 1, {{"kind", "reply"}});
///     recorder.gauge("users.online", 12);
///     recorder.histogram("message.size.bytes", 1500);
///     auto timer = recorder.time("database.query.duration", {{"operation", "select"}});
///
/// Names are words joined by dots. What is known beforehand is faster and safer with instruments of a registry: their
/// names are checked by the compiler, and they need no look-up.
namespace quipu {

/// Where recordings go: a registry, a StatsD server, a log, or something of the program's own.
///
/// Called by several threads at once. What is thrown costs that recording in this backend only, and is counted (see
/// Recorder::failures). Names and labels are good during the call.
class RecorderBackend {
 public:
  virtual ~RecorderBackend() = default;
  virtual void increment(std::string_view name, std::int64_t step, Labels labels) = 0;
  virtual void gauge(std::string_view name, double value, Labels labels) = 0;
  virtual void histogram(std::string_view name, double value, Labels labels) = 0;
  virtual void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) = 0;
  /// Sends on what it holds back, if it does that. Does not wait for a slow receiver.
  virtual void flush() {}
};

class RecorderTimer;

/// Records to every one of its backends, in their order; to none, if there is none. A handle: copies record to the
/// same. Thread-safe. Recording never throws. What it costs is what the backends cost.
class Recorder {
 public:
  using LabelList = std::initializer_list<Label>;

  Recorder() = default;
  explicit Recorder(std::vector<std::shared_ptr<RecorderBackend>> backends);

  /// Adds to a count. A negative step is refused by backends whose counts only go up.
  void increment(std::string_view name, std::int64_t step = 1, Labels labels = {}) const noexcept;
  void increment(std::string_view name, std::int64_t step, LabelList labels) const noexcept {
    increment(name, step, Labels(labels.begin(), labels.size()));
  }
  void gauge(std::string_view name, double value, Labels labels = {}) const noexcept;
  void gauge(std::string_view name, double value, LabelList labels) const noexcept {
    gauge(name, value, Labels(labels.begin(), labels.size()));
  }
  void histogram(std::string_view name, double value, Labels labels = {}) const noexcept;
  void histogram(std::string_view name, double value, LabelList labels) const noexcept {
    histogram(name, value, Labels(labels.begin(), labels.size()));
  }
  /// A time that was measured already.
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels = {}) const noexcept;
  void time(std::string_view name, std::chrono::nanoseconds time, LabelList labels) const noexcept {
    this->time(name, time, Labels(labels.begin(), labels.size()));
  }
  /// Measures the time until the end of the scope. Copies the name and the labels. Throws std::bad_alloc.
  [[nodiscard]] RecorderTimer time(std::string_view name, LabelList labels = {}) const;

  /// Has each backend send on what it holds back.
  void flush() const noexcept;

  /// How many recordings backends failed to take by throwing.
  [[nodiscard]] std::uint64_t failures() const noexcept;

 private:
  struct Backends;
  std::shared_ptr<Backends> backends_;
};

}  // namespace quipu

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/buckets.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/sample.hpp"

/// Recording for code that must not know where the numbers go. It sees a Recorder; `main()` chooses the backends:
///
///     quipu::Recorder recorder(std::make_shared<quipu::RegistryRecorder>(registry));
///
///     recorder.increment("comments.created", 1, {{"kind", "reply"}});
///     recorder.gauge("users.online", 12);
///     recorder.histogram("message.size.bytes", 1500);
///     auto timer = recorder.time("database.query.duration", {{"operation", "select"}});
///
/// Names are words joined by dots. What a program of its own counts is better counted by instruments of a registry:
/// their names are checked by the compiler, and they need no look-up.
namespace quipu {

class Scope;

/// The labels of a recording: `{{"kind", "reply"}, {"region", "eu"}}`, or what converts to Labels. Names and values are
/// any text. Refers to what it is made of, and is used up by the call that it is given to.
class RecordedLabels : public Labels {
 public:
  using Labels::Labels;
  constexpr RecordedLabels(Labels labels) noexcept : Labels(labels) {}
  constexpr RecordedLabels(std::initializer_list<Label> labels = {}) noexcept : Labels(labels.begin(), labels.size()) {}
};

/// Where recordings go: a registry, a StatsD server, a log, or something of the program's own.
///
/// Called by several threads at once. What is thrown costs that recording in this backend only, and is counted (see
/// Recorder::failures). Names and labels are good during the call.
class QUIPU_EXPORT RecorderBackend {
 public:
  virtual ~RecorderBackend() = default;
  virtual void increment(std::string_view name, std::uint64_t step, Labels labels) = 0;
  virtual void gauge(std::string_view name, double value, Labels labels) = 0;
  virtual void histogram(std::string_view name, double value, Labels labels) = 0;
  virtual void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) = 0;
  /// Sends on what it holds back, if it does that. Does not wait for a slow receiver.
  virtual void flush() {}
};

class RecorderTimer;

/// Records to each of its backends, in their order; to nowhere, if it has none. A handle: copies record to the same,
/// and keep the backends. Thread-safe. Recording never throws, and takes as long as the backends take.
class QUIPU_EXPORT Recorder {
 public:
  using Backends = std::vector<std::shared_ptr<RecorderBackend>>;

  Recorder() noexcept = default;
  /// Null pointers are left out.
  explicit Recorder(Backends backends);
  explicit Recorder(std::shared_ptr<RecorderBackend> backend) : Recorder(Backends{std::move(backend)}) {}

  /// Adds to a count, which only goes up. A negative step goes to no backend, and is counted as a rejected recording.
  void increment(std::string_view name, std::int64_t step = 1, RecordedLabels labels = {}) const noexcept;
  /// Sets what is as high as this now.
  void gauge(std::string_view name, double value, RecordedLabels labels = {}) const noexcept;
  /// One of many values whose distribution matters.
  void histogram(std::string_view name, double value, RecordedLabels labels = {}) const noexcept;
  /// A time that was measured already.
  void time(std::string_view name, std::chrono::nanoseconds time, RecordedLabels labels = {}) const noexcept;
  /// Measures the time until the end of the scope. Copies the name and the labels. Throws std::bad_alloc.
  [[nodiscard]] RecorderTimer time(std::string_view name, RecordedLabels labels = {}) const;

  /// Has each backend send on what it holds back.
  void flush() const noexcept;

  /// How often a backend threw instead of taking a recording.
  [[nodiscard]] std::uint64_t failures() const noexcept;

 private:
  struct Core;
  template <class Record>
  void each(Record record) const noexcept;

  std::shared_ptr<Core> core_;
};

/// Measures time from its construction, by the steady clock: until the end of the scope, or until `stop()`. Movable.
/// Thread-compatible.
class [[nodiscard]] QUIPU_EXPORT RecorderTimer {
 public:
  using Clock = std::chrono::steady_clock;

  /// As Recorder::time.
  RecorderTimer(Recorder recorder, std::string_view name, RecordedLabels labels = {});
  RecorderTimer(RecorderTimer&& other) noexcept;
  RecorderTimer& operator=(RecorderTimer&& other) noexcept;
  ~RecorderTimer() { stop(); }

  /// Gives a label its value, which may be known only at the end (a status, say). Throws std::bad_alloc.
  void label(std::string_view name, std::string_view value);

  /// Time since the start.
  [[nodiscard]] Clock::duration elapsed() const noexcept { return Clock::now() - start_; }

  /// Records the time since the start, now and only now. Returns it; zero, with nothing recorded, if the timer was
  /// stopped or discarded before.
  Clock::duration stop() noexcept;

  /// Records nothing, now or at the end of the scope.
  void discard() noexcept { is_running_ = false; }

 private:
  Recorder recorder_;
  std::string name_;
  std::vector<std::pair<std::string, std::string>> labels_;
  std::vector<Label> views_;  // as many, so that stop() has the memory
  Clock::time_point start_;
  bool is_running_ = true;
};

/// What is known beforehand of something that will be recorded.
struct RecordedMetric {
  /// As it is recorded: "message.size.bytes".
  std::string name;
  /// Empty for `Recorded as "message.size.bytes".`
  std::string help = {};
  /// Of a histogram or of times.
  std::optional<Buckets> buckets = {};
};

struct RegistryRecorderOptions {
  /// Upper bounds for times, in seconds.
  Buckets time_buckets = buckets::defaults();
  /// Upper bounds for the values of histograms: 1, 4, 16, … 4,194,304 unless told otherwise, for sizes and numbers of
  /// things.
  Buckets value_buckets = buckets::exponential(1, 4, 12);
  std::vector<RecordedMetric> metrics = {};
  /// The most names that are registered, from 1 to 1,000,000; each takes 16 to 32 bytes from the start.
  std::size_t max_names = 1'000;
  /// The most series of each; the rest is counted in one overflow series.
  std::size_t max_series = 100'000;
  /// Told why a name is not on the page: once for each such name, and once for all beyond `max_names`. On the thread
  /// that recorded, without a lock.
  std::function<void(std::string_view name, std::string_view why)> on_error = {};
};

/// Records to a registry, or a part of one. A name is registered when it is first recorded:
///
/// - Its characters other than letters and digits become '_', and one is put before a digit at the beginning. What is
///   incremented gets "_total", and what is timed, which is a histogram of seconds, "_seconds", unless it ends so.
/// - Its label names are those of the first recording, in that order, made legal in the same way; of several '_' at
///   the beginning one stays. A later recording may give them in another order; one that it does not give is ""; one
///   that the name does not have is left out, and counted.
/// - If the registry refuses it (the name is taken by another kind, say), what is recorded under it is counted as
///   dropped, and nothing else changes.
///
/// All that is dropped is in `quipu_recorder_dropped_total{reason}` on the page: "label" (the label only), "refused",
/// "too_many_names". Several recorders of one registry share it.
///
/// Thread-safe. Recording under a known name with known label values takes no lock and does not allocate; if the labels
/// come in the usual order, it takes less than twice as long as a family's look-up of texts. The first recording of a
/// name takes locks and registers it. A fork while another thread does that leaves its lock taken in the child, where
/// new names then wait for it forever.
class QUIPU_EXPORT RegistryRecorder final : public RecorderBackend {
 public:
  /// Throws RegistrationError if `max_names` is out of range or a metric is described twice, and std::bad_alloc.
  explicit RegistryRecorder(const Scope& scope, RegistryRecorderOptions options = {});
  RegistryRecorder(const RegistryRecorder&) = delete;
  RegistryRecorder& operator=(const RegistryRecorder&) = delete;
  ~RegistryRecorder() override;

  void increment(std::string_view name, std::uint64_t step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;

  /// Recordings and labels that were dropped, for any reason, by this registry's recorders.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  class Names;
  std::unique_ptr<Names> names_;
};

/// Writes each recording as a line of JSON:
///
///     {"time":"2026-01-31T09:30:00.125Z","kind":"increment","name":"comments.created","step":1,"labels":{"by":"ann"}}
///
/// A gauge or histogram has a "value" in place of "step", null for NaN and infinities, which JSON does not have; a time
/// has "seconds". The time of the line is UTC. What is not UTF-8 gets U+FFFD in its place.
///
/// Thread-safe; lines never mix. Recording allocates, and waits for those that write before it. A fork while another
/// thread writes leaves its lock taken in the child.
class QUIPU_EXPORT JsonRecorder final : public RecorderBackend {
 public:
  /// To a stream, which stays where it is as long as this lives. While it is in use, only this writes to it, and it
  /// does not record here itself, as lines wait for each other. A line is counted as dropped if the stream fails or has
  /// failed before; what has failed is the owner's to clear.
  explicit JsonRecorder(std::ostream& stream);
  /// To a function, which gets each line with its line feed, from several threads at once.
  explicit JsonRecorder(std::function<void(std::string_view line)> write);
  JsonRecorder(const JsonRecorder&) = delete;
  JsonRecorder& operator=(const JsonRecorder&) = delete;
  ~JsonRecorder() override;

  void increment(std::string_view name, std::uint64_t step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;
  /// Flushes the stream.
  void flush() override;

  /// Lines that the stream did not take.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Stream;
  void put(const std::string& line);

  std::unique_ptr<Stream> stream_;  // null if lines go to the function
  std::function<void(std::string_view)> write_;
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace quipu

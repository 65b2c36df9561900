#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
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
#include "quipu/detail/cells/rejection.hpp"
#include "quipu/sample.hpp"

/// Recording for code that must not know where its numbers go. Such code sees a Recorder. `main()` chooses the
/// backends:
///
///     quipu::Recorder recorder(std::make_shared<quipu::RegistryRecorder>(registry));
///
///     recorder.increment("comments.created", 1, {{"kind", "reply"}});
///     recorder.gauge("users.online", 12);
///     recorder.histogram("message.size.bytes", 1500);
///     auto timer = recorder.time("database.query.duration", {{"operation", "select"}});
///
/// Names are words joined by dots. A program that knows its registry does better with instruments: the compiler checks
/// their names, and recording needs no look-up.
namespace quipu {

class Scope;

/// The labels of a recording: `{{"kind", "reply"}, {"region", "eu"}}`, or anything that converts to Labels. Names and
/// values are any text. It refers to the caller's texts, so it is only for the argument of a call.
class RecordedLabels : public Labels {
 public:
  using Labels::Labels;
  constexpr RecordedLabels(Labels labels) noexcept : Labels(labels) {}
  constexpr RecordedLabels(std::initializer_list<Label> labels = {}) noexcept : Labels(labels.begin(), labels.size()) {}
};

/// A destination of recordings: a registry, a StatsD server, a log, or a class of the program.
///
/// Implementations must be thread-safe: several threads record at once. An exception loses the recording in this
/// backend only, and is counted (Recorder::failures). Names and labels are valid during the call.
class QUIPU_EXPORT RecorderBackend {
 public:
  virtual ~RecorderBackend() = default;
  /// A real step is not negative and finite.
  virtual void increment(std::string_view name, Number step, Labels labels) = 0;
  virtual void gauge(std::string_view name, double value, Labels labels) = 0;
  virtual void histogram(std::string_view name, double value, Labels labels) = 0;
  virtual void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) = 0;
  /// Sends what the backend holds back, if it does hold anything back. Must not wait for a slow receiver.
  virtual void flush() {}
};

class [[nodiscard("quipu: keep the timer until what it measures has ended")]] RecorderTimer;

/// Records to each of its backends, in their order. Without backends it records nothing. A Recorder is a handle: copies
/// share the backends and keep them alive. Thread-safe. Recording never throws, and takes as long as the backends take.
class QUIPU_EXPORT Recorder {
 public:
  using Backends = std::vector<std::shared_ptr<RecorderBackend>>;

  Recorder() noexcept = default;
  /// Null pointers are left out.
  explicit Recorder(Backends backends);
  explicit Recorder(std::shared_ptr<RecorderBackend> backend) : Recorder(Backends{std::move(backend)}) {}

  /// Adds `step` to a counter: a whole number of events, or a fraction of something that is measured, such as euros. A
  /// step that is negative, NaN or infinite goes to no backend, and is counted as a rejected recording.
  void increment(std::string_view name) const noexcept { add(name, std::uint64_t{1}, {}); }
  template <std::integral Step>
  requires(!std::same_as<Step, bool>) void increment(std::string_view name, Step step,
                                                     RecordedLabels labels = {}) const noexcept {
    if constexpr (std::signed_integral<Step>) {
      if (step < 0) return detail::reject(detail::Rejection::negative_step);
    }
    add(name, static_cast<std::uint64_t>(step), labels);
  }
  void increment(std::string_view name, double step, RecordedLabels labels = {}) const noexcept;
  /// Sets a gauge to its present value.
  void gauge(std::string_view name, double value, RecordedLabels labels = {}) const noexcept;
  /// Adds one value to a distribution.
  void histogram(std::string_view name, double value, RecordedLabels labels = {}) const noexcept;
  /// Adds a duration to a distribution of times.
  void time(std::string_view name, std::chrono::nanoseconds time, RecordedLabels labels = {}) const noexcept;
  /// Starts a timer, which records the time until the end of its scope. Copies the name and the labels. Throws
  /// std::bad_alloc.
  RecorderTimer time(std::string_view name, RecordedLabels labels = {}) const;

  /// Makes each backend send what it holds back.
  void flush() const noexcept;

  /// How many times a backend threw.
  [[nodiscard]] std::uint64_t failures() const noexcept;

 private:
  struct Core;
  void add(std::string_view name, Number step, RecordedLabels labels) const noexcept;
  template <class Record>
  void each(Record record) const noexcept;

  std::shared_ptr<Core> core_;
};

/// Records the time from its construction until `stop()`, or else until its destruction, by the steady clock. Movable.
/// Thread-compatible.
class QUIPU_EXPORT RecorderTimer {
 public:
  using Clock = std::chrono::steady_clock;

  /// Starts the timer. Copies the name and the labels. Throws std::bad_alloc.
  [[nodiscard("quipu: keep the timer until what it measures has ended")]] RecorderTimer(Recorder recorder,
                                                                                        std::string_view name,
                                                                                        RecordedLabels labels = {});
  RecorderTimer(RecorderTimer&& other) noexcept;
  RecorderTimer& operator=(RecorderTimer&& other) noexcept;
  ~RecorderTimer() { stop(); }

  /// Sets a label. Its value may be known only at the end, as a status is. Throws std::bad_alloc.
  void label(std::string_view name, std::string_view value);

  /// Time since the start.
  [[nodiscard]] Clock::duration elapsed() const noexcept { return Clock::now() - start_; }

  /// Records the time since the start, and returns it. If the timer was stopped or discarded before, it records nothing
  /// and returns zero.
  Clock::duration stop() noexcept;

  /// Ends the timer without a recording.
  void discard() noexcept { is_running_ = false; }

 private:
  Recorder recorder_;
  std::string name_;
  std::vector<std::pair<std::string, std::string>> labels_;
  std::vector<Label> views_;  // as many as labels_, so that stop() allocates nothing
  Clock::time_point start_;
  bool is_running_ = true;
};

/// The description of a metric that is known before its first recording.
struct RecordedMetric {
  /// The name that is recorded: "message.size.bytes".
  std::string name;
  /// The help text. If it is empty, the page has `Recorded as "message.size.bytes".`
  std::string help = {};
  /// The bounds of a histogram, or of times in seconds.
  std::optional<Buckets> buckets = {};
  /// Whether a counter is a sum of fractions, whatever its first step is.
  bool is_fractional = false;
  /// Whether a counter gets the suffix "_total", if RegistryRecorderOptions::total_suffix says so, too.
  bool total_suffix = true;
};

struct RegistryRecorderOptions {
  /// Upper bounds of times, in seconds.
  Buckets time_buckets = buckets::defaults();
  /// Upper bounds of the values of histograms. The default suits sizes and numbers of things: 1, 4, 16, … 4,194,304.
  Buckets value_buckets = buckets::exponential(1, 4, 12);
  std::vector<RecordedMetric> metrics = {};
  /// Whether counters get the suffix "_total". Without it they are of the type "unknown" on an OpenMetrics page, which
  /// knows no such counters.
  bool total_suffix = true;
  /// The maximum number of names that are registered, from 1 to 1,000,000. Each takes 16 to 32 bytes from the start.
  std::size_t max_names = 1'000;
  /// The maximum number of series of each name, at least 1. Further ones are counted in one overflow series.
  std::size_t max_series = 100'000;
  /// Called with the reason why a name, or its fractions, are not on the page: once for each such name, and once for
  /// all names beyond `max_names`. The recording thread calls it, and holds no lock.
  std::function<void(std::string_view name, std::string_view why)> on_error = {};
};

/// Records to a registry, or to a part of one. The first recording of a name registers it:
///
/// - Characters other than letters and digits become '_', and a digit at the beginning gets a '_' before it. Counters
///   get the suffix "_total" unless an option says otherwise. Times are histograms of seconds, and get the suffix
///   "_seconds". A suffix that is there already is not added. Names that are equal then are one.
/// - The type of the first step of a counter decides what it is: a total of whole numbers, which is exact, or a sum of
///   fractions (FractionalCounter), which takes whole numbers as well. RecordedMetric::is_fractional decides it before.
///   A total of whole numbers takes a real step that has no fraction; any other is counted as dropped, and told.
/// - The first recording decides the label names and their order. They are made legal in the same way; of several '_'
///   at the beginning one stays. Later recordings may give the labels in any order. A label that is missing is "". A
///   label that the name does not have is left out and counted.
/// - The registry may refuse a name, for instance because a metric of another type has it. Recordings of such a name
///   are counted as dropped.
///
/// `quipu_recorder_dropped_total{reason}` on the page counts what was dropped: "fraction", "label" (the label
/// only), "refused", "too_many_names". Several recorders of one registry share it.
///
/// Thread-safe. A recording of a known name with known label values takes no lock and does not allocate. If its labels
/// come in the order of the first recording, it takes less than twice as long as a family's look-up of texts. The first
/// recording of a name takes locks. If the process forks while another thread registers a name, the lock stays taken in
/// the child, and recordings of new names wait there forever.
class QUIPU_EXPORT RegistryRecorder final : public RecorderBackend {
 public:
  /// Throws RegistrationError if `max_names` or `max_series` is out of range or two of `metrics` have one name. Throws
  /// std::bad_alloc.
  explicit RegistryRecorder(const Scope& scope, RegistryRecorderOptions options = {});
  RegistryRecorder(const RegistryRecorder&) = delete;
  RegistryRecorder& operator=(const RegistryRecorder&) = delete;
  ~RegistryRecorder() override;

  void increment(std::string_view name, Number step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;

  /// How many recordings and labels all recorders of this registry have dropped.
  [[nodiscard]] std::uint64_t dropped() const noexcept;

 private:
  // Hidden, as it would otherwise be exported like this class, and be called by way of the dynamic linker's table.
  class [[gnu::visibility("hidden")]] NameTable;
  std::unique_ptr<NameTable> names_;
};

struct JsonRecorderOptions {
  /// Names and values of texts that every line has, after its time: {"service", "shop"}.
  std::vector<std::pair<std::string, std::string>> fields = {};
};

/// Writes each recording as a line of JSON:
///
///     {"time":"2026-01-31T09:30:00.125Z","kind":"increment","name":"comments.created","step":1,"labels":{"by":"ann"}}
///
/// Instead of "step", gauges and histograms have "value", and times have "seconds". NaN and infinities are null, as
/// JSON does not have them. "time" is in UTC. Bytes that are not UTF-8 are replaced by U+FFFD.
///
/// A label value of more than 1,024 bytes is cut where a code point ends.
///
/// If the stream fails, as a file does on a full disk, lines are lost and counted. Every recording tries again, with
/// the state of the stream cleared. The first line that is written then tells how many lines were lost:
///
///     {"time":"2026-01-31T09:31:00.250Z","kind":"dropped","lines":12}
///
/// Thread-safe; lines never mix. Recording allocates, and waits for other threads that write to the stream. If the
/// process forks while another thread writes, the lock stays taken in the child.
class QUIPU_EXPORT JsonRecorder final : public RecorderBackend {
 public:
  /// Writes to `stream`, which must outlive the recorder. Nothing else may write to it meanwhile, and it must not
  /// record to this recorder itself, which would wait for its own lock. The stream is flushed after every 4 KiB or so.
  /// Throws RegistrationError if two fields have one name, or a field has that of a member that lines have anyway.
  explicit JsonRecorder(std::ostream& stream, JsonRecorderOptions options = {});
  /// Calls `write` with each line and its line feed, from several threads at once. Throws as the other one.
  explicit JsonRecorder(std::function<void(std::string_view line)> write, JsonRecorderOptions options = {});
  JsonRecorder(const JsonRecorder&) = delete;
  JsonRecorder& operator=(const JsonRecorder&) = delete;
  ~JsonRecorder() override;

  void increment(std::string_view name, Number step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;
  /// Flushes the stream.
  void flush() override;

  /// How many lines were lost in the stream. Lines that it held back when it failed count, although it may have written
  /// some of them: 4 KiB at most.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Stream;
  void put(const std::string& line);

  const std::string fields_;        // as in the lines, with their commas
  std::unique_ptr<Stream> stream_;  // null if lines go to the function
  std::function<void(std::string_view)> write_;
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace quipu

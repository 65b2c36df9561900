#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "quipu/collector.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/recorder.hpp"
#include "quipu/sample.hpp"

namespace quipu {

/// Nothing can be sent to that address, or with these options. The message names what was given and why not.
class QUIPU_EXPORT StatsdError : public Error {
 public:
  using Error::Error;
};

/// What the lines are written for.
enum class StatsdDialect : std::uint8_t {
  /// As of Etsy's server, which has no labels: their values become parts of the name, sorted by the labels' names.
  /// `comments.created{kind="reply"}` is `comments.created.reply`.
  statsd,
  /// As of Datadog's agent, which many others read: `comments.created:1|c|#kind:reply`.
  dogstatsd,
};

struct StatsdOptions {
  /// HOST:PORT for UDP ("127.0.0.1:8125", "[::1]:8125", "localhost:8125"), or unix:/PATH for a datagram socket. A host
  /// is resolved once, at construction.
  std::string_view address = "127.0.0.1:8125";
  /// Stands before every name, joined by a dot.
  std::string_view prefix = {};
  StatsdDialect dialect = StatsdDialect::statsd;
  /// On every line. A recording's own label of the same name is left out.
  std::vector<Label> labels = {};
  /// The most bytes of a datagram, up to 65,507: 1,432 for UDP, which fits into Ethernet frames, and 8,192 for Unix
  /// sockets if it is 0.
  std::size_t max_datagram = 0;
  /// How often what was recorded is sent, from 1 ms to an hour.
  std::chrono::milliseconds interval = std::chrono::seconds(1);
  /// The most counters and gauges with news, and the most values of histograms and times, that wait to be sent. What is
  /// more is dropped. Half as many values are sent at once, without waiting for the interval to end.
  std::size_t max_pending = 65'536;
};

/// What became of what was recorded, so far.
struct StatsdStats {
  std::uint64_t sent_datagrams = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t failed_datagrams = 0;  // that the socket did not take
  std::uint64_t dropped_lines = 0;     // for any reason, see StatsdRecorder::expose
};

/// Sends to a StatsD server, over UDP or a Unix datagram socket, each interval on a thread of its own (on which no
/// signal of the program is delivered), and at its end what is left. It never waits for the server.
///
/// - A count is sent as the sum of its steps since it was last sent (`|c`), a gauge as its last value (`|g`; in the
///   statsd dialect a negative one, which would be taken for a step down, is set to 0 first, in the same datagram).
///   Both, if the socket does not take them, are kept for the next time.
/// - Each value of a histogram is sent: as `|h` in dogstatsd, and as `|ms` in statsd, which has no other distributions
///   (and refuses negative ones). So is each time, as `|ms`, in milliseconds with fractions, in both. These are
///   dropped, and counted, if the socket does not take them.
///
/// What is sent over UDP while nobody listens is lost before the system tells of it, by refusing the next datagram. A
/// Unix socket is connected when there is something to send, and again when its server was restarted: none has to be
/// there at first.
///
/// Lines are whole, in datagrams of no more than `max_datagram` bytes. What would break one, in names or labels, is
/// sent as '_': control characters, blanks and any of `:|@#,`; and dots where a label's value is a part of the name. An
/// empty label is left out in dogstatsd, and '_' in a name. Numbers have no exponents and depend on no locale; one that
/// is not finite is dropped, and counted.
///
/// Thread-safe. Recording takes a lock, and allocates what is new since the last sending. In a forked child there is no
/// thread that sends: what is recorded there is dropped, and counted, and its destruction sends nothing.
class QUIPU_EXPORT StatsdRecorder final : public RecorderBackend {
 public:
  /// Throws StatsdError for an address that makes no sense, a host that does not resolve, an option out of its range,
  /// or if there can be no thread or no socket.
  explicit StatsdRecorder(const StatsdOptions& options);
  StatsdRecorder(const StatsdRecorder&) = delete;
  StatsdRecorder& operator=(const StatsdRecorder&) = delete;
  ~StatsdRecorder() override;

  void increment(std::string_view name, std::uint64_t step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;
  /// Sends now what there is.
  void flush() override;

  [[nodiscard]] StatsdStats stats() const noexcept;

  /// Shows the numbers of stats() on a page: `statsd_sent_datagrams_total`, `statsd_sent_bytes_total`,
  /// `statsd_failed_datagrams_total{reason}` ("full", "refused", "other") and `statsd_dropped_lines_total{reason}`:
  /// "forked", "not_finite", "too_long" (longer than a datagram may be), "too_many" (beyond max_pending) and "unsent".
  /// Several recorders on a page need a subsystem each. May outlive this. Throws RegistrationError if something else
  /// has one of these names.
  [[nodiscard]] Registration expose(const Scope& scope) const;

 private:
  class Sender;
  std::unique_ptr<Sender> sender_;
};

}  // namespace quipu

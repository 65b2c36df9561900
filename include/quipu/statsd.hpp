#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/collector.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/recorder.hpp"
#include "quipu/sample.hpp"

namespace quipu {

/// A StatsdRecorder cannot be made with these options. The message names the option and the reason.
class QUIPU_EXPORT StatsdError : public Error {
 public:
  using Error::Error;
};

/// The form of the lines, by the server that reads them.
enum class StatsdDialect : std::uint8_t {
  /// The form of Etsy's server, which has no labels. The values of labels become parts of the name, in the order of the
  /// labels' names: `comments.created{kind="reply"}` is `comments.created.reply`.
  statsd,
  /// The form of Datadog's agent, which many servers read: `comments.created:1|c|#kind:reply`.
  dogstatsd,
};

/// Any texts.
struct StatsdLabel {
  std::string name;
  std::string value;
};

struct StatsdOptions {
  /// HOST:PORT for UDP ("127.0.0.1:8125", "[::1]:8125", "localhost:8125"), or unix:/PATH for a Unix datagram socket.
  /// The host is resolved once, at construction.
  std::string address = "127.0.0.1:8125";
  /// Precedes every name, joined by a dot.
  std::string prefix = {};
  StatsdDialect dialect = StatsdDialect::statsd;
  /// Labels of every line. A label of the same name in a recording is left out.
  std::vector<StatsdLabel> labels = {};
  /// The maximum size of a datagram in bytes, up to 65,507. 0 stands for 1,432 with UDP, which fits into an Ethernet
  /// frame, and for 8,192 with a Unix socket.
  std::size_t max_datagram = 0;
  /// The time between two sendings, from 1 ms to an hour.
  std::chrono::milliseconds interval = std::chrono::seconds(1);
  /// The maximum number of counters and gauges that wait to be sent, and also that of values of histograms and times.
  /// Further ones are dropped. Half as many values are sent before the interval ends.
  std::size_t max_pending = 65'536;
};

/// Totals since construction.
struct StatsdStats {
  std::uint64_t sent_datagrams = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t failed_datagrams = 0;  // the socket did not take them
  std::uint64_t dropped_lines = 0;     // for any of the reasons at StatsdRecorder::expose
};

/// Sends recordings to a StatsD server, over UDP or a Unix datagram socket. A thread of the recorder sends once in each
/// interval; it takes no signals of the program. The destructor sends the rest. Nothing here waits for the server.
///
/// - A counter is sent as the sum of its steps since the last sending (`|c`), with a fraction if a step has one, a
/// gauge as its last value (`|g`). The
///   statsd dialect would take a negative gauge for a step down, so there it is set to 0 first, in the same datagram.
///   Counters and gauges that the socket does not take are sent again the next time.
/// - Every value of a histogram is sent: as `|h` in dogstatsd, and as `|ms` in statsd, which has no other distributions
///   and refuses negative values. Every time is sent as `|ms`, in milliseconds with fractions. Values and times that
///   the socket does not take are dropped and counted.
///
/// Without a listening server, UDP loses one datagram before the system reports it by refusing the next one. A Unix
/// socket is connected at the first sending, and again after the server was restarted. The server need not be there at
/// first.
///
/// A line is never split between datagrams, which have no more than `max_datagram` bytes. Invalid UTF-8 in names and
/// labels is replaced by U+FFFD. A label value of more than 1,024 bytes is cut where a code point ends. Characters that
/// would break a line are sent as '_': control characters, blanks, any of `:|@#,`, and dots in a label's
/// value that becomes a part of the name. An empty label is left out in dogstatsd, and is '_' in statsd. Numbers have
/// no exponents and do not depend on the locale. A number that is not finite is dropped and counted.
///
/// Thread-safe. Recording takes a lock and may allocate. A forked child
/// has no sending thread: its recordings are dropped and counted, and its destructor sends nothing.
class QUIPU_EXPORT StatsdRecorder final : public RecorderBackend {
 public:
  /// Throws StatsdError if the address is malformed, the host does not resolve, an option is out of its range, or the
  /// system gives no socket or no thread. May wait for the resolver.
  explicit StatsdRecorder(const StatsdOptions& options);
  StatsdRecorder(const StatsdRecorder&) = delete;
  StatsdRecorder& operator=(const StatsdRecorder&) = delete;
  ~StatsdRecorder() override;

  void increment(std::string_view name, Number step, Labels labels) override;
  void gauge(std::string_view name, double value, Labels labels) override;
  void histogram(std::string_view name, double value, Labels labels) override;
  void time(std::string_view name, std::chrono::nanoseconds time, Labels labels) override;
  /// Sends now, on the calling thread.
  void flush() override;

  [[nodiscard]] StatsdStats stats() const noexcept;

  /// Puts the numbers of stats() on a page: `statsd_sent_datagrams_total`, `statsd_sent_bytes_total`,
  /// `statsd_failed_datagrams_total{reason}` ("full", "refused", "other") and `statsd_dropped_lines_total{reason}`:
  /// "forked", "not_finite", "too_long" (longer than a datagram may be), "too_many" (beyond max_pending) and "unsent".
  /// Several recorders on one page need a subsystem each. The registration may outlive the recorder. Throws
  /// RegistrationError if one of these names is taken.
  Registration expose(const Scope& scope) const;

 private:
  class Sender;
  std::unique_ptr<Sender> sender_;
};

}  // namespace quipu

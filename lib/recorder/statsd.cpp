#include "quipu/statsd.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/fork.hpp"
#include "base/text.hpp"
#include "base/threads.hpp"
#include "quipu/registry.hpp"
#include "recorder/statsd_lines.hpp"
#include "recorder/statsd_socket.hpp"
#include "recorder/statsd_stats.hpp"

namespace quipu {
namespace {

using namespace std::chrono_literals;
using statsd::Drop;

constexpr std::size_t udp_datagram = 1432;
constexpr std::size_t unix_datagram = 8192;
constexpr std::size_t max_udp_datagram = 65'507;  // over IPv4

/// A sum of steps: the whole ones exactly, and the others beside them. Neither grows beyond its largest number.
struct Sum {
  std::uint64_t whole = 0;
  double real = 0;

  void add(const Sum& more) noexcept {
    whole += std::min(more.whole, std::numeric_limits<std::uint64_t>::max() - whole);
    real = std::min(real + more.real, std::numeric_limits<double>::max());
  }
  [[nodiscard]] Number number() const noexcept {
    if (real == 0) return whole;
    return std::min(static_cast<double>(whole) + real, std::numeric_limits<double>::max());
  }
};

Sum sum_of(Number step) noexcept { return step.is_whole() ? Sum{.whole = step.whole()} : Sum{.real = step.real()}; }

using Counts = std::map<std::string, Sum, std::less<>>;
using Gauges = std::map<std::string, double, std::less<>>;

/// Recordings that wait to be sent.
struct Pending {
  Counts counts{};  // by series, as the gauges
  Gauges gauges{};
  std::string values{};  // lines, each with its line feed
  std::size_t value_count = 0;

  [[nodiscard]] std::size_t series() const noexcept { return counts.size() + gauges.size(); }
};

}  // namespace

/// A recording goes into `pending_`, under `mutex_`, which is not held for anything longer. Sending is under
/// `sending_`, by one thread at a time: it takes all of `pending_` away, sends it without `mutex_`, and puts back the
/// counters and gauges that the socket did not take. A gauge that was set meanwhile keeps its newer value.
class StatsdRecorder::Sender {
 public:
  explicit Sender(const StatsdOptions& options)
      : limits_(checked(options)),
        socket_(options.address),
        max_datagram_(options.max_datagram > 0 ? options.max_datagram
                                               : (socket_.is_unix() ? unix_datagram : udp_datagram)),
        names_(options, max_datagram_) {
    try {
      thread_ = detail::start_thread("quipu-statsd", [this] { run(); });
    } catch (const std::system_error& error) {
      throw StatsdError(fmt::format("cannot send to StatsD: no thread: {}", error.code().message()));
    }
  }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  ~Sender() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    wake_.notify_one();
    thread_.join();
    send_what_memory_allows();
    stats_->count(Drop::unsent, pending_.series());
  }

  /// True in a child of the process that made this. There nothing else may be touched: the thread is not there, and any
  /// lock may be held.
  [[nodiscard]] bool is_forked() const noexcept { return !process_.is_current(); }
  void close_in_child() noexcept { socket_.close(); }

  void increment(std::string_view name, Number step, Labels labels) {
    if (is_forked()) return stats_->count(Drop::forked);
    if (!std::isfinite(step.real())) return stats_->count(Drop::not_finite);
    const std::lock_guard lock(mutex_);
    const auto series = names_.of(name, labels);
    if (!series) return stats_->count(Drop::too_long);
    if (Sum* sum = find_or_add(pending_.counts, *series)) sum->add(sum_of(step));
  }

  void gauge(std::string_view name, double value, Labels labels) {
    if (is_forked()) return stats_->count(Drop::forked);
    if (!std::isfinite(value)) return stats_->count(Drop::not_finite);
    const std::lock_guard lock(mutex_);
    const auto series = names_.of(name, labels);
    if (!series) return stats_->count(Drop::too_long);
    if (double* last = find_or_add(pending_.gauges, *series)) *last = value;
  }

  void value(std::string_view name, double value, Labels labels, std::string_view type) {
    if (is_forked()) return stats_->count(Drop::forked);
    if (!std::isfinite(value)) return stats_->count(Drop::not_finite);
    bool is_time_to_send = false;
    {
      const std::lock_guard lock(mutex_);
      if (pending_.value_count >= limits_.max_pending) return stats_->count(Drop::too_many);
      const auto series = names_.of(name, labels);
      if (!series) return stats_->count(Drop::too_long);
      statsd::append_value(pending_.values, *series, value, type);
      pending_.values += '\n';
      ++pending_.value_count;
      is_time_to_send = pending_.value_count == many_values();
    }
    if (is_time_to_send) wake_.notify_one();
  }

  void flush() {
    if (!is_forked()) send_all();
  }

  [[nodiscard]] StatsdDialect dialect() const noexcept { return limits_.dialect; }
  [[nodiscard]] const std::shared_ptr<statsd::Stats>& stats() const noexcept { return stats_; }

 private:
  struct Limits {
    StatsdDialect dialect;
    std::chrono::milliseconds interval;
    std::size_t max_pending;
  };

  [[nodiscard]] static Limits checked(const StatsdOptions& options) {
    if (options.interval < 1ms || options.interval > 1h) {
      throw StatsdError(
          fmt::format("StatsdOptions::interval is {} ms, and must be from 1 ms to an hour", options.interval.count()));
    }
    if (options.max_datagram > max_udp_datagram) {
      throw StatsdError(fmt::format("StatsdOptions::max_datagram is {}, and must be no more than {} bytes",
                                    options.max_datagram, max_udp_datagram));
    }
    if (options.max_pending == 0) throw StatsdError("StatsdOptions::max_pending is 0, and must be at least 1");
    return {options.dialect, options.interval, options.max_pending};
  }

  [[nodiscard]] std::size_t many_values() const noexcept { return (limits_.max_pending + 1) / 2; }

  /// The value of a series; null, and counted, if there is no room for another series. Needs `mutex_`, and so does the
  /// pointer.
  template <class Map>
  [[nodiscard]] typename Map::mapped_type* find_or_add(Map& map, std::string_view key) {
    const auto known = map.find(key);
    if (known != map.end()) return &known->second;
    if (pending_.series() < limits_.max_pending) return &map.try_emplace(std::string(key)).first->second;
    stats_->count(Drop::too_many);
    return nullptr;
  }

  /// A datagram that is being filled, and what to put back if the socket does not take it.
  struct Datagram {
    std::string text{};
    std::vector<const Counts::value_type*> counts{};
    std::vector<const Gauges::value_type*> gauges{};
    std::size_t values = 0;

    void clear() {
      text.clear();
      counts.clear();
      gauges.clear();
      values = 0;
    }
  };

  // These need `sending_`.

  void send(Datagram& datagram) {
    if (datagram.text.empty()) return;
    if (const auto failure = socket_.send(datagram.text)) {
      stats_->count(*failure);
      put_back(datagram);
    } else {
      stats_->count_sent(datagram.text.size());
    }
    datagram.clear();
  }

  /// Puts lines that belong together into one datagram. If the datagram has no room for them, it is sent first. False
  /// if the lines are too long for any datagram.
  [[nodiscard]] bool put(Datagram& datagram, std::string_view lines) {
    if (lines.size() > max_datagram_) {
      stats_->count(Drop::too_long);
      return false;
    }
    if (datagram.text.size() + 1 + lines.size() > max_datagram_) send(datagram);
    if (!datagram.text.empty()) datagram.text += '\n';
    datagram.text += lines;
    return true;
  }

  void put_back(const Datagram& datagram) {
    stats_->count(Drop::unsent, datagram.values);
    const std::lock_guard lock(mutex_);
    for (const auto* count : datagram.counts) {
      if (Sum* sum = find_or_add(pending_.counts, count->first)) sum->add(count->second);
    }
    for (const auto* gauge : datagram.gauges) {
      if (pending_.gauges.contains(gauge->first)) continue;  // set again meanwhile
      if (double* last = find_or_add(pending_.gauges, gauge->first)) *last = gauge->second;
    }
  }

  void send_all() {
    const std::lock_guard sending(sending_);
    Pending news;
    {
      const std::lock_guard lock(mutex_);
      std::swap(news, pending_);
    }
    Datagram datagram;
    std::string lines;
    for (const auto& count : news.counts) {
      lines.clear();
      statsd::append_count(lines, count.first, count.second.number());
      if (put(datagram, lines)) datagram.counts.push_back(&count);
    }
    for (const auto& gauge : news.gauges) {
      lines.clear();
      statsd::append_gauge(lines, gauge.first, gauge.second, limits_.dialect);
      if (put(datagram, lines)) datagram.gauges.push_back(&gauge);
    }
    for (std::string_view rest = news.values; !rest.empty();) {
      if (put(datagram, detail::take_until(rest, '\n'))) ++datagram.values;
    }
    send(datagram);
  }

  void send_what_memory_allows() noexcept {
    try {
      send_all();
    } catch (const std::bad_alloc&) {
    }
  }

  void run() noexcept {
    std::unique_lock lock(mutex_);
    while (!is_over_) {
      wake_.wait_for(lock, limits_.interval, [this] { return is_over_ || pending_.value_count >= many_values(); });
      if (is_over_) return;
      lock.unlock();
      send_what_memory_allows();
      lock.lock();
    }
  }

  const Limits limits_;
  const detail::ProcessGeneration process_;
  const std::shared_ptr<statsd::Stats> stats_ = std::make_shared<statsd::Stats>();

  std::mutex sending_;     // taken before mutex_
  statsd::Socket socket_;  // under sending_
  const std::size_t max_datagram_;

  std::mutex mutex_;  // guards the following
  std::condition_variable wake_;
  Pending pending_;
  statsd::SeriesNames names_;
  bool is_over_ = false;

  std::thread thread_;
};

StatsdRecorder::StatsdRecorder(const StatsdOptions& options) : sender_(std::make_unique<Sender>(options)) {}

StatsdRecorder::~StatsdRecorder() {
  if (!sender_->is_forked()) return;
  sender_->close_in_child();
  static_cast<void>(sender_.release());
}

void StatsdRecorder::increment(std::string_view name, Number step, Labels labels) {
  sender_->increment(name, step, labels);
}

void StatsdRecorder::gauge(std::string_view name, double value, Labels labels) { sender_->gauge(name, value, labels); }

void StatsdRecorder::histogram(std::string_view name, double value, Labels labels) {
  sender_->value(name, value, labels, sender_->dialect() == StatsdDialect::dogstatsd ? "h" : "ms");
}

void StatsdRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  sender_->value(name, std::chrono::duration<double, std::milli>(time).count(), labels, "ms");
}

void StatsdRecorder::flush() { sender_->flush(); }

StatsdStats StatsdRecorder::stats() const noexcept { return sender_->stats()->totals(); }

Registration StatsdRecorder::expose(const Scope& scope) const { return scope.add(sender_->stats()); }

}  // namespace quipu

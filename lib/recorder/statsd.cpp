#include "quipu/statsd.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/address.hpp"
#include "base/descriptor.hpp"
#include "base/signals_blocked.hpp"
#include "quipu/registry.hpp"

namespace quipu {
namespace {

using namespace std::chrono_literals;
using http::Descriptor;

constexpr std::string_view unix_scheme = "unix:";
constexpr std::size_t udp_datagram = 1432;
constexpr std::size_t unix_datagram = 8192;
constexpr std::size_t most_datagram = 65'507;  // what UDP over IPv4 takes

/// How many forks lie between the process that was first and this one.
constinit std::atomic<std::uint32_t> forks{0};

void count_forks() {
  static const bool counts =
      ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) == 0;
  if (!counts) throw std::bad_alloc();
}

enum class Failure : std::uint8_t { full, refused, other };
constexpr std::array<std::string_view, 3> failure_names = {"full", "refused", "other"};

enum class Drop : std::uint8_t { forked, not_finite, too_long, too_many, unsent };
constexpr std::array<std::string_view, 5> drop_names = {"forked", "not_finite", "too_long", "too_many", "unsent"};

/// What became of what was recorded; outlives the recorder where it is on a page.
class Stats final : public Collector {
 public:
  void count_sent(std::size_t bytes) noexcept {
    datagrams_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void count(Failure why) noexcept { failures_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed); }
  void count(Drop why, std::size_t lines = 1) noexcept {
    drops_[static_cast<std::size_t>(why)].fetch_add(lines, std::memory_order_relaxed);
  }

  [[nodiscard]] StatsdStats totals() const noexcept {
    StatsdStats totals{.sent_datagrams = datagrams_.load(std::memory_order_relaxed),
                       .sent_bytes = bytes_.load(std::memory_order_relaxed)};
    for (const auto& count : failures_) totals.failed_datagrams += count.load(std::memory_order_relaxed);
    for (const auto& count : drops_) totals.dropped_lines += count.load(std::memory_order_relaxed);
    return totals;
  }

  std::vector<FamilyDescription> describe() const override {
    return {{.name = "statsd_sent_datagrams_total", .help = "Datagrams sent to StatsD.", .type = MetricType::counter},
            {.name = "statsd_sent_bytes_total", .help = "Bytes sent to StatsD.", .type = MetricType::counter},
            {.name = "statsd_failed_datagrams_total",
             .help = "Datagrams for StatsD that the socket did not take.",
             .type = MetricType::counter,
             .labels = {"reason"}},
            {.name = "statsd_dropped_lines_total",
             .help = "Lines for StatsD that will never be sent.",
             .type = MetricType::counter,
             .labels = {"reason"}}};
  }
  void collect(Samples& samples) override {
    samples.add("statsd_sent_datagrams_total", datagrams_.load(std::memory_order_relaxed));
    samples.add("statsd_sent_bytes_total", bytes_.load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < failures_.size(); ++i) {
      samples.add("statsd_failed_datagrams_total", {failure_names[i]}, failures_[i].load(std::memory_order_relaxed));
    }
    for (std::size_t i = 0; i < drops_.size(); ++i) {
      samples.add("statsd_dropped_lines_total", {drop_names[i]}, drops_[i].load(std::memory_order_relaxed));
    }
  }

 private:
  std::atomic<std::uint64_t> datagrams_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::array<std::atomic<std::uint64_t>, failure_names.size()> failures_{};
  std::array<std::atomic<std::uint64_t>, drop_names.size()> drops_{};
};

/// Where datagrams go.
class Destination {
 public:
  /// Throws StatsdError.
  explicit Destination(std::string_view address) {
    try {
      if (address.starts_with(unix_scheme)) {
        set_path(address.substr(unix_scheme.size()));
      } else {
        connect_udp(address);
      }
    } catch (const std::runtime_error& error) {
      throw StatsdError(fmt::format("StatsD address \"{}\": {}", address, error.what()));
    }
  }

  [[nodiscard]] bool is_unix() const noexcept { return path_.sun_family == AF_UNIX; }

  /// Never waits. Nothing if it was sent.
  [[nodiscard]] std::optional<Failure> send(std::string_view datagram) noexcept {
    int error = attempt(datagram);
    if (is_unix() && is_gone(error)) {
      socket_.reset();  // the server it was connected to; there may be another one by now
      error = attempt(datagram);
    }
    if (error == 0) return std::nullopt;
    if (is_gone(error)) return Failure::refused;
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM ? Failure::full
                                                                                          : Failure::other;
  }

  void close() noexcept { socket_.reset(); }

 private:
  void set_path(std::string_view path) {
    if (!path.starts_with('/') || path.find('\0') != path.npos) throw std::runtime_error("expected unix:/PATH");
    if (path.size() >= sizeof path_.sun_path) {
      throw std::runtime_error(
          fmt::format("the path is longer than the system allows, {} bytes", sizeof path_.sun_path - 1));
    }
    path_.sun_family = AF_UNIX;
    path.copy(path_.sun_path, path.size());
  }

  void connect_udp(std::string_view text) {
    const detail::Address address = detail::parse_address(text);
    if (address.host.empty()) throw std::runtime_error("expected HOST:PORT or unix:/PATH");
    if (address.port == 0) throw std::runtime_error("the port is a number from 1 to 65535");
    int error = EADDRNOTAVAIL;
    const bool is_connected = detail::Resolved(address, SOCK_DGRAM).any([&](const addrinfo& entry) {
      error = connect(entry.ai_family, entry.ai_addr, entry.ai_addrlen);
      return error == 0;
    });
    if (!is_connected) throw std::runtime_error(std::generic_category().message(error));
  }

  /// 0 or an errno.
  [[nodiscard]] int connect(int family, const sockaddr* address, socklen_t size) noexcept {
    socket_ = Descriptor(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket_ && ::connect(socket_.get(), address, size) == 0) return 0;
    const int error = errno;
    socket_.reset();
    return error;
  }

  [[nodiscard]] int attempt(std::string_view datagram) noexcept {
    if (!socket_) {
      const int error = connect(AF_UNIX, reinterpret_cast<const sockaddr*>(&path_), sizeof path_);
      if (error != 0) return error;
    }
    while (::send(socket_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno != EINTR) return errno;
    }
    return 0;
  }

  /// Whether nobody is there.
  [[nodiscard]] static bool is_gone(int error) noexcept {
    return error == ECONNREFUSED || error == ENOENT || error == ENOTCONN || error == ECONNRESET || error == EPIPE;
  }

  sockaddr_un path_{};  // of a Unix socket
  Descriptor socket_;   // connected; a Unix socket may be without one
};

// What lines are made of.

void append_clean(std::string& out, std::string_view text, std::string_view also = "") {
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    const bool breaks = code <= ' ' || code == 0x7F || std::string_view(":|@#,").find(c) != std::string_view::npos;
    out += breaks || also.find(c) != also.npos ? '_' : c;
  }
}

void append_number(std::string& out, std::uint64_t number) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// Without an exponent.
void append_number(std::string& out, double number) {
  char digits[1100];
  const double shown = number == 0 ? 0 : number;  // no -0
  out.append(digits, std::to_chars(digits, digits + sizeof digits, shown, std::chars_format::fixed).ptr);
}

/// Puts a line, without a line feed. A series is a name, and behind a '|' its tags if it has any.
template <class Value>
void append_line(std::string& out, std::string_view series, Value value, std::string_view type) {
  const std::size_t end = std::min(series.find('|'), series.size());
  out.append(series, 0, end) += ':';
  append_number(out, value);
  (out += '|') += type;
  out.append(series, end);
}

using Counts = std::map<std::string, std::uint64_t, std::less<>>;
using Gauges = std::map<std::string, double, std::less<>>;

/// What was recorded and is to be sent.
struct Pending {
  Counts counts{};
  Gauges gauges{};
  std::string values{};  // lines, each with its line feed
  std::size_t value_count = 0;

  [[nodiscard]] std::size_t series() const noexcept { return counts.size() + gauges.size(); }
};

void add(std::uint64_t& sum, std::uint64_t step) noexcept {
  const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - sum;
  sum += std::min(step, room);
}

}  // namespace

/// Recordings go into `pending_`, under a lock that is held for no longer than that takes. Whoever sends, one at a
/// time, takes all of it away, sends without that lock, and puts back what could not be sent and has not been
/// overtaken.
class StatsdRecorder::Sender {
 public:
  explicit Sender(const StatsdOptions& options)
      : options_(checked(options)),
        prefix_(prefix_of(options)),
        destination_(options.address),
        max_datagram_(options.max_datagram > 0 ? options.max_datagram
                                               : (destination_.is_unix() ? unix_datagram : udp_datagram)),
        generation_((count_forks(), forks.load(std::memory_order_relaxed))) {
    for (const Label& label : options.labels) constants_.emplace_back(label.name, label.value);
    try {
      const detail::SignalsBlocked blocked;
      thread_ = std::thread([this] { run(); });
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

  /// Whether this is a child of the process that made it. Then nothing else may be touched: its thread is not here, and
  /// may have held any of the locks.
  [[nodiscard]] bool is_forked() const noexcept { return forks.load(std::memory_order_relaxed) != generation_; }
  void close_in_child() noexcept { destination_.close(); }

  void increment(std::string_view name, std::uint64_t step, Labels labels) {
    if (is_forked()) return stats_->count(Drop::forked);
    const std::lock_guard lock(mutex_);
    if (std::uint64_t* sum = find_or_add(pending_.counts, series(name, labels))) add(*sum, step);
  }

  void gauge(std::string_view name, double value, Labels labels) {
    if (is_forked()) return stats_->count(Drop::forked);
    if (!std::isfinite(value)) return stats_->count(Drop::not_finite);
    const std::lock_guard lock(mutex_);
    if (double* last = find_or_add(pending_.gauges, series(name, labels))) *last = value;
  }

  void value(std::string_view name, double value, Labels labels, std::string_view type) {
    if (is_forked()) return stats_->count(Drop::forked);
    if (!std::isfinite(value)) return stats_->count(Drop::not_finite);
    bool is_time_to_send = false;
    {
      const std::lock_guard lock(mutex_);
      if (pending_.value_count >= options_.max_pending) return stats_->count(Drop::too_many);
      append_line(pending_.values, series(name, labels), value, type);
      pending_.values += '\n';
      ++pending_.value_count;
      is_time_to_send = pending_.value_count == many_values();
    }
    if (is_time_to_send) wake_.notify_one();
  }

  void flush() {
    if (!is_forked()) send_all();
  }

  [[nodiscard]] bool is_dogstatsd() const noexcept { return options_.dialect == StatsdDialect::dogstatsd; }
  [[nodiscard]] const std::shared_ptr<Stats>& stats() const noexcept { return stats_; }

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
    if (options.max_datagram > most_datagram) {
      throw StatsdError(fmt::format("StatsdOptions::max_datagram is {}, and must be no more than {} bytes",
                                    options.max_datagram, most_datagram));
    }
    if (options.max_pending == 0) throw StatsdError("StatsdOptions::max_pending is 0, and must be at least 1");
    return {options.dialect, options.interval, options.max_pending};
  }

  [[nodiscard]] static std::string prefix_of(const StatsdOptions& options) {
    std::string prefix;
    append_clean(prefix, options.prefix);
    if (!prefix.empty() && !prefix.ends_with('.')) prefix += '.';
    return prefix;
  }

  [[nodiscard]] std::size_t many_values() const noexcept { return (options_.max_pending + 1) / 2; }

  // With the lock held. What they return is good until the next call.

  /// The labels of a line, by name, each name once.
  [[nodiscard]] Labels sorted(Labels labels) {
    sorted_.clear();
    for (const auto& [name, value] : constants_) sorted_.push_back({name, value});
    sorted_.insert(sorted_.end(), labels.begin(), labels.end());
    std::ranges::stable_sort(sorted_, {}, &Label::name);
    const auto is_same = [](const Label& a, const Label& b) { return a.name == b.name; };
    sorted_.erase(std::unique(sorted_.begin(), sorted_.end(), is_same), sorted_.end());
    return sorted_;
  }

  [[nodiscard]] std::string_view series(std::string_view name, Labels labels) {
    series_ = prefix_;
    append_clean(series_, name.empty() ? "_" : name);
    if (is_dogstatsd()) {
      std::string_view separator = "|#";
      for (const Label& label : sorted(labels)) {
        if (label.value.empty()) continue;
        series_ += std::exchange(separator, ",");
        append_clean(series_, label.name.empty() ? "_" : label.name);
        series_ += ':';
        append_clean(series_, label.value);
      }
    } else {
      for (const Label& label : sorted(labels)) {
        series_ += '.';
        append_clean(series_, label.value.empty() ? "_" : label.value, ".");
      }
    }
    return series_;
  }

  /// Null, and counted, if there is no room.
  template <class Map>
  [[nodiscard]] typename Map::mapped_type* find_or_add(Map& map, std::string_view key) {
    const auto known = map.find(key);
    if (known != map.end()) return &known->second;
    if (pending_.series() < options_.max_pending) return &map.emplace(key, 0).first->second;
    stats_->count(Drop::too_many);
    return nullptr;
  }

  /// A datagram that is being filled, and what is put back should it fail.
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

  // With the lock for sending held.

  void send(Datagram& datagram) {
    if (datagram.text.empty()) return;
    if (const auto failure = destination_.send(datagram.text)) {
      stats_->count(*failure);
      put_back(datagram);
    } else {
      stats_->count_sent(datagram.text.size());
    }
    datagram.clear();
  }

  /// Has `lines`, one or those that belong together, in the datagram, if need be in the next one. False if no datagram
  /// may be so long.
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
      if (std::uint64_t* sum = find_or_add(pending_.counts, count->first)) add(*sum, count->second);
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
      append_line(lines, count.first, count.second, "c");
      if (put(datagram, lines)) datagram.counts.push_back(&count);
    }
    for (const auto& gauge : news.gauges) {
      lines.clear();
      if (gauge.second < 0 && !is_dogstatsd()) {
        append_line(lines, gauge.first, std::uint64_t{0}, "g");
        lines += '\n';
      }
      append_line(lines, gauge.first, gauge.second, "g");
      if (put(datagram, lines)) datagram.gauges.push_back(&gauge);
    }
    for (std::string_view rest = news.values; !rest.empty();) {
      const std::size_t end = rest.find('\n');
      if (put(datagram, rest.substr(0, end))) ++datagram.values;
      rest.remove_prefix(end + 1);
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
#ifdef __linux__
    ::pthread_setname_np(::pthread_self(), "quipu-statsd");
#endif
    std::unique_lock lock(mutex_);
    while (!is_over_) {
      wake_.wait_for(lock, options_.interval, [this] { return is_over_ || pending_.value_count >= many_values(); });
      if (is_over_) return;
      lock.unlock();
      send_what_memory_allows();
      lock.lock();
    }
  }

  const Limits options_;
  const std::string prefix_;
  std::vector<std::pair<std::string, std::string>> constants_;
  const std::shared_ptr<Stats> stats_ = std::make_shared<Stats>();

  std::mutex sending_;  // guards the destination; taken before the other one
  Destination destination_;
  const std::size_t max_datagram_;
  const std::uint32_t generation_;  // how many forks there had been

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  Pending pending_;
  std::string series_;         // reused
  std::vector<Label> sorted_;  // reused
  bool is_over_ = false;

  std::thread thread_;
};

StatsdRecorder::StatsdRecorder(const StatsdOptions& options) : sender_(std::make_unique<Sender>(options)) {}

StatsdRecorder::~StatsdRecorder() {
  if (!sender_->is_forked()) return;
  sender_->close_in_child();
  static_cast<void>(sender_.release());
}

void StatsdRecorder::increment(std::string_view name, std::uint64_t step, Labels labels) {
  sender_->increment(name, step, labels);
}

void StatsdRecorder::gauge(std::string_view name, double value, Labels labels) { sender_->gauge(name, value, labels); }

void StatsdRecorder::histogram(std::string_view name, double value, Labels labels) {
  sender_->value(name, value, labels, sender_->is_dogstatsd() ? "h" : "ms");
}

void StatsdRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  sender_->value(name, std::chrono::duration<double, std::milli>(time).count(), labels, "ms");
}

void StatsdRecorder::flush() { sender_->flush(); }

StatsdStats StatsdRecorder::stats() const noexcept { return sender_->stats()->totals(); }

Registration StatsdRecorder::expose(const Scope& scope) const { return scope.add(sender_->stats()); }

}  // namespace quipu

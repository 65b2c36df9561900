#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "base/utf8.hpp"
#include "fuzz/recordings.hpp"
#include "quipu/statsd.hpp"
#include "support/udp.hpp"

// What holds for the datagrams of any recordings. The first line of the input is options: the dialect, the maximum size
// of a datagram, and a prefix with the labels of every line. The rest is recordings.
//
//     dogstatsd 64 shop|env=prod

namespace statsd_properties {

/// Receives datagrams of this process.
class Server {
 public:
  Server()
      : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        address_("127.0.0.1:" + std::to_string(bind_to_any_port(socket_))) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { ::close(socket_); }

  [[nodiscard]] const std::string& address() const { return address_; }

  /// The datagrams that have arrived.
  std::vector<std::string> datagrams() {
    std::vector<std::string> result;
    for (;;) {
      std::string text(65536, '\0');
      const auto size = ::recv(socket_, text.data(), text.size(), MSG_DONTWAIT);
      if (size < 0) return result;
      text.resize(static_cast<std::size_t>(size));
      result.push_back(std::move(text));
    }
  }

 private:
  int socket_;
  std::string address_;
};

inline bool is_clean(std::string_view text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7F' ||
           std::string_view(":|@#,").find(c) != std::string_view::npos;
  });
}

struct Line {
  std::string series;  // with its tags
  std::string value;
  std::string type;
};

/// Takes a line apart. What is wrong with it, or nothing.
inline std::string take_apart(std::string_view text, bool has_tags, Line& line) {
  using quipu::detail::take_until;
  const std::string_view name = take_until(text, ':');
  const std::string_view value = take_until(text, '|');
  const std::string_view type = take_until(text, '|');
  if (!is_clean(name)) return "a name that breaks the line";
  const std::string_view digits = value.substr(value.starts_with('-') ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789.") != digits.npos ||
      !quipu::detail::to_number<double>(value)) {
    return "a value that is no number";
  }
  if (type != "c" && type != "g" && type != "h" && type != "ms") return "a type that is none";
  line = {.series = std::string(name), .value = std::string(value), .type = std::string(type)};
  if (text.empty()) return "";
  if (!has_tags) return "tags where there should be none";
  line.series.append("|").append(text);
  if (!text.starts_with('#')) return "something else than tags";
  for (text.remove_prefix(1); !text.empty();) {
    std::string_view tag = take_until(text, ',');
    const std::string_view key = take_until(tag, ':');
    if (!is_clean(key) || !is_clean(tag)) return "a tag that breaks the line";
  }
  return "";
}

inline bool is_plain(std::string_view text) {
  return !text.empty() && text.size() < 50 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == text.npos;
}

inline bool is_plain(const recordings::Recording& recording) {
  for (auto label = recording.labels.begin(); label != recording.labels.end(); ++label) {
    if (!is_plain(label->first) || !is_plain(label->second)) return false;
    if (std::any_of(recording.labels.begin(), label, [&](auto& other) { return other.first == label->first; })) {
      return false;
    }
  }
  return is_plain(recording.name);
}

/// What a plain recording of a plain recorder is called in its line.
inline std::string series_of(const recordings::Recording& recording, bool has_tags) {
  auto labels = recording.labels;
  std::sort(labels.begin(), labels.end());
  std::string result = recording.name;
  std::string separator = has_tags ? "|#" : ".";
  for (const auto& [name, value] : labels) {
    result += separator;
    if (has_tags) result.append(name) += ':';
    result += value;
    if (has_tags) separator = ",";
  }
  return result;
}

/// What is wrong with the datagrams of these recordings, or nothing.
inline std::string check(std::string_view data) {
  using quipu::detail::take_until;
  std::string_view line = take_until(data, '\n');
  const bool has_tags = take_until(line, ' ') == "dogstatsd";
  const std::size_t max_datagram =
      std::clamp<std::size_t>(quipu::detail::to_number<std::size_t>(take_until(line, ' ')).value_or(1432), 1, 65'507);
  const std::string prefix = recordings::with_line_feeds(take_until(line, '|'));
  std::vector<std::pair<std::string, std::string>> constants;
  while (!line.empty()) {
    std::string_view value = take_until(line, '|');
    const std::string_view name = take_until(value, '=');
    constants.emplace_back(name, value);
  }
  auto made = recordings::recordings_of(data);
  made.resize(std::min<std::size_t>(made.size(), 100), {});  // whose datagrams the socket holds

  static Server server;
  quipu::StatsdOptions options{.address = server.address(),
                               .prefix = prefix,
                               .dialect = has_tags ? quipu::StatsdDialect::dogstatsd : quipu::StatsdDialect::statsd,
                               .labels = {},
                               .max_datagram = max_datagram,
                               .interval = std::chrono::hours(1)};
  for (const auto& [name, value] : constants) options.labels.push_back({name, value});
  quipu::StatsdRecorder recorder(options);
  for (const auto& recording : made) recordings::record(recorder, recording);
  recorder.flush();

  std::map<std::pair<std::string, std::string>, std::size_t> received;  // by series and type
  std::size_t values = 0;
  std::size_t gauges = 0;
  double counted = 0;
  std::size_t bytes = 0;
  for (const std::string& datagram : server.datagrams()) {
    if (datagram.size() > max_datagram) return "a datagram that is too long: " + datagram;
    if (!quipu::detail::is_utf8(datagram)) return "a datagram that is not UTF-8: " + datagram;
    bytes += datagram.size();
    std::string_view rest = datagram;
    while (!rest.empty()) {
      const std::string_view text = take_until(rest, '\n');
      Line parts;
      if (std::string wrong = take_apart(text, has_tags, parts); !wrong.empty()) return wrong + ": " + datagram;
      const std::size_t times = ++received[{parts.series, parts.type}];
      values += static_cast<std::size_t>(parts.type == "h" || parts.type == "ms");
      if (parts.type == "c") counted += quipu::detail::to_number<double>(parts.value).value_or(0);
      if (parts.type == "c" && times > 1) return "a counter twice: " + datagram;
      if (parts.type == "g") {
        ++gauges;
        // A negative value has a 0 before it.
        const bool may_be_second = !has_tags && times == 2 && parts.value.starts_with('-');
        if (times > 1 && !may_be_second) return "a gauge twice: " + datagram;
      }
    }
    if (datagram.ends_with('\n')) return "an empty line: " + datagram;
  }

  const auto stats = recorder.stats();
  if (stats.failed_datagrams == 0 && stats.sent_bytes != bytes) return "not all is received";
  if (stats.failed_datagrams > 0 || stats.dropped_lines > 0) return "";
  double steps = 0;
  std::size_t values_made = 0;
  for (const auto& recording : made) {
    const bool is_count = recording.kind == recordings::Kind::increment;
    steps += is_count ? recording.step.real() : 0;
    values_made += static_cast<std::size_t>(!is_count && recording.kind != recordings::Kind::gauge);
    if (!prefix.empty() || !constants.empty() || !is_plain(recording)) continue;
    static constexpr std::string_view of_statsd[] = {"c", "g", "ms", "ms"};
    static constexpr std::string_view of_dogstatsd[] = {"c", "g", "h", "ms"};
    const std::string type((has_tags ? of_dogstatsd : of_statsd)[static_cast<std::size_t>(recording.kind)]);
    if (!received.contains({series_of(recording, has_tags), type})) {
      return "a series that is missing: " + series_of(recording, has_tags);
    }
  }
  if (values != values_made) return "not a line for each value";
  if (steps < 9e15 && std::abs(counted - steps) > 1e-6 * steps) return "the steps do not add up";
  return "";
}

}  // namespace statsd_properties

#include "quipu/statsd.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <locale>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/sanitizers.hpp"
#include "support/udp.hpp"

using namespace std::chrono_literals;
using quipu::StatsdDialect;
using quipu::StatsdError;
using quipu::StatsdOptions;
using quipu::StatsdRecorder;
using quipu::testing::value_of;

namespace {

using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;

Lines lines_of(const std::string& datagram) {
  Lines lines(1);
  for (const char c : datagram) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

/// A datagram socket that StatsD lines come to.
class Server {
 public:
  /// UDP, on a port of the system's choice.
  Server()
      : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        port_(bind_to_any_port(socket_)),
        address_("127.0.0.1:" + std::to_string(port_)) {}
  /// At a path.
  explicit Server(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), address_("unix:" + path) {
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    path.copy(own.sun_path, path.size());
    ::unlink(path.c_str());
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { ::close(socket_); }

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }

  /// The next datagram, if one comes within that time.
  std::optional<std::string> datagram(std::chrono::milliseconds patience = 10s) {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(patience.count())) <= 0) return std::nullopt;
    std::string text(65536, '\0');
    const auto size = ::recv(socket_, text.data(), text.size(), 0);
    REQUIRE(size >= 0);
    text.resize(static_cast<std::size_t>(size));
    return text;
  }
  /// The lines of the datagrams that are there, of the first of which it waits for.
  Lines lines() {
    Lines all;
    for (auto next = datagram(); next; next = datagram(0ms)) {
      for (auto& line : lines_of(*next)) all.push_back(std::move(line));
    }
    return all;
  }

 private:
  int socket_;
  std::uint16_t port_ = 0;
  std::string address_;
};

/// A folder of its own for a socket.
class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_) != nullptr); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string socket() const { return std::string(path_) + "/statsd"; }

 private:
  char path_[32] = "/tmp/quipu-statsd-XXXXXX";
};

/// Sends when it is told to, and at no other time.
StatsdOptions only_told(const Server& server, StatsdDialect dialect = StatsdDialect::statsd) {
  return {.address = server.address(), .dialect = dialect, .interval = 1h};
}

struct Sent {
  explicit Sent(StatsdDialect dialect = StatsdDialect::statsd) : Sent({.dialect = dialect}) {}
  explicit Sent(StatsdOptions options) {
    options.address = server.address();
    options.interval = 1h;
    backend = std::make_shared<StatsdRecorder>(options);
    recorder = quipu::Recorder(backend);
  }
  /// What is sent by a flush.
  Lines lines() {
    recorder.flush();
    return server.lines();
  }

  Server server;
  std::shared_ptr<StatsdRecorder> backend;
  quipu::Recorder recorder;
};

std::map<std::string, std::uint64_t> sums_of(const Lines& lines) {
  std::map<std::string, std::uint64_t> sums;
  for (const std::string& line : lines) {
    if (!line.ends_with("|c")) continue;
    const auto colon = line.find(':');
    sums[line.substr(0, colon)] += std::stoull(line.substr(colon + 1));
  }
  return sums;
}

}  // namespace

TEST_CASE("StatsD gets the sum of a counter's steps since the last time, and then only what is new") {
  Sent sent;
  sent.recorder.increment("comments.created");
  sent.recorder.increment("comments.created", 4);
  sent.recorder.increment("other", 0);
  CHECK(sent.lines() == Lines{"comments.created:5|c", "other:0|c"});
  sent.recorder.increment("comments.created", 2);
  CHECK(sent.lines() == Lines{"comments.created:2|c"});
  sent.recorder.flush();
  CHECK_FALSE(sent.server.datagram(0ms));
}

TEST_CASE("StatsD gets the sum of whole steps and fractions, without an exponent, and exactly while all are whole") {
  Sent sent;
  sent.recorder.increment("spent", 0.25);
  sent.recorder.increment("spent", 2);
  sent.recorder.increment("tiny", 1e-7);
  CHECK(sent.lines() == Lines{"spent:2.25|c", "tiny:0.0000001|c"});
  sent.recorder.increment("spent", (std::int64_t{1} << 60) + 1);
  CHECK(sent.lines() == Lines{"spent:1152921504606846977|c"});
  sent.recorder.increment("spent", std::numeric_limits<double>::max());
  sent.recorder.increment("spent", std::numeric_limits<double>::max());
  const Lines most = sent.lines();
  REQUIRE(most.size() == 1);
  CHECK(std::stod(most[0].substr(6)) == std::numeric_limits<double>::max());
}

TEST_CASE("StatsD gets the last value of a gauge; a negative one is set to 0 first, but not in DogStatsD") {
  Sent plain;
  plain.recorder.gauge("a", 5);
  plain.recorder.gauge("a", -2.5);
  plain.recorder.gauge("b", -1);
  plain.recorder.gauge("b", 7);
  plain.recorder.gauge("c", -0.0);
  CHECK(plain.lines() == Lines{"a:0|g", "a:-2.5|g", "b:7|g", "c:0|g"});
  Sent tagged(StatsdDialect::dogstatsd);
  tagged.recorder.gauge("a", -2.5);
  CHECK(tagged.lines() == Lines{"a:-2.5|g"});
}

TEST_CASE("StatsD gets each value of a histogram and each time, times in milliseconds") {
  Sent plain;
  Sent tagged(StatsdDialect::dogstatsd);
  for (const Sent* sent : {&plain, &tagged}) {
    sent->recorder.histogram("size", 1500);
    sent->recorder.histogram("size", 1500);
    sent->recorder.time("took", 20ms);
    sent->recorder.time("took", 1234567ns);
  }
  CHECK(plain.lines() == Lines{"size:1500|ms", "size:1500|ms", "took:20|ms", "took:1.234567|ms"});
  CHECK(tagged.lines() == Lines{"size:1500|h", "size:1500|h", "took:20|ms", "took:1.234567|ms"});
}

TEST_CASE("labels are tags in DogStatsD and parts of the name in StatsD, sorted by their names") {
  Sent plain({.prefix = "app", .labels = {{"env", "prod"}}});
  Sent tagged({.prefix = "app.", .dialect = StatsdDialect::dogstatsd, .labels = {{"env", "prod"}}});
  for (const Sent* sent : {&plain, &tagged}) {
    sent->recorder.increment("x", 1, {{"kind", "reply"}, {"by", "ann"}});
    sent->recorder.increment("x", 1, {{"by", "ann"}, {"kind", "reply"}, {"env", "test"}});
    sent->recorder.gauge("g", 1, {{"by", ""}, {"zone", "1.2"}});
    sent->recorder.time("t", 1ms);
  }
  CHECK(plain.lines() == Lines{"app.x.ann.prod.reply:2|c", "app.g._.prod.1_2:1|g", "app.t.prod:1|ms"});
  CHECK(tagged.lines() ==
        Lines{"app.x:2|c|#by:ann,env:prod,kind:reply", "app.g:1|g|#env:prod,zone:1.2", "app.t:1|ms|#env:prod"});
}

TEST_CASE("what would break a line of StatsD becomes an underscore") {
  const std::string nasty = "a:b|c@d#e,f\ng h\x01\x7F\xC3\xA4";
  Sent plain;
  Sent tagged(StatsdDialect::dogstatsd);
  for (const Sent* sent : {&plain, &tagged}) {
    sent->recorder.increment(nasty, 1, {{nasty, nasty}});
    sent->recorder.increment("", 1, {{"", "x"}});
  }
  const std::string clean = "a_b_c_d_e_f_g_h__\xC3\xA4";
  CHECK(plain.lines() == Lines{"_.x:1|c", clean + "." + clean + ":1|c"});
  CHECK(tagged.lines() == Lines{"_:1|c|#_:x", clean + ":1|c|#" + clean + ":" + clean});
}

TEST_CASE("what is not UTF-8 is U+FFFD for StatsD, in names and labels") {
  const std::string broken =
      "a\xFF\xE2\x82.\xC0\xAF"
      "b\xC3\xA4\xF0\x9F";
  const std::string valid =
      "a\xEF\xBF\xBD\xEF\xBF\xBD.\xEF\xBF\xBD\xEF\xBF\xBD"
      "b\xC3\xA4\xEF\xBF\xBD";
  Sent plain({.prefix = broken});
  Sent tagged({.prefix = broken, .dialect = StatsdDialect::dogstatsd, .labels = {{"env", "\xFF"}}});
  for (const Sent* sent : {&plain, &tagged}) sent->recorder.gauge(broken, 1, {{broken, "x\xFF|"}});
  CHECK(plain.lines() == Lines{valid + "." + valid + ".x\xEF\xBF\xBD_:1|g"});
  CHECK(tagged.lines() == Lines{valid + "." + valid + ":1|g|#" + valid + ":x\xEF\xBF\xBD_,env:\xEF\xBF\xBD"});
}

TEST_CASE("a long label value is cut for StatsD where a code point ends, at no cost for the rest of it") {
  const StatsdDialect dialect = GENERATE(StatsdDialect::statsd, StatsdDialect::dogstatsd);
  Sent sent(dialect);
  const std::string begin = dialect == StatsdDialect::statsd ? "x." : "x:3|c|#a:";
  const std::string end = dialect == StatsdDialect::statsd ? ":3|c" : "";
  sent.recorder.increment("x", 1, {{"a", std::string(1022, 'y') + "\xE2\x82\xAC"}});
  sent.recorder.increment("x", 1, {{"a", std::string(1022, 'y') + "\xFF"}});
  sent.recorder.increment("x", 1, {{"a", std::string(1022, 'y')}});
  CHECK(sent.lines() == Lines{begin + std::string(1022, 'y') + end});

  const std::string huge(10'000'000, 'y');
  const auto before = Clock::now();
  for (int i = 0; i < 500; ++i) {
    sent.recorder.increment("x", 1, {{"a", huge}});
    sent.recorder.increment(huge, 1);
    sent.recorder.histogram(huge, 1, {{huge, "a"}});
  }
  CHECK(Clock::now() - before < 10s);  // a minute, if all of it was read
  CHECK(sent.backend->stats().dropped_lines == 1000);
  CHECK(sent.lines().size() == 1);
  CHECK(sent.backend->stats().dropped_lines == 1000);
}

TEST_CASE("numbers for StatsD have no exponent, and depend on no locale") {
  Sent sent;
  struct Punctuation : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Punctuation));
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // where there is that
  sent.recorder.increment("c", std::numeric_limits<std::int64_t>::max());
  sent.recorder.increment("c", std::numeric_limits<std::int64_t>::max());
  sent.recorder.increment("c", std::numeric_limits<std::int64_t>::max());
  for (const double value : {1e22, 1e-7, 1234567.5, -1e300, 5e-324}) sent.recorder.histogram("h", value);
  const Lines lines = sent.lines();
  std::setlocale(LC_ALL, "C");
  std::locale::global(before);

  REQUIRE(lines.size() == 6);
  CHECK(lines[0] == "c:18446744073709551615|c");  // and no further
  CHECK(lines[1] == "h:10000000000000000000000|ms");
  CHECK(lines[2] == "h:0.0000001|ms");
  CHECK(lines[3] == "h:1234567.5|ms");
  CHECK(lines[4].size() == std::string_view("h:-|ms").size() + 301);
  CHECK(std::stod(lines[4].substr(2)) == -1e300);
  CHECK(lines[5].starts_with("h:0.000000000000"));
}

TEST_CASE("what is not finite is dropped for StatsD, and counted") {
  Sent sent;
  sent.recorder.gauge("g", std::numeric_limits<double>::quiet_NaN());
  sent.recorder.histogram("h", std::numeric_limits<double>::infinity());
  sent.recorder.increment("x");
  CHECK(sent.lines() == Lines{"x:1|c"});
  CHECK(sent.backend->stats().dropped_lines == 2);
}

TEST_CASE("datagrams for StatsD hold whole lines, and no more bytes than they may; what is longer alone is dropped") {
  const std::size_t budget = GENERATE(std::size_t{20}, std::size_t{64}, std::size_t{0});
  Sent sent({.max_datagram = budget});
  for (int i = 100; i < 160; ++i) {  // no more than a socket holds
    sent.recorder.increment("c" + std::to_string(i), i);
    sent.recorder.gauge("g" + std::to_string(i), -i);
    sent.recorder.histogram("h" + std::to_string(i), i);
  }
  sent.recorder.increment(std::string(1430, 'x'));
  sent.recorder.flush();

  std::size_t datagrams = 0;
  std::size_t bytes = 0;
  std::size_t longest = 0;
  std::map<std::string, int> lines;
  bool has_gauges_in_one_piece = true;
  for (auto next = sent.server.datagram(); next; next = sent.server.datagram(0ms)) {
    ++datagrams;
    bytes += next->size();
    longest = std::max(longest, next->size());
    const Lines here = lines_of(*next);
    for (std::size_t i = 0; i < here.size(); ++i) {
      ++lines[here[i]];
      if (!here[i].ends_with(":0|g")) continue;
      const std::string name = here[i].substr(0, 4);
      has_gauges_in_one_piece = has_gauges_in_one_piece && i + 1 < here.size() && here[i + 1].starts_with(name + ":-");
    }
  }
  const std::size_t most = budget == 0 ? 1432 : budget;
  CHECK(longest <= most);
  CHECK(longest + 20 > most);
  CHECK(lines.size() == 60 * 4);
  CHECK(lines["c100:100|c"] == 1);
  CHECK(lines["g159:-159|g"] == 1);
  CHECK(lines["h150:150|ms"] == 1);
  CHECK(has_gauges_in_one_piece);
  const auto stats = sent.backend->stats();
  CHECK(stats.sent_datagrams == datagrams);
  CHECK(stats.sent_bytes == bytes);
  CHECK(stats.dropped_lines == 1);
}

TEST_CASE("a name too long for a datagram is dropped when it is recorded, whatever code point is at the limit") {
  for (std::size_t before = 13; before <= 17; ++before) {
    Sent sent({.max_datagram = 16});
    INFO(before);
    const std::string name = std::string(before, 'x') + "\xF0\x9F\x98\x80";
    for (int i = 0; i < 3; ++i) sent.recorder.increment(name);
    CHECK(sent.backend->stats().dropped_lines == 3);
    sent.recorder.increment("short");
    CHECK(sent.lines() == Lines{"short:1|c"});
  }
}

TEST_CASE("an address for StatsD that makes no sense is refused with its name and the reason") {
  using Catch::Matchers::ContainsSubstring;
  const auto refusal = [](std::string_view address) -> std::string {
    try {
      const StatsdRecorder recorder(StatsdOptions{.address = std::string(address)});
    } catch (const StatsdError& error) {
      return error.what();
    }
    return "none";
  };
  for (const char* address :
       {"", "localhost", ":8125", "localhost:", "localhost:x", "localhost:65536", "localhost:0", "::1:8125",
        "[::1:8125", "[]:8125", "[localhost]:8125", "unix:", "unix:statsd", "no.such.host.invalid:8125"}) {
    INFO(address);
    CHECK_THAT(refusal(address), ContainsSubstring("StatsD address \"" + std::string(address) + "\": "));
  }
  CHECK_THAT(refusal("unix:/" + std::string(200, 'x')), ContainsSubstring("longer than the system allows"));
  CHECK_THAT(refusal("localhost:0"), ContainsSubstring("from 1 to 65535"));
}

TEST_CASE("options for StatsD out of their range are refused with their names") {
  using Catch::Matchers::ContainsSubstring;
  CHECK_THROWS_WITH(StatsdRecorder({.interval = 0ms}), ContainsSubstring("interval is 0 ms"));
  CHECK_THROWS_WITH(StatsdRecorder({.interval = 2h}), ContainsSubstring("interval is 7200000 ms"));
  CHECK_THROWS_WITH(StatsdRecorder({.max_datagram = 70'000}), ContainsSubstring("max_datagram is 70000"));
  CHECK_THROWS_WITH(StatsdRecorder({.max_pending = 0}), ContainsSubstring("max_pending"));
}

TEST_CASE("StatsD is reached by name, and over IPv6 where there is that") {
  Server server;
  StatsdRecorder by_name({.address = "localhost:" + std::to_string(server.port()), .interval = 1h});
  by_name.increment("x", 1, {});
  by_name.flush();
  CHECK(server.lines() == Lines{"x:1|c"});
  try {
    StatsdRecorder ipv6({.address = "[::1]:8125", .interval = 1h});
  } catch (const StatsdError& error) {
    CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("[::1]:8125"));
  }
}

TEST_CASE("StatsD is sent to each interval, by a thread that is there for it") {
  Server server;
  StatsdRecorder recorder({.address = server.address(), .interval = 5ms});
  recorder.increment("x", 1, {});
  CHECK(server.datagram() == "x:1|c");
  recorder.increment("x", 2, {});
  CHECK(server.datagram() == "x:2|c");
}

#ifdef __linux__
TEST_CASE("the thread that sends to StatsD has a name, and the program's signals are not delivered on it") {
  Server server;
  const StatsdRecorder recorder(only_told(server));
  std::string blocked;
  const auto look = [&] {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(task.path() / "comm") >> std::ws, name);
      if (name != "quipu-statsd") continue;
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with("SigBlk:")) blocked = line.substr(7);
      }
    }
    return !blocked.empty();
  };
  const auto deadline = Clock::now() + 20s;
  while (!look() && Clock::now() < deadline) std::this_thread::yield();
  REQUIRE(look());
  CHECK((std::stoull(blocked, nullptr, 16) >> (SIGTERM - 1) & 1) == 1);
}
#endif

TEST_CASE("what is left is sent at the end of a StatsD recorder, without waiting for the interval") {
  Server server;
  const auto start = Clock::now();
  {
    StatsdRecorder recorder(only_told(server));
    recorder.increment("x", 1, {});
  }
  CHECK(Clock::now() - start < 10min);
  CHECK(server.datagram(0ms) == "x:1|c");
}

TEST_CASE("many values are sent to StatsD before the interval is over") {
  Server server;
  StatsdOptions options = only_told(server);
  options.max_pending = 10;
  StatsdRecorder recorder(options);
  for (int i = 0; i < 5; ++i) recorder.histogram("h", i, {});
  CHECK(server.datagram() == "h:0|ms\nh:1|ms\nh:2|ms\nh:3|ms\nh:4|ms");
}

TEST_CASE("more series than may wait for StatsD are dropped, and counted; known ones go on") {
  Sent sent({.max_pending = 3});
  for (const char* name : {"a", "b", "c", "d", "e", "a"}) sent.recorder.increment(name);
  sent.recorder.gauge("f", 1);
  CHECK(sent.lines() == Lines{"a:2|c", "b:1|c", "c:1|c"});
  CHECK(sent.backend->stats().dropped_lines == 3);
  sent.recorder.increment("d");
  CHECK(sent.lines() == Lines{"d:1|c"});
}

TEST_CASE("a Unix socket takes longer datagrams; while nobody listens, counts and gauges are kept, values dropped") {
  const Folder folder;
  StatsdRecorder recorder({.address = "unix:" + folder.socket(), .interval = 1h});
  recorder.increment("c", 1, {});
  recorder.gauge("g", 1, {});
  recorder.gauge("h", 2, {});
  recorder.histogram("lost", 1, {});
  recorder.flush();
  CHECK(recorder.stats().failed_datagrams == 1);
  CHECK(recorder.stats().dropped_lines == 1);

  recorder.increment("c", 2, {});
  recorder.gauge("g", 5, {});
  Server server(folder.socket());
  recorder.flush();
  CHECK(server.lines() == Lines{"c:3|c", "g:5|g", "h:2|g"});

  for (int i = 0; i < 1000; ++i) recorder.increment("a.rather.long.name." + std::to_string(i), 1, {});
  recorder.flush();
  const auto datagram = server.datagram();
  REQUIRE(datagram);
  CHECK(datagram->size() > 8000);
  CHECK(datagram->size() <= 8192);
}

TEST_CASE("a gauge that is set while its last value fails to be sent is sent as it was set") {
  const Folder folder;
  int wrong = 0;
  for (int trial = 0; trial < 100; ++trial) {
    std::filesystem::remove(folder.socket());
    StatsdRecorder recorder({.address = "unix:" + folder.socket(), .interval = 1h});
    recorder.gauge("g", 0, {});
    std::atomic<bool> is_over{false};
    std::thread sender([&] {
      while (!is_over) recorder.flush();
    });
    while (recorder.stats().failed_datagrams < 3) std::this_thread::yield();
    for (int i = 1; i <= 20; ++i) recorder.gauge("g", i, {});
    is_over = true;
    sender.join();
    Server server(folder.socket());
    recorder.flush();
    wrong += static_cast<int>(server.datagram() != "g:20|g");
  }
  CHECK(wrong == 0);
}

TEST_CASE("a Unix socket whose server was restarted is connected again") {
  const Folder folder;
  std::optional<Server> server(std::in_place, folder.socket());
  StatsdRecorder recorder(only_told(*server));
  recorder.increment("x", 1, {});
  recorder.flush();
  CHECK(server->lines() == Lines{"x:1|c"});

  server.reset();
  recorder.increment("x", 2, {});
  recorder.flush();
  CHECK(recorder.stats().failed_datagrams == 1);

  server.emplace(folder.socket());
  recorder.increment("x", 3, {});
  recorder.flush();
  CHECK(server->lines() == Lines{"x:5|c"});

  server.emplace(folder.socket());  // without a failure between
  recorder.increment("x", 4, {});
  recorder.flush();
  CHECK(server->lines() == Lines{"x:4|c"});
  CHECK(recorder.stats().dropped_lines == 0);
}

TEST_CASE("a socket that is full keeps nobody waiting; no count is lost by it") {
  const Folder folder;
  Server server(folder.socket());
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  StatsdOptions options = only_told(server);
  options.max_datagram = 32;
  StatsdRecorder recorder(options);
  const auto registration = recorder.expose(registry);
  const auto failed = [&] { return value_of(registry, "statsd_failed_datagrams_total", {{"reason", "full"}}); };

  std::uint64_t counted = 0;
  while (failed() == 0 && counted < 1'000'000) {
    for (int i = 0; i < 10; ++i) recorder.increment("count." + std::to_string(i), 1, {});
    counted += 10;
    recorder.histogram("value", 1, {});
    recorder.flush();
  }
  CHECK(failed() > 0);
  const auto dropped = value_of(registry, "statsd_dropped_lines_total", {{"reason", "unsent"}});

  Lines lines;
  std::uint64_t sum = 0;
  const auto deadline = Clock::now() + 20s;
  while (sum != counted && Clock::now() < deadline) {
    for (auto next = server.datagram(0ms); next; next = server.datagram(0ms)) {
      for (auto& line : lines_of(*next)) lines.push_back(std::move(line));
    }
    sum = 0;
    for (const auto& [name, value] : sums_of(lines)) sum += value;
    recorder.flush();
  }
  CHECK(sum == counted);
  CHECK(static_cast<double>(std::ranges::count(lines, "value:1|ms")) + dropped == static_cast<double>(counted) / 10);
}

TEST_CASE("a UDP port where nobody listens does no harm, and the datagrams that the system refuses are counted") {
  std::string address;
  {
    const Server server;
    address = server.address();
  }
  StatsdRecorder recorder({.address = address, .interval = 1h});
  const auto deadline = Clock::now() + 20s;
  while (recorder.stats().failed_datagrams == 0 && Clock::now() < deadline) {
    recorder.increment("x", 1, {});
    recorder.flush();
  }
  CHECK(recorder.stats().failed_datagrams > 0);
}

TEST_CASE("what became of the lines for StatsD is on a page, also when the recorder is gone") {
  Server server;
  const quipu::Registry registry({.prefix = "app", .process_metrics = false, .self_metrics = false});
  quipu::Registration registration;
  {
    StatsdRecorder recorder(only_told(server));
    registration = recorder.expose(registry);
    const auto beside = recorder.expose(registry.subsystem("second"));
    CHECK(value_of(registry, "app_second_statsd_sent_bytes_total") == 0);
    recorder.increment("x", 1, {});
    recorder.gauge("g", std::numeric_limits<double>::infinity(), {});
    recorder.flush();
  }
  CHECK(quipu::testing::difference(registry, R"(
    # TYPE app_statsd_sent_datagrams_total counter
    app_statsd_sent_datagrams_total 1
    app_statsd_sent_bytes_total 5
    app_statsd_failed_datagrams_total{reason="full"} 0
    app_statsd_failed_datagrams_total{reason="refused"} 0
    app_statsd_failed_datagrams_total{reason="other"} 0
    app_statsd_dropped_lines_total{reason="forked"} 0
    app_statsd_dropped_lines_total{reason="not_finite"} 1
    app_statsd_dropped_lines_total{reason="too_long"} 0
    app_statsd_dropped_lines_total{reason="too_many"} 0
    app_statsd_dropped_lines_total{reason="unsent"} 0
  )") == "");
  CHECK(quipu::testing::lint(registry).empty());
  registration.end();
  CHECK_FALSE(quipu::testing::find_value(registry, "app_statsd_sent_bytes_total"));
}

TEST_CASE("a forked child records nothing for StatsD, does not hang, and leaves the parent alone") {
  Server server;
  auto recorder = std::make_unique<StatsdRecorder>(only_told(server));
  recorder->increment("x", 1, {});
  // Somebody may hold the locks at the moment of the fork.
  std::atomic<bool> is_over{false};
  std::thread busy([&] {
    while (!is_over) recorder->gauge("busy", 1, {});
  });
  bool are_well = true;
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      ::alarm(20);
      const auto before = recorder->stats().dropped_lines;
      recorder->increment("x", 10, {});
      recorder->flush();
      const bool has_dropped = recorder->stats().dropped_lines == before + 1;
      recorder.reset();
      _exit(has_dropped ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    are_well = are_well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  is_over = true;
  busy.join();
  CHECK(are_well);
  recorder->increment("x", 2, {});
  recorder->flush();
  CHECK(sums_of(server.lines()) == std::map<std::string, std::uint64_t>{{"x", 3}});
}

TEST_CASE("the deltas that threads record while others send add up") {
  constexpr int threads = 4;
  constexpr int rounds = 5000;
  const Folder folder;
  Server server(folder.socket());
  StatsdOptions options = only_told(server);
  options.interval = 1ms;
  const auto backend = std::make_shared<StatsdRecorder>(options);
  const quipu::Recorder recorder(backend);
  std::atomic<int> running{threads};
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t) {
    crowd.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        recorder.increment("x", 1, {{"i", std::to_string(i % 50)}});
        if (t == 0 && i % 100 == 0) recorder.flush();
      }
      --running;
    });
  }
  std::uint64_t sum = 0;
  const auto take = [&] {
    for (auto next = server.datagram(0ms); next; next = server.datagram(0ms)) {
      for (const auto& [name, value] : sums_of(lines_of(*next))) sum += value;
    }
  };
  while (running > 0) take();
  for (auto& thread : crowd) thread.join();
  const auto deadline = Clock::now() + 20s;
  while (sum != threads * rounds && Clock::now() < deadline) {
    recorder.flush();
    take();
  }
  CHECK(sum == threads * rounds);
  CHECK(backend->stats().dropped_lines == 0);
}

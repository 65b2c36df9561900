#include "quipu/environment.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/config.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/udp.hpp"

namespace {

using page::missing;
using quipu::Environment;
using Variables = std::map<std::string, std::string>;
using Lines = std::vector<std::string>;
using Texts = std::vector<std::pair<std::string, std::string>>;

/// What is said of these variables.
std::string complaint(const std::map<std::string, std::string>& variables) {
  try {
    const Environment environment(variables);
  } catch (const quipu::EnvironmentError& error) {
    return error.what();
  }
  return "(nothing)";
}

Texts const_labels(const std::string& text, const quipu::RegistryOptions& options = {}) {
  Texts result;
  const Environment environment({{"QUIPU_CONST_LABELS", text}});
  for (const auto& [name, value] : environment.registry(options).const_labels) result.emplace_back(name.text(), value);
  return result;
}

/// Sets variables of this process until the end of the scope.
class Set {
 public:
  explicit Set(std::map<std::string, std::string> variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;
  ~Set() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> variables_;
};

}  // namespace

TEST_CASE("variables that are not set, or empty, change nothing") {
  for (const auto& environment :
       {Environment(), Environment(std::map<std::string, std::string>()),
        Environment(
            {{"QUIPU_PREFIX", ""}, {"QUIPU_CONST_LABELS", ""}, {"QUIPU_SELF_METRICS", ""}, {"QUIPU_LISTEN", ""}})}) {
    const auto options = environment.registry(
        {.prefix = "shop", .const_labels = {{"env", "test"}}, .process_metrics = false, .self_metrics = false});
    CHECK(options.prefix.text() == "shop");
    CHECK(options.const_labels.size() == 1);
    CHECK_FALSE(options.self_metrics);
    CHECK(environment.registry().self_metrics);
#if QUIPU_HAS_HTTP
    CHECK(environment.exposer({.listen = "localhost:1"}).listen == "localhost:1");
    CHECK(environment.exposer().path == "/metrics");
#endif
    CHECK(environment.unknown().empty());
  }
}

TEST_CASE("the environment of the process is read when an Environment is made, and only then") {
  const Environment before;
  const Set set({{"QUIPU_PREFIX", "depot"}, {"QUIPU_PREFIXX", "a"}, {"NOT_QUIPU_PREFIX", "b"}});
  CHECK(before.registry().prefix.text().empty());
  const Environment environment;
  ::setenv("QUIPU_PREFIX", "later", 1);
  CHECK(environment.registry({.prefix = "shop"}).prefix.text() == "depot");
  CHECK(environment.unknown() == Lines{"QUIPU_PREFIXX"});
}

TEST_CASE("what a variable says comes before what the program says") {
  const Environment environment({{"QUIPU_PREFIX", "depot"},
                                 {"QUIPU_CONST_LABELS", "env=prod,region=\"eu, west\""},
                                 {"QUIPU_PROCESS_METRICS", "off"},
                                 {"QUIPU_SELF_METRICS", "false"},
                                 {"QUIPU_RUNTIME_METRICS", "0"}});
  const quipu::Registry registry(environment.registry(
      {.prefix = "shop", .const_labels = {{"env", "test"}, {"zone", "b"}}, .runtime_metrics = true}));
  registry.gauge({.name = "x"}).set(1);
  CHECK(page::samples(registry) == Lines{R"(depot_x{env="prod",zone="b",region="eu, west"} 1)"});
}

TEST_CASE("every option that is yes or no may be switched on and off") {
  using Options = quipu::RegistryOptions;
  const std::vector<std::pair<std::string, bool Options::*>> options{
      {"QUIPU_PROCESS_METRICS", &Options::process_metrics},
      {"QUIPU_SELF_METRICS", &Options::self_metrics},
      {"QUIPU_RUNTIME_METRICS", &Options::runtime_metrics},
      {"QUIPU_PROCESS_IO_METRICS", &Options::process_io_metrics},
      {"QUIPU_PROCESS_PRESSURE_METRICS", &Options::process_pressure_metrics},
      {"QUIPU_PROCESS_PEAK_METRICS", &Options::process_peak_metrics},
      {"QUIPU_CREATED_LINES", &Options::created_lines},
      {"QUIPU_OPEN_METRICS_2", &Options::open_metrics_2},
      {"QUIPU_UTF8_NAMES", &Options::utf8_names}};
  for (const auto& [name, option] : options) {
    INFO(name);
    for (const bool before : {false, true}) {
      Options program;
      program.*option = before;
      for (const char* const yes : {"true", "on", "1"}) CHECK(Environment({{name, yes}}).registry(program).*option);
      for (const char* const no : {"false", "off", "0"})
        CHECK_FALSE(Environment({{name, no}}).registry(program).*option);
    }
    for (const char* const wrong : {"maybe", "TRUE", "2", " on", "yes"}) {
      CHECK(complaint({{name, wrong}}) == name + ": \"" + wrong + "\": expected true, on, 1, false, off or 0");
    }
  }
}

TEST_CASE("const labels are pairs of name and value, with quotes where they are needed") {
  CHECK(const_labels("env=prod") == Texts{{"env", "prod"}});
  CHECK(const_labels("env=prod,region=eu") == Texts{{"env", "prod"}, {"region", "eu"}});
  CHECK(const_labels(" env = prod ,\tregion =\"eu\" ") == Texts{{"env", "prod"}, {"region", "eu"}});
  CHECK(const_labels(R"(a="va,lue with \" and \\ and \n",b=2)") ==
        Texts{{"a", "va,lue with \" and \\ and \n"}, {"b", "2"}});
  CHECK(const_labels(R"(a="",b=" c ",c=two words,d=a\b,e=x=y)") ==
        Texts{{"a", ""}, {"b", " c "}, {"c", "two words"}, {"d", "a\\b"}, {"e", "x=y"}});
  CHECK(const_labels("b=2,a=1", {.const_labels = {{"a", "0"}, {"c", "3"}}}) ==
        Texts{{"a", "1"}, {"c", "3"}, {"b", "2"}});
}

TEST_CASE("wrong const labels are refused with the place and what was expected there") {
  const auto expect = [](const std::string& text, std::string_view where, std::string_view what) {
    CHECK(missing(complaint({{"QUIPU_CONST_LABELS", text}}), {"QUIPU_CONST_LABELS: ", where, what}) == "");
  };
  expect("env", "\"env\": at character 4:", "expected '='");
  expect("env,a=b", "at character 4:", "expected '='");
  expect("env=", "at character 5:", "expected a value");
  expect("env=,a=b", "at character 5:", "expected a value");
  expect("=prod", "at character 1:", "expected a label's name");
  expect("a=b,", "at character 5:", "expected a label's name");
  expect("a=b,,c=d", "at character 5:", "expected a label's name");
  expect(",", "at character 1:", "expected a label's name");
  expect(" ", "at character 2:", "expected a label's name");
  expect("a=\"b", "at character 5:", "expected a closing quote");
  expect("a=\"b\\", "at character 6:", "expected a closing quote");
  expect("a=\"b\\\"", "at character 7:", "expected a closing quote");
  expect("a=\"\\t\"", "at character 5:", "after a backslash");
  expect("a=\"b\"c", "at character 6:", "expected ',' or the end");
  expect("a=b\"c\"", "at character 4:", "expected ',' or the end");
  expect("\"a\"=b", "at character 1:", "expected a label's name");
  expect("a-b=c", "const label \"a-b\"", "[a-zA-Z_]");
  expect("__a=c", "const label \"__a\"", "[a-zA-Z_]");
  expect("a=b,a=c", "const label \"a\"", "given twice, as a=\"b\" and as a=\"c\"");
  expect("le=5", "const label le=\"5\"", "bucket bound");
  expect("quantile=1", "const label quantile=\"1\"", "choose another name");
}

TEST_CASE("names in the environment follow the rules of the registry") {
  CHECK(missing(complaint({{"QUIPU_PREFIX", "1 shop"}}), {"QUIPU_PREFIX: prefix \"1 shop\"", "[a-zA-Z_:]"}).empty());
  CHECK(missing(complaint({{"QUIPU_PREFIX", "my.shop"}, {"QUIPU_UTF8_NAMES", "off"}}), {"my.shop"}).empty());
  CHECK(complaint({{"QUIPU_PREFIX", "my.shop"}, {"QUIPU_UTF8_NAMES", "on"}}) == "(nothing)");
  const Environment environment(
      {{"QUIPU_PREFIX", "my.shop"}, {"QUIPU_UTF8_NAMES", "on"}, {"QUIPU_CONST_LABELS", "k8s.pod=a"}});
  CHECK_NOTHROW(quipu::Registry(environment.registry()));
  CHECK(missing(complaint({{"QUIPU_UTF8_NAMES", "on"}, {"QUIPU_CONST_LABELS", "a.b=1,a-b=2"}}), {"\"a.b\"", "\"a-b\""})
            .empty());
  CHECK(missing(complaint({{"QUIPU_UTF8_NAMES", "on"}, {"QUIPU_PREFIX", "\xFF"}}), {"QUIPU_PREFIX", "UTF-8"}).empty());
}

TEST_CASE("all variables that are wrong are reported at once, a line for each") {
  const auto message = complaint({{"QUIPU_PREFIX", "1"},
                                  {"QUIPU_CONST_LABELS", "env"},
                                  {"QUIPU_SELF_METRICS", "maybe"},
                                  {"QUIPU_RUNTIME_METRICS", "on"},
                                  {"QUIPU_MAX_CONCURRENT_SCRAPES", "many"}});
  CHECK(missing(message, {"QUIPU_PREFIX: ", "\nQUIPU_CONST_LABELS: ", "\nQUIPU_SELF_METRICS: ",
                          "\nQUIPU_MAX_CONCURRENT_SCRAPES: "})
            .empty());
  CHECK(page::lines(message).size() == 4);
}

TEST_CASE("what is said of a wrong variable is one line of UTF-8, whatever its value is") {
  CHECK(complaint({{"QUIPU_SELF_METRICS", "a\nQUIPU_PREFIX: b"}}) ==
        "QUIPU_SELF_METRICS: \"a\\x0AQUIPU_PREFIX: b\": expected true, on, 1, false, off or 0");
  for (const char* const name : {"QUIPU_PREFIX", "QUIPU_CONST_LABELS", "QUIPU_SELF_METRICS"}) {
    CHECK(missing(complaint({{name, "\xFF\x1B[1m\n,"}}), {name, "\\xFF\\x1B[1m\\x0A"}) == "");
  }
  CHECK(missing(complaint({{"QUIPU_SELF_METRICS", "caf\xC3\xA9"}}), {"\"caf\xC3\xA9\""}) == "");
}

TEST_CASE("variables that nobody knows are told") {
  const Environment environment({{"QUIPU_LISTENS", "x"}, {"QUIPU_ADDRESS", ""}, {"HOME", "/"}, {"QUIPU_PREFIX", "a"}});
  CHECK(environment.unknown() == Lines{"QUIPU_ADDRESS", "QUIPU_LISTENS"});
}

TEST_CASE("a copy of an Environment has its own texts") {
  auto options = [] {
    auto first = std::make_unique<Environment>(std::map<std::string, std::string>{{"QUIPU_PREFIX", "a"}});
    return Environment(*first);
  }();
  CHECK(options.registry().prefix.text() == "a");
}

TEST_CASE("a recorder has the backends that a variable names, or the registry alone") {
  const auto is_on_page = [](const Variables& variables) {
    const Environment environment(variables);
    const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
    const quipu::Recorder recorder = environment.recorder(registry);
    recorder.increment("orders", 2);
    CHECK(recorder.failures() == 0);
    return quipu::render(registry).body.find("\norders_total 2\n") != std::string::npos;
  };
  CHECK(is_on_page({}));
  CHECK(is_on_page(Variables{{"QUIPU_RECORDER", "registry"}}));
  CHECK_FALSE(is_on_page(Variables{{"QUIPU_RECORDER", "none"}}));
  CHECK_FALSE(is_on_page(Variables{{"QUIPU_RECORDER", "statsd://127.0.0.1:9"}}));
}

TEST_CASE("one variable sends to a StatsD server, too, whose numbers are on the page while the recorder lives") {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(socket >= 0);
  const std::string address = "127.0.0.1:" + std::to_string(bind_to_any_port(socket));
  const Environment environment(Variables{{"QUIPU_RECORDER", "registry, dogstatsd://" + address}});
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  std::optional<quipu::Recorder> recorder =
      environment.recorder(registry, {.registry = {.total_suffix = false}, .statsd = {.prefix = "shop"}});
  recorder->increment("orders", 2, {{"kind", "tea"}});
  recorder->flush();
  char text[100];
  const auto size = ::recv(socket, text, sizeof text, 0);
  ::close(socket);
  REQUIRE(size > 0);
  CHECK(std::string_view(text, static_cast<std::size_t>(size)) == "shop.orders:2|c|#kind:tea");
  using quipu::testing::value_of;
  CHECK(value_of(registry, "orders", {{"kind", "tea"}}) == 2);
  CHECK(value_of(registry, "statsd_sent_datagrams_total") == 1);
  recorder.reset();
  CHECK(quipu::render(registry).body.find("statsd_") == std::string::npos);
}

TEST_CASE("wrong backends of a recorder are refused when they are read") {
  const auto said_of = [](const std::string& text) { return complaint({{"QUIPU_RECORDER", text}}); };
  const std::string expected =
      ": expected registry, json, statsd://HOST:PORT, dogstatsd://HOST:PORT or none; a Unix socket is unix:/PATH in "
      "place of HOST:PORT";
  CHECK(said_of("prometheus") == "QUIPU_RECORDER: \"prometheus\"" + expected);
  CHECK(said_of("registry,,json") == "QUIPU_RECORDER: \"\"" + expected);
  CHECK(said_of("udp://localhost:1") == "QUIPU_RECORDER: \"udp://localhost:1\"" + expected);
  CHECK(said_of("registry,registry") == "QUIPU_RECORDER: \"registry\": it is there twice");
  CHECK(said_of("none,registry") == "QUIPU_RECORDER: \"none\": expected no other backend beside none");
  CHECK(said_of("statsd://a:1,dogstatsd://b:2") ==
        "QUIPU_RECORDER: \"dogstatsd://b:2\": there is a StatsD server already, and may be one only");
  CHECK(said_of("statsd://:8125") == "QUIPU_RECORDER: \"statsd://:8125\": expected HOST:PORT or unix:/PATH");
  CHECK(said_of("statsd://localhost:0") ==
        "QUIPU_RECORDER: \"statsd://localhost:0\": the port is a number from 1 to 65535");
  CHECK(said_of("statsd://unix:run") == "QUIPU_RECORDER: \"statsd://unix:run\": expected unix:/PATH");
  for (const char* const wrong : {"dogstatsd://", "statsd://localhost", "statsd://a b:1", "json://stderr"}) {
    CHECK(missing(said_of(wrong), {"QUIPU_RECORDER: ", wrong}) == "");
  }
  for (const char* const right : {"json", "none", " registry , json ", "dogstatsd://unix:/run/dogstatsd.sock",
                                  "statsd://[::1]:8125,json", "json,dogstatsd://no.such.host.invalid:8125"}) {
    CHECK(said_of(right) == "(nothing)");
  }
}

#if QUIPU_HAS_HTTP

TEST_CASE("the endpoint's options may come from the environment") {
  const Environment environment({{"QUIPU_LISTEN", "localhost:0"},
                                 {"QUIPU_PATH", "/numbers"},
                                 {"QUIPU_MAX_CONCURRENT_SCRAPES", "7"},
                                 {"QUIPU_MAX_RESPONSE_BYTES", "2000000"},
                                 {"QUIPU_MAX_SCRAPE_TIME", "2.5"},
                                 {"QUIPU_GZIP", "off"},
                                 {"QUIPU_ALLOWED_HOSTS", "metrics.example.com, shop"}});
  const auto options = environment.exposer({.listen = "nonsense", .path = "nonsense", .allowed_hosts = {"a.example"}});
  CHECK(options.listen == "localhost:0");
  CHECK(options.path == "/numbers");
  CHECK(options.max_concurrent_scrapes == 7);
  CHECK(options.max_response_bytes == 2'000'000);
  CHECK(options.max_scrape_time == std::chrono::milliseconds(2500));
  CHECK_FALSE(options.gzip);
  CHECK(options.allowed_hosts == Lines{"a.example", "metrics.example.com", "shop"});
  const quipu::Exposer endpoint(page::empty_registry(), environment.exposer());
  CHECK(endpoint.url().ends_with("/numbers"));
}

TEST_CASE("wrong options of the endpoint are refused when they are read") {
  for (const char* const wrong : {"nonsense",
                                  "127.0.0.1:x",
                                  "127.0.0.1:65536",
                                  "::1:80",
                                  "[]:80",
                                  "*:9464",
                                  "a b:80",
                                  " :80",
                                  "a,b:80",
                                  "-:80",
                                  "http://localhost:80",
                                  "\xC3\xA9:80",
                                  ".:80",
                                  "a..b:80",
                                  "999.0.0.1:80",
                                  "1.2.3.4.5:80",
                                  "[::g]:80",
                                  "[localhost]:80",
                                  "[127.0.0.1]:80",
                                  "[::1]x:80",
                                  "127.0.0.1:80 "}) {
    INFO(wrong);
    CHECK(missing(complaint({{"QUIPU_LISTEN", wrong}}), {"QUIPU_LISTEN: ", wrong}) == "");
    // The same rule holds for a program.
    CHECK_THROWS_AS(quipu::Exposer(page::empty_registry(), {.listen = wrong}), quipu::ListenError);
  }
  CHECK(complaint({{"QUIPU_LISTEN", "*:9464"}}) ==
        "QUIPU_LISTEN: \"*:9464\": '*' is not a host; leave it out for every address: \":9464\"");
  CHECK(missing(complaint({{"QUIPU_LISTEN", "a b:80"}}),
                {"QUIPU_LISTEN: \"a b:80\": \"a b\" is not a host: expected a name", "an IPv4 address"}) == "");
  for (const char* const right :
       {":9464", "0.0.0.0:9464", "127.1:0", "[::]:9464", "[fe80::1%lo]:9464", "localhost:0", "my_service:80",
        "a-b.example.org.:80", "xn--bcher-kva.example:80", "1st.example:80"}) {
    CHECK(complaint({{"QUIPU_LISTEN", right}}) == "(nothing)");
  }
  for (const char* const wrong : {"metrics", "/", "/a%20b", "/a b", "/a?b"}) {
    CHECK(missing(complaint({{"QUIPU_PATH", wrong}}), {"QUIPU_PATH: ", wrong, "expected '/'"}).empty());
  }
  for (const char* const wrong : {"0", "1001", "-1", "many", "1.5", "1 "}) {
    CHECK(complaint({{"QUIPU_MAX_CONCURRENT_SCRAPES", wrong}}) ==
          "QUIPU_MAX_CONCURRENT_SCRAPES: \"" + std::string(wrong) + "\": expected a number from 1 to 1000");
  }
  for (const char* const wrong : {"0", "1048575", "-1", "64M"}) {
    CHECK(complaint({{"QUIPU_MAX_RESPONSE_BYTES", wrong}}) ==
          "QUIPU_MAX_RESPONSE_BYTES: \"" + std::string(wrong) + "\": expected a number from 1048576 on");
  }
  for (const char* const wrong : {"0", "-1", "0.0001", "86401", "nan", "inf", "1s", " 1", "1e999"}) {
    CHECK(complaint({{"QUIPU_MAX_SCRAPE_TIME", wrong}}) ==
          "QUIPU_MAX_SCRAPE_TIME: \"" + std::string(wrong) + "\": expected a number of seconds from 0.001 to 86400");
  }
  for (const char* const wrong : {",", "a,,b", "a b", "http://a", "a:9464", "[::1]"}) {
    CHECK(
        missing(complaint({{"QUIPU_ALLOWED_HOSTS", wrong}}), {"QUIPU_ALLOWED_HOSTS: allowed host ", "expected a name"})
            .empty());
  }
}

#endif

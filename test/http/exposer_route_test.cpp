#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "quipu/health.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Answers of the program's own beside the page.

namespace {

using quipu::Exposer;
using quipu::Route;
using quipu::RouteResponse;
using namespace http_client;
using namespace std::chrono_literals;

Route constant(const std::string& path, const RouteResponse& answer) {
  return {.path = path, .respond = [answer] { return answer; }};
}

Route hello(const std::string& path = "/hello") { return constant(path, {.body = "hello\n"}); }

TEST_CASE("a route answers with its status, content type and body", "[exposer][route]") {
  const Exposer exposer(
      pages(small_page),
      {.listen = any_port,
       .routes = {hello(), constant("/a/b", {.status = 503, .content_type = "application/json", .body = "{}"}),
                  constant("/odd", {.status = 299, .body = {}})}});
  CHECK(ask(exposer, "GET /hello").raw ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: 6\r\n"
        "Connection: close\r\n\r\nhello\n");
  const Answer unavailable = ask(exposer, "GET /a/b");
  CHECK(unavailable.raw.rfind("HTTP/1.1 503 Service Unavailable\r\n", 0) == 0);
  CHECK(unavailable.header("Content-Type") == "application/json");
  CHECK(unavailable.body == "{}");
  const Answer odd = ask(exposer, "GET /odd");
  CHECK(odd.raw.rfind("HTTP/1.1 299 \r\n", 0) == 0);
  CHECK(odd.is_whole);
  CHECK(ask(exposer, "GET /metrics").body == "up 1\n");
}

TEST_CASE("the status of a route has its reason in the status line", "[exposer][route]") {
  const std::array<std::pair<int, std::string>, 5> reasons = {{{404, "Not Found"},
                                                               {429, "Too Many Requests"},
                                                               {500, "Internal Server Error"},
                                                               {501, "Not Implemented"},
                                                               {503, "Service Unavailable"}}};
  quipu::ExposerOptions options{.listen = any_port};
  for (const auto& [status, reason] : reasons) {
    options.routes.push_back(constant('/' + std::to_string(status), {.status = status}));
  }
  const Exposer exposer(pages(small_page), options);
  for (const auto& [status, reason] : reasons) {
    const std::string line = std::to_string(status) + ' ' + reason;
    CHECK(ask(exposer, "GET /" + std::to_string(status)).raw.rfind("HTTP/1.1 " + line + "\r\n", 0) == 0);
  }
}

TEST_CASE("a route is found by its exact path, and a query is ignored", "[exposer][route]") {
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = {hello(), hello("/hello/there")}});
  for (const auto* const target :
       {"/hello", "/hello?", "/hello?verbose=1&x=/y", "/hello/there", "/%68ello", "http://localhost/hello"}) {
    CAPTURE(target);
    CHECK(ask(exposer, std::string("GET ") + target).body == "hello\n");
  }
  for (const auto* const target : {"/hello/", "/hell", "/helloo", "/Hello", "//hello", "/hello/there/x"}) {
    CAPTURE(target);
    CHECK(ask(exposer, std::string("GET ") + target).status == 404);
  }
  CHECK(ask(exposer, "GET /hello?a b").status == 400);
  CHECK(Client(exposer.port()).send("GET /hello\r\n\r\n").receive().rfind("HTTP/1.1 400 ", 0) == 0);
  CHECK(parse(Client(exposer.port()).send("GET /hello HTTP/1.0\r\n\r\n").receive()).body == "hello\n");
}

TEST_CASE("HEAD of a route has the headers of GET and no body", "[exposer][route]") {
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = {hello()}});
  const Answer head = ask(exposer, "HEAD /hello");
  CHECK(head.is_whole);
  CHECK(head.headers == ask(exposer, "GET /hello").headers);
}

TEST_CASE("other methods are not allowed at a route", "[exposer][route]") {
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = {hello(), hello("/")}});
  for (const auto* const method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    CAPTURE(method);
    const Answer answer = ask(exposer, std::string(method) + " /hello");
    CHECK(answer.status == 405);
    CHECK(answer.header("Allow") == "GET, HEAD");
  }
}

TEST_CASE("a route that throws, or answers what cannot be sent, gives 500 and no detail", "[exposer][route]") {
  const Exposer exposer(
      pages(small_page),
      {.listen = any_port,
       .routes = {{.path = "/throws", .respond = []() -> RouteResponse { throw std::runtime_error("the secret"); }},
                  {.path = "/int", .respond = []() -> RouteResponse { throw 1; }},
                  constant("/line", {.content_type = "text/plain\r\nthe: secret"}),
                  constant("/100", {.status = 100}),
                  constant("/204", {.status = 204}),
                  constant("/304", {.status = 304}),
                  constant("/600", {.status = 600}),
                  hello()}});
  for (const auto* const path : {"/throws", "/int", "/line", "/100", "/204", "/304", "/600"}) {
    CAPTURE(path);
    const Answer answer = ask(exposer, std::string("GET ") + path);
    CHECK(answer.status == 500);
    CHECK(answer.raw.find("secret") == std::string::npos);
  }
  CHECK(ask(exposer, "GET /hello").status == 200);
}

TEST_CASE("the landing page links the routes, unless it is one", "[exposer][route]") {
  const Exposer linking(pages(small_page), {.listen = any_port, .routes = {hello(), hello("/a&b")}});
  const std::string body = ask(linking, "GET /").body;
  for (const auto* const link :
       {"<a href=\"/metrics\">Metrics</a>", "<a href=\"/hello\">/hello</a>", "<a href=\"/a&amp;b\">/a&amp;b</a>"}) {
    CHECK_THAT(body, Catch::Matchers::ContainsSubstring(link));
  }
  const Exposer replacing(pages(small_page), {.listen = any_port, .routes = {hello("/")}});
  CHECK(ask(replacing, "GET /").body == "hello\n");
  CHECK(ask(replacing, "GET /?x").body == "hello\n");
  CHECK(ask(replacing, "POST /").status == 405);
}

TEST_CASE("routes that cannot be are reported", "[exposer][route]") {
  const auto refusal = [](const std::vector<Route>& routes) {
    try {
      const Exposer exposer(pages(small_page), {.listen = any_port, .routes = routes});
      return std::string("no error");
    } catch (const quipu::ListenError& error) {
      return std::string(error.what());
    }
  };
  for (const auto* const path : {"", "hello", "/a b", "/a?b", "/%41", "/a\nb", "/<b>"}) {
    CAPTURE(path);
    CHECK(refusal({hello(path)}) ==
          "route \"" + std::string(path) +
              "\": expected '/' and then letters, digits or other characters of URL paths, without '%'");
  }
  CHECK(refusal({hello("/metrics")}) ==
        "route \"/metrics\": a page of metrics is served there; choose another path for one of them");
  CHECK(refusal({hello(), hello("/b"), hello()}) ==
        "route \"/hello\": another route is served there; choose another path for one of them");
  CHECK(refusal({{.path = "/none", .respond = {}}}) == "route \"/none\": it has no function that answers");
}

TEST_CASE("answers of routes and pages go over one connection, in order", "[exposer][route]") {
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = {hello()}});
  Client client(exposer.port());
  const std::string route = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::string page = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.send(route + page + route + "HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n" + page);
  CHECK(client.answer().body == "hello\n");
  CHECK(client.answer().body == "up 1\n");
  CHECK(client.answer().body == "hello\n");
  CHECK(client.answer(true).header("Content-Length") == "6");
  CHECK(client.answer().body == "up 1\n");
  CHECK(client.send(route).answer().header("Connection") == "keep-alive");
}

TEST_CASE("a long answer arrives whole, also at a client that reads it late", "[exposer][route]") {
  const std::string body(std::size_t{8} << 20, 'x');
  const Exposer exposer(pages(small_page),
                        {.listen = any_port, .routes = {constant("/long", {.body = body}), hello()}});
  Client client(exposer.port(), AF_INET, 4096);
  client.send("GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(ask(exposer, "GET /hello").status == 200);
  CHECK(parse(client.receive()).body == body);
}

TEST_CASE("each request for a route has an answer of its own", "[exposer][route]") {
  std::atomic<int> calls = 0;
  const Exposer exposer(
      pages(small_page),
      {.listen = any_port, .routes = {{.path = "/count", .respond = [&calls] {
                                         std::this_thread::sleep_for(20ms);  // so that the others wait together
                                         return RouteResponse{.body = std::to_string(++calls)};
                                       }}}});
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i)
    clients.emplace_back(exposer.port()).send("GET /count HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::vector<std::string> bodies;
  for (Client& client : clients) bodies.push_back(client.answer().body);
  std::sort(bodies.begin(), bodies.end());
  CHECK(std::adjacent_find(bodies.begin(), bodies.end()) == bodies.end());
  CHECK(calls == 10);
}

TEST_CASE("routes are answered while every place for scrapes is taken by one that hangs", "[exposer][route]") {
  Gate gate;
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  auto hanging = registry.gauge_callback({.name = "hangs"}, [&gate] {
    gate.pass();
    return 1.0;
  });
  constexpr int places = 8;
  const Exposer exposer(registry, {.listen = any_port, .max_concurrent_scrapes = places, .routes = {hello()}});
  std::vector<Client> scrapers;
  for (int i = 0; i < places; ++i) {
    // Each asks for something else, so that none gets the page of another one.
    scrapers.emplace_back(exposer.port())
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: x/" + std::to_string(i) + "\r\n\r\n");
  }
  CHECK(soon([&] { return gate.waiting() > 0; }));
  // Not even for a moment is there a place: a scrape would get 503.
  CHECK(soon([&] { return ask(exposer, "GET /metrics").status == 503; }));
  const auto start = Clock::now();
  for (int i = 0; i < 20; ++i) CHECK(ask(exposer, "GET /hello").body == "hello\n");
  // The scrapes hang for nine seconds yet.
  CHECK(Clock::now() - start < 5s);
  CHECK(ask(exposer, "GET /metrics").status == 503);
  gate.open();
  for (Client& scraper : scrapers) CHECK(scraper.answer().status == 200);
}

TEST_CASE("probes are answered while a check hangs and every scrape does", "[exposer][route][health]") {
  Gate gate;
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  const auto hang = [&gate] {
    gate.pass();
    return 1.0;
  };
  const auto hanging = registry.gauge_callback({.name = "hangs"}, hang);
  quipu::Health health;
  health.add({.name = "check",
              .check =
                  [&hang] {
                    hang();
                    return quipu::HealthResult{};
                  },
              .timeout = 10ms});
  const Exposer exposer(registry, {.listen = any_port, .max_concurrent_scrapes = 4, .routes = health.routes()});
  std::vector<Client> scrapers;
  for (int i = 0; i < 4; ++i) {
    scrapers.emplace_back(exposer.port())
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: x/" + std::to_string(i) + "\r\n\r\n");
  }
  CHECK(soon([&] { return gate.waiting() >= 2; }));
  const auto start = Clock::now();
  CHECK(soon([&] { return ask(exposer, "GET /health").body.find("timed out after 0.01 s") != std::string::npos; }));
  CHECK(ask(exposer, "GET /health").status == 503);
  CHECK(ask(exposer, "GET /-/ready").status == 503);
  CHECK(ask(exposer, "GET /health/ready?verbose").status == 503);
  CHECK(ask(exposer, "GET /-/healthy").status == 200);
  CHECK(ask(exposer, "HEAD /health/live").status == 200);
  CHECK(Clock::now() - start < 5s);
  gate.open();
  for (Client& scraper : scrapers) CHECK(scraper.answer().status == 200);
}

TEST_CASE("pages are made while a route hangs, and requests for routes beyond its places are told to come again",
          "[exposer][route]") {
  Gate gate;
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = {{.path = "/hangs", .respond = [&gate] {
                                                                              gate.pass();
                                                                              return RouteResponse{.body = "at last"};
                                                                            }}}});
  std::vector<Client> probes;
  for (int i = 0; i < 16; ++i)
    probes.emplace_back(exposer.port()).send("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.waiting() == 1; }));
  const Answer refused = ask(exposer, "GET /hangs");
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  CHECK(ask(exposer, "GET /metrics").body == "up 1\n");
  gate.open();
  for (Client& probe : probes) CHECK(probe.answer().body == "at last");
}

TEST_CASE("a route that hangs delays stop until it answers, and its client gets that", "[exposer][route]") {
  Gate gate;
  Exposer exposer(pages(small_page), {.listen = any_port, .routes = {{.path = "/hangs", .respond = [&gate] {
                                                                        gate.pass();
                                                                        return RouteResponse{.body = "at last"};
                                                                      }}}});
  Client client(exposer.port());
  client.send("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.waiting() == 1; }));
  std::thread opener([&gate] {
    std::this_thread::sleep_for(50ms);
    gate.open();
  });
  exposer.stop();
  CHECK(gate.waiting() == 0);
  CHECK(client.answer().body == "at last");
  opener.join();
}

/// The IPv4 addresses of this machine that are not loopback addresses.
std::vector<in_addr> own_addresses() {
  std::vector<in_addr> addresses;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return addresses;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if ((entry->ifa_flags & IFF_LOOPBACK) != 0 || (entry->ifa_flags & IFF_UP) == 0) continue;
    addresses.push_back(reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr);
  }
  ::freeifaddrs(first);
  return addresses;
}

TEST_CASE("a route knows whether its client is on this machine", "[exposer][route]") {
  std::vector<Route> routes{{"/peer", [](const quipu::RouteRequest& request) {
                               return RouteResponse{.body = request.is_loopback_peer ? "near" : "far"};
                             }}};
  const Exposer ipv4(pages(small_page), {.listen = any_port, .routes = routes});
  CHECK(ask(ipv4, "GET /peer").body == "near");
  const Exposer everywhere(pages(small_page), {.listen = ":0", .routes = routes});
  CHECK(ask(everywhere, "GET /peer").body == "near");
  // Another address of this machine, if it has one, is as good as one of another machine.
  for (const in_addr& address : own_addresses()) {
    Client client(everywhere.port(), address);
    CHECK(client.send("GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().body == "far");
  }
}

/// The most memory that the process had, in bytes.
std::size_t peak_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word != "VmHWM:") continue;
    std::size_t kibibytes = 0;
    file >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

/// Makes the peak begin anew.
bool reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

TEST_CASE("the body of a route is not copied", "[exposer][route]") {
  if (is_sanitized || !reset_peak()) return;
  constexpr std::size_t size = std::size_t{64} << 20;
  const Exposer exposer(
      pages(small_page),
      {.listen = any_port,
       .routes = {{.path = "/long", .respond = [] { return RouteResponse{.body = std::string(size, 'x')}; }}}});
  REQUIRE(reset_peak());
  const std::size_t before = peak_bytes();
  Client client(exposer.port());
  client.send("GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::vector<char> some(65536);
  std::size_t received = 0;
  for (std::size_t part = 1; part > 0; received += part) part = client.receive_some(some);
  CHECK(received > size);
  CHECK(peak_bytes() - before < size + size / 4);
}

}  // namespace

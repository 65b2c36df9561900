#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
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

// What the endpoint does while functions of the program hang: collectors, page sources and routes.

namespace {

using http_client::any_port;
using http_client::ask;
using http_client::Client;
using http_client::pages;
using http_client::small_page;
using quipu::Exposer;
using quipu::ExposerOptions;
using quipu::Route;
using quipu::RouteResponse;
using namespace std::chrono_literals;

/// The request of a scraper that waits for a long time.
constexpr std::string_view patient_scrape =
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Prometheus-Scrape-Timeout-Seconds: 86400\r\n\r\n";

/// A registry with one callback, which waits at a gate.
class HangingRegistry {
 public:
  [[nodiscard]] const quipu::Registry& registry() const { return registry_; }
  [[nodiscard]] Gate& gate() { return gate_; }

 private:
  quipu::Registry registry_{{.process_metrics = false, .self_metrics = false}};
  Gate gate_;
  quipu::Registration hanging_ = registry_.gauge_callback({.name = "hangs"}, [this] {
    gate_.pass();
    return 1.0;
  });
};

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

Route hanging_route(Gate& gate) {
  return {.path = "/hangs", .respond = [&gate] {
            gate.pass();
            return RouteResponse{.body = "at last"};
          }};
}

/// Whether stop() returns while the gate is closed. The exposer is gone then, before the gate is opened.
bool stops_before(std::optional<Exposer>& exposer, Gate& gate) {
  std::atomic<bool> has_stopped = false;
  std::thread stopping([&] {
    exposer->stop();
    exposer.reset();
    has_stopped = true;
  });
  for (int i = 0; i < 5000 && !has_stopped; ++i) std::this_thread::sleep_for(1ms);
  const bool stopped_before = has_stopped;
  gate.open();
  stopping.join();
  return stopped_before;
}

TEST_CASE("probes and the landing page are answered while every scrape hangs", "[exposer][hang]") {
  HangingRegistry hanging;
  const quipu::Health health;
  const Exposer exposer(hanging.registry(), {.listen = any_port, .routes = health.routes()});
  std::vector<Client> scrapers;
  for (int i = 0; i < 3; ++i) {
    scrapers.emplace_back(exposer.port())
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: x/" + std::to_string(i) + "\r\n" +
              "X-Prometheus-Scrape-Timeout-Seconds: 86400\r\n\r\n");
  }
  CHECK(soon([&] { return hanging.gate().entered() > 0; }));
  std::this_thread::sleep_for(100ms);  // so that all workers for pages have a scrape
  CHECK(ask(exposer, "GET /").status == 200);
  CHECK(ask(exposer, "GET /missing").status == 404);
  CHECK(ask(exposer, "POST /metrics").status == 405);
  CHECK(ask(exposer, "GET /health/live").status == 200);
  hanging.gate().open();
}

TEST_CASE("probes are answered while twenty clients wait for a route that hangs", "[exposer][hang]") {
  Gate gate;
  const quipu::Health health;
  std::vector<Route> routes = health.routes();
  routes.push_back(hanging_route(gate));
  const Exposer exposer(pages(small_page), {.listen = any_port, .routes = routes});
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i)
    clients.emplace_back(exposer.port()).send("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.entered() == 1; }));
  for (int i = 0; i < 20; ++i) {
    CHECK(ask(exposer, "GET /health/live").status == 200);
    CHECK(ask(exposer, "GET /-/healthy").status == 200);
    CHECK(ask(exposer, "GET /health/ready").body.find("\"status\"") != std::string::npos);
    CHECK(ask(exposer, "GET /").status == 200);
  }
  gate.open();
}

TEST_CASE("scrapes whose clients have gone do not wait for collectors", "[exposer][hang]") {
  HangingRegistry hanging;
  hanging.registry().counter({.name = "jobs_total", .help = "Jobs."}).inc();
  const Exposer exposer(hanging.registry(), {.listen = any_port});
  // Workers come free one after another: three scrapes take all of them, and one more waits.
  {
    std::vector<Client> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back(exposer.port())
          .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: x/" + std::to_string(i) + "\r\n" +
                "X-Prometheus-Scrape-Timeout-Seconds: 86400\r\n\r\n");
    }
    CHECK(soon([&] { return hanging.gate().entered() > 0; }));
    std::this_thread::sleep_for(100ms);
  }
  // It does not ask for the collector.
  CHECK(ask(exposer, "GET /metrics?name[]=jobs_total").status == 200);
  hanging.gate().open();
}

TEST_CASE("stop ends although a collector hangs", "[exposer][hang]") {
  HangingRegistry hanging;
  std::optional<Exposer> exposer(std::in_place, hanging.registry(), ExposerOptions{.listen = any_port});
  Client client(exposer->port());
  client.send(patient_scrape);
  CHECK(soon([&] { return hanging.gate().entered() == 1; }));
  CHECK(stops_before(exposer, hanging.gate()));
}

TEST_CASE("stop ends although a route hangs", "[exposer][hang]") {
  Gate gate;
  std::optional<Exposer> exposer(std::in_place, pages(small_page),
                                 ExposerOptions{.listen = any_port, .routes = {hanging_route(gate)}});
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i)
    clients.emplace_back(exposer->port()).send("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.entered() == 1; }));
  CHECK(stops_before(exposer, gate));
  CHECK(soon([&] { return gate.passed() == 1; }));
}

TEST_CASE("stop ends although a page source hangs", "[exposer][hang]") {
  Gate gate;
  std::optional<Exposer> exposer(std::in_place, pages([&gate](std::string_view) {
                                   gate.pass();
                                   return small_page();
                                 }),
                                 ExposerOptions{.listen = any_port});
  Client client(exposer->port());
  client.send(patient_scrape);
  CHECK(soon([&] { return gate.entered() == 1; }));
  CHECK(stops_before(exposer, gate));
  CHECK(soon([&] { return gate.passed() == 1; }));
}

TEST_CASE("a route and a page source may end the endpoint that called them", "[exposer][hang]") {
  std::optional<Exposer> exposer;
  std::atomic<bool> has_ended = false;
  const auto end = [&] {
    exposer.reset();
    has_ended = true;
  };
  exposer.emplace(pages([&end](std::string_view) {
                    end();
                    return small_page();
                  }),
                  ExposerOptions{.listen = any_port, .routes = {{"/end", [&end] {
                                                                   end();
                                                                   return RouteResponse{};
                                                                 }}}});
  const std::string path = GENERATE("/metrics", "/end");
  Client client(exposer->port());
  client.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return has_ended.load(); }));
  try {
    static_cast<void>(client.receive());  // to the end, which may be a reset
  } catch (const std::runtime_error&) {
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

/// The answer to a request for that host.
http_client::Answer answer_for(const Exposer& exposer, const std::string& host,
                               const std::string& target = "/metrics") {
  return Client(exposer.port()).send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n").answer();
}

TEST_CASE("an endpoint on loopback does not answer to the name of another site", "[exposer][host]") {
  const Exposer exposer(pages(small_page),
                        {.listen = any_port, .routes = {{"/hello", [] { return RouteResponse{}; }}}});
  const auto status = [&exposer](const std::string& host) { return answer_for(exposer, host).status; };
  for (const auto* const host :
       {"evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example"}) {
    CAPTURE(host);
    CHECK(status(host) == 421);
  }
  for (const auto* const target : {"/metrics", "/hello", "/", "/missing", "http://evil.example/metrics"}) {
    CAPTURE(target);
    const auto answer = answer_for(exposer, *target == 'h' ? "localhost" : "evil.example", target);
    CHECK(answer.status == 421);
    CHECK_THAT(answer.body, Catch::Matchers::ContainsSubstring("ExposerOptions::allowed_hosts"));
    CHECK(answer.body.find("evil") == std::string::npos);
  }
  for (const auto* const host : {"127.0.0.1", "localhost:9464", "[::1]:9464", "shop.localhost", "10.0.0.1", ""}) {
    CAPTURE(host);
    CHECK(status(host) == 200);
  }
  CHECK(answer_for(exposer, "evil.example", "http://localhost/metrics").status == 200);
  CHECK(Client(exposer.port()).send("GET /metrics HTTP/1.0\r\n\r\n").answer().status == 200);
}

TEST_CASE("an endpoint answers to the names that it was given", "[exposer][host]") {
  const Exposer named(pages(small_page), {.listen = any_port, .allowed_hosts = {"metrics.example"}});
  CHECK(answer_for(named, "metrics.example:9464").status == 200);
  CHECK(answer_for(named, "evil.example").status == 421);
  const Exposer open(pages(small_page), {.listen = any_port, .allowed_hosts = {"*"}});
  CHECK(answer_for(open, "evil.example").status == 200);
}

TEST_CASE("an endpoint on every address answers to every name, until it is given names", "[exposer][host]") {
  const Exposer open(pages(small_page), {.listen = ":0"});
  CHECK(answer_for(open, "shop.default.svc.cluster.local:9464").status == 200);
  const Exposer named(pages(small_page), {.listen = ":0", .allowed_hosts = {"shop.default.svc.cluster.local"}});
  CHECK(answer_for(named, "shop.default.svc.cluster.local:9464").status == 200);
  CHECK(answer_for(named, "evil.example:9464").status == 421);
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

TEST_CASE("the time that a scraper asks for is limited", "[exposer][request]") {
  std::atomic<double> left = 0;
  const auto source = [&left](const quipu::ScrapeRequest& request) {
    left = std::chrono::duration<double>(request.deadline - http_client::Clock::now()).count();
    return http_client::stream_of(small_page());
  };
  const auto time_with = [&](const Exposer& exposer, const std::string& timeout) {
    CHECK(ask(exposer, "GET /metrics", "X-Prometheus-Scrape-Timeout-Seconds: " + timeout + "\r\n").status == 200);
    return left.load();
  };
  const Exposer usual(source, {.listen = any_port});
  const double most = time_with(usual, "86400");
  CHECK(most <= 59.5);
  CHECK(most > 50);
  const Exposer strict(source, {.listen = any_port, .max_scrape_time = 2s});
  CHECK(time_with(strict, "60") <= 1.8);
  CHECK(time_with(strict, "1e300") > 1);
  CHECK(time_with(strict, "") <= 1.8);
  CHECK(time_with(strict, "1") <= 0.9);
  for (const auto wrong : {0ms, -1ms}) {
    CHECK_THROWS_AS(Exposer(source, {.listen = any_port, .max_scrape_time = wrong}), quipu::ListenError);
  }
}

TEST_CASE("a client that has ended its side, and waits for a slow collector, gets the whole page", "[exposer][hang]") {
  HangingRegistry slow;
  const Exposer exposer(slow.registry(), {.listen = any_port});
  Client client(exposer.port());
  client.send(patient_scrape).finish();
  CHECK(soon([&] { return slow.gate().entered() == 1; }));
  std::this_thread::sleep_for(100ms);
  slow.gate().open();
  CHECK(client.answer().body.find("\nhangs 1\n") != std::string::npos);
}

TEST_CASE("a page that two clients wait for is made as long as one of them is there", "[exposer][hang]") {
  Gate busy;
  Gate shared;
  const Exposer exposer(
      [&](const quipu::ScrapeRequest& request) {
        if (request.accept == "busy") {
          busy.pass();
        } else {
          shared.pass(request.stop);
        }
        return http_client::stream_of(small_page());
      },
      {.listen = any_port});
  // They take the three workers, so that the next two wait together.
  std::vector<Client> scrapers;
  for (int i = 0; i < 3; ++i) {
    scrapers.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: busy\r\n\r\n");
    REQUIRE(soon([&] { return busy.entered() == i + 1; }));
  }
  std::vector<Client> waiting;
  for (int i = 0; i < 2; ++i) waiting.emplace_back(exposer.port()).send(patient_scrape);
  std::this_thread::sleep_for(100ms);
  busy.open();
  CHECK(soon([&] { return shared.entered() == 1; }));
  waiting.front().reset();
  std::this_thread::sleep_for(200ms);
  CHECK(shared.passed() == 0);
  waiting.back().reset();
  CHECK(soon([&] { return shared.passed() == 1; }));
  CHECK(shared.entered() == 1);
  CHECK(ask(exposer, "GET /").status == 200);
}

}  // namespace

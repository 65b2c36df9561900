#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "quipu/health.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"
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

TEST_CASE("the response of a route that comes back after stop is sent, and its connection is closed",
          "[exposer][hang]") {
  Gate gate;
  Exposer exposer(pages(small_page), {.listen = any_port, .routes = {hanging_route(gate)}});
  Client client(exposer.port());
  client.send("GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.entered() == 1; }));
  exposer.stop();
  gate.open();
  CHECK(client.answer().body == "at last");
  CHECK(client.is_closed());
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

#include <atomic>
#include <exception>
#include <optional>
#include <string>
#include <thread>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Functions of the program that end the endpoint from which they are called. Each test has a process of its own, as
// what it is about would end that process or hang in it.

namespace {

using http_client::any_port;
using http_client::ask;
using quipu::Exposer;

/// Whether an endpoint ends that is asked for a path.
bool ends_when_asked(const Exposer& exposer, const std::atomic<bool>& has_ended, const std::string& path) {
  const auto port = exposer.port();
  std::thread client([&path, port] {
    try {
      static_cast<void>(ask(port, "GET " + path, "X-Prometheus-Scrape-Timeout-Seconds: 2\r\n"));
    } catch (const std::exception&) {
      // The connection may end without an answer.
    }
  });
  const bool is_good = soon([&] { return has_ended.load(); });
  client.join();
  return is_good;
}

}  // namespace

TEST_CASE("a collector may end the endpoint that makes its page", "[exposer][ends]") {
  if (is_thread_sanitized) return;
  CHECK(in_child([] {
    const quipu::Registry registry;
    std::optional<Exposer> exposer;
    std::atomic<bool> has_ended{false};
    const auto callback = registry.gauge_callback({.name = "x"}, [&] {
      exposer.reset();
      has_ended = true;
      return 1;
    });
    exposer.emplace(registry, quipu::ExposerOptions{.listen = std::string(any_port)});
    return ends_when_asked(*exposer, has_ended, "/metrics") && page::value(registry, "x") == "1";
  }));
}

TEST_CASE("a page's source may end the endpoint that asks it", "[exposer][ends]") {
  if (is_thread_sanitized) return;
  CHECK(in_child([] {
    std::optional<Exposer> exposer;
    std::atomic<bool> has_ended{false};
    const auto source = [&](const quipu::ScrapeRequest&) {
      exposer.reset();
      has_ended = true;
      return http_client::stream_of(http_client::small_page());
    };
    exposer.emplace(source, quipu::ExposerOptions{.listen = std::string(any_port)});
    return ends_when_asked(*exposer, has_ended, "/metrics");
  }));
}

TEST_CASE("a route may end the endpoint that asks it", "[exposer][ends]") {
  if (is_thread_sanitized) return;
  CHECK(in_child([] {
    std::optional<Exposer> exposer;
    std::atomic<bool> has_ended{false};
    exposer.emplace(http_client::pages(http_client::small_page),
                    quipu::ExposerOptions{.listen = std::string(any_port), .routes = {{.path = "/end", .respond = [&] {
                                                                                         exposer.reset();
                                                                                         has_ended = true;
                                                                                         return quipu::RouteResponse{};
                                                                                       }}}});
    return ends_when_asked(*exposer, has_ended, "/end");
  }));
}

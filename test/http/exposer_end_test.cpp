#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/descriptor.hpp"
#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Functions of the program that end the endpoint from which they are called.

namespace {

using http_client::any_port;
using http_client::ask;
using quipu::Exposer;
using namespace std::chrono_literals;

/// Whether `body` returns true, in a process of its own: what it is about would end that process or hang in it. The
/// thread sanitizer starts no threads in children.
template <class Body>
bool holds(Body body) {
  return is_thread_sanitized ? body() : in_child(body);
}

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

TEST_CASE("a collector may end the endpoint that makes its page", "[exposer][ends]") {
  CHECK(holds([] {
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
  CHECK(holds([] {
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
  CHECK(holds([] {
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

/// A long page. `at_end` is called when nobody needs it any more.
class EndingPage final : public quipu::PageStream {
 public:
  explicit EndingPage(std::function<void()> at_end) : at_end_(std::move(at_end)) {}
  EndingPage(const EndingPage&) = delete;
  EndingPage& operator=(const EndingPage&) = delete;
  ~EndingPage() override { at_end_(); }

  [[nodiscard]] std::string_view content_type() const noexcept override { return pieces_.content_type(); }
  [[nodiscard]] std::string_view next() override { return pieces_.next(); }

 private:
  http_client::Pieces pieces_{10'000, 65'536};
  const std::function<void()> at_end_;
};

TEST_CASE("the end of a page that ends the endpoint gives no other listener's clients away", "[exposer][ends]") {
  CHECK(holds([] {
    std::optional<Exposer> exposer;
    Gate gate;
    std::optional<http_client::Client> late;
    quipu::detail::Descriptor listener;
    std::optional<http_client::Client> its_client;
    std::atomic<bool> has_ended{false};
    const auto wait = [&] { gate.pass(); };
    // The number of the endpoint's own listening socket is the lowest one that is free, if it is free.
    const auto end_and_listen = [&] {
      exposer->stop();
      listener = quipu::detail::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      ::listen(listener.get(), 1);
      sockaddr_in address{};
      socklen_t size = sizeof address;
      ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
      its_client.emplace(ntohs(address.sin_port));
      has_ended = true;
    };
    exposer.emplace(
        [&](const quipu::ScrapeRequest& request) -> std::unique_ptr<quipu::PageStream> {
          return std::make_unique<EndingPage>(request.accept == "wait" ? std::function<void()>(wait) : end_and_listen);
        },
        quipu::ExposerOptions{.listen = any_port});
    const auto stalled = [&](const std::string& accept) {
      http_client::Client client(exposer->port(), AF_INET, 4096);
      client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: " + accept + "\r\n\r\n");
      std::this_thread::sleep_for(100ms);
      return client;
    };
    http_client::Client first = stalled("wait");
    http_client::Client second = stalled("end");
    // While the event loop is at the end of the first page, the second client goes and another one comes.
    first.reset();
    if (!soon([&] { return gate.entered() == 1; })) return false;
    second.reset();
    late.emplace(exposer->port());
    gate.open();
    if (!soon([&] { return has_ended.load(); })) return false;
    std::this_thread::sleep_for(100ms);
    const quipu::detail::Descriptor accepted(::accept(listener.get(), nullptr, nullptr));
    return static_cast<bool>(accepted);
  }));
}

}  // namespace

#include "quipu/exposer.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"

namespace {

using quipu::Exposer;
using quipu::ExposerOptions;
using quipu::Page;
using namespace http_client;
using namespace std::chrono_literals;

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// The message of the ListenError that this gives, or "no error".
std::string listen_error(ExposerOptions options) {
  try {
    const Exposer exposer(pages(small_page), options);
  } catch (const quipu::ListenError& error) {
    return error.what();
  }
  return "no error";
}

Clock::duration time_to_stop(Exposer& exposer) {
  const auto start = Clock::now();
  exposer.stop();
  return Clock::now() - start;
}

bool has_ipv6() {
  try {
    const Exposer exposer(pages(small_page), {.listen = "[::1]:0"});
    return true;
  } catch (const quipu::ListenError&) {
    return false;
  }
}

// Answers.

TEST_CASE("limits of an endpoint that make no sense are refused with their names") {
  for (const std::size_t number : {std::size_t{0}, std::size_t{1001}}) {
    CHECK(listen_error({.listen = any_port, .max_concurrent_scrapes = number}) ==
          "ExposerOptions::max_concurrent_scrapes is " + std::to_string(number) + ", and must be from 1 to 1000");
  }
  CHECK(listen_error({.listen = any_port, .max_concurrent_scrapes = 1000}) == "no error");
  CHECK(listen_error({.listen = any_port, .max_response_bytes = 1'000'000}) ==
        "ExposerOptions::max_response_bytes is 1000000, and must be at least 1048576");
  CHECK(listen_error({.listen = any_port, .max_scrape_time = 0s}) ==
        "ExposerOptions::max_scrape_time is 0 ms, and must be positive");
}

TEST_CASE("a GET of the path gets the page, with exact bytes", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.status == 200);
  CHECK(answer.raw.rfind("HTTP/1.1 200 OK\r\n", 0) == 0);
  CHECK(answer.header("Content-Type") == text_type);
  CHECK(answer.header("Content-Length") == "5");
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK(answer.header("Connection") == "close");
  CHECK(answer.body == "up 1\n");
  CHECK(ask(exposer, "GET /metrics?debug=1").body == "up 1\n");
  CHECK(ask(exposer, "GET /%6detrics").body == "up 1\n");
}

TEST_CASE("the page source decides the Content-Type", "[exposer]") {
  const Exposer exposer(pages([](std::string_view) {
                          return Page{"application/openmetrics-text; version=1.0.0", "# EOF\n"};
                        }),
                        {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.header("Content-Type") == "application/openmetrics-text; version=1.0.0");
  CHECK(answer.body == "# EOF\n");
}

TEST_CASE("an empty page is an answer like any other", "[exposer]") {
  const Exposer exposer(pages([](std::string_view) { return Page{std::string(text_type), ""}; }), {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.status == 200);
  CHECK(answer.header("Content-Type") == text_type);
  CHECK(answer.header("Content-Length") == "0");
  CHECK(answer.body.empty());
}

TEST_CASE("the page source sees the Accept header as it was sent", "[exposer]") {
  const Exposer exposer(pages(echo_of_accept), {.listen = any_port});
  CHECK(ask(exposer, "GET /metrics").body == "accept=\n");
  CHECK(ask(exposer, "GET /metrics", "Accept:\r\n").body == "accept=\n");
  CHECK(ask(exposer, "GET /metrics", "aCCEPT: \t text/plain;q=0.5,*/*;q=0.1 \t\r\n").body ==
        "accept=text/plain;q=0.5,*/*;q=0.1\n");
  // Several header lines are one list.
  CHECK(ask(exposer, "GET /metrics", "Accept: a/b\r\nX: y\r\naccept:c/d;q=0.5\r\n").body == "accept=a/b, c/d;q=0.5\n");
  // A scraper's slip, such as Prometheus 2.49.0's q=2, is for the page source to judge.
  CHECK(ask(exposer, "GET /metrics", "Accept: */*;q=2\r\n").body == "accept=*/*;q=2\n");
  CHECK(ask(exposer, "GET /metrics", "Accept: ;;;q=x,,\r\n").body == "accept=;;;q=x,,\n");
  CHECK(ask(exposer, "GET /metrics", "X-Accept: a/b\r\nAccept-Encoding: gzip\r\n").body == "accept=\n");
}

TEST_CASE("HEAD has the headers of GET and no body", "[exposer]") {
  const Exposer exposer(pages([](std::string_view accept) {
                          if (accept == "fail") throw std::runtime_error("no");
                          return small_page(accept);
                        }),
                        {.listen = any_port});
  for (const auto* const target : {"/metrics", "/", "/missing"}) {
    CAPTURE(target);
    const Answer get = ask(exposer, std::string("GET ") + target);
    const Answer head = ask(exposer, std::string("HEAD ") + target);
    CHECK(head.body.empty());
    CHECK(head.status == get.status);
    CHECK(head.headers == get.headers);
    CHECK(head.header("Content-Length") == std::to_string(get.body.size()));
  }
  const Answer failed = ask(exposer, "HEAD /metrics", "Accept: fail\r\n");
  CHECK(failed.status == 500);
  CHECK(failed.body.empty());
}

TEST_CASE("the landing page links the path", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port, .path = "/internal/a&b"});
  const Answer answer = ask(exposer, "GET /");
  CHECK(answer.status == 200);
  CHECK(answer.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(has(answer.body, "href=\"/internal/a&amp;b\""));
  CHECK(ask(exposer, "GET /internal/a&b").body == "up 1\n");
  CHECK(ask(exposer, "GET /metrics").status == 404);
}

TEST_CASE("other paths are not found, and not echoed", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const auto* const target :
       {"/<script>alert(1)</script>", "/metrics/", "/metrics/x", "//metrics", "/METRICS", "/metric", "/metrics%00",
        "/x%0d%0aSet-Cookie:%20a=b", "/../etc/passwd", "/favicon.ico"}) {
    CAPTURE(target);
    const Answer answer = ask(exposer, std::string("GET ") + target);
    CHECK(answer.status == 404);
    CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
    CHECK(answer.body == "Not found.\n");
    CHECK(answer.all("Set-Cookie").empty());
  }
}

TEST_CASE("other methods are not allowed", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const auto* const method :
       {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get"}) {
    for (const auto* const target : {"/metrics", "/", "/missing", "*"}) {
      CAPTURE(method, target);
      const Answer answer = ask(exposer, std::string(method) + ' ' + target);
      CHECK(answer.status == 405);
      CHECK(answer.header("Allow") == "GET, HEAD");
      CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
      CHECK_FALSE(answer.body.empty());
      CHECK_FALSE(has(answer.body, method));
    }
  }
}

TEST_CASE("a page source that throws gives 500 and no detail", "[exposer]") {
  std::atomic<int> calls = 0;
  const Exposer exposer(pages([&calls](std::string_view accept) -> Page {
                          ++calls;
                          if (accept == "runtime_error") throw std::runtime_error("secret detail");
                          if (accept == "int") throw 42;
                          if (accept == "bad_alloc") throw std::bad_alloc();
                          return small_page(accept);
                        }),
                        {.listen = any_port});
  for (const auto* const kind : {"runtime_error", "int", "bad_alloc"}) {
    CAPTURE(kind);
    const Answer answer = ask(exposer, "GET /metrics", std::string("Accept: ") + kind + "\r\n");
    CHECK(answer.status == 500);
    CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
    CHECK(answer.body == "The page could not be made.\n");
    CHECK_FALSE(has(answer.raw, "secret"));
    CHECK_FALSE(has(answer.raw, "bad_alloc"));
    CHECK_FALSE(has(answer.raw, "EXCEPTION"));
  }
  CHECK(ask(exposer, "GET /metrics").status == 200);
  CHECK(calls == 4);
}

TEST_CASE("ranges are ignored", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  std::string many = "Range: bytes=0-";
  while (many.size() < 8000) many += ",0-";
  for (const std::string& range :
       {std::string("Range: bytes=0-1"), std::string("Range: bytes=900-"), std::string("Range: nonsense"), many}) {
    const Answer answer = ask(exposer, "GET /metrics", range + "\r\n");
    CHECK(answer.status == 200);
    CHECK(answer.header("Content-Type") == text_type);
    CHECK(answer.all("Content-Range").empty());
    CHECK(answer.header("Accept-Ranges") == "none");
    CHECK(answer.body == "up 1\n");
  }
}

TEST_CASE("a request that is too long is refused", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  CHECK(ask(exposer, "GET /metrics?" + std::string(9'000, 'a')).status == 414);
  CHECK(ask(exposer, "GET /metrics?" + std::string(100'000, 'a')).status == 414);
  CHECK(ask(exposer, "GET /metrics", "Cookie: " + std::string(7'000, 'a') + "\r\n").status == 200);
  const std::string long_field = "Cookie: " + std::string(100'000, 'a') + "\r\n";
  const Answer answer = ask(exposer, "GET /metrics", long_field);
  CHECK(answer.status == 431);
  CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
  CHECK(ask(exposer, "HEAD /metrics", long_field).body.empty());
  std::string many_fields;
  for (int i = 0; i < 5'000; ++i) many_fields += "A" + std::to_string(i) + ": b\r\n";
  CHECK(ask(exposer, "GET /metrics", many_fields).status == 431);
  CHECK(ask(exposer, "GET /metrics").status == 200);
}

TEST_CASE("what is not HTTP is refused", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const std::string& request :
       {std::string("nonsense\r\n\r\n"), std::string("GET /metrics\r\n\r\n"), std::string("GET /metrics HTTP/1.1\n"),
        std::string("GET  /metrics  HTTP/1.1 x\r\n\r\n"),
        std::string("GET /met\0rics HTTP/1.1\r\nHost: localhost\r\n\r\n", 43)}) {
    CAPTURE(request);
    const Answer answer = parse(Client(exposer.port()).send(request).receive());
    CHECK(answer.status == 400);
    CHECK(answer.header("Connection") == "close");
    CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
    CHECK_FALSE(has(answer.body, "metrics"));
  }
}

TEST_CASE("another major version of HTTP is refused", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  const Answer answer = parse(Client(exposer.port()).send("GET /metrics HTTP/3.0\r\n\r\n").receive());
  CHECK(answer.status == 505);
  CHECK(answer.header("Connection") == "close");
  CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
}

TEST_CASE("a line that ends in LF alone is refused at once", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client client(exposer.port());
  CHECK(client.send("GET /metrics HTTP/1.1\r\nHost: x\n").answer().status == 400);
  CHECK(client.is_closed());
}

TEST_CASE("old requests, and requests in pieces, are answered", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  CHECK(Client(exposer.port()).send("GET /metrics HTTP/1.0\r\n\r\n").answer().body == "up 1\n");
  Client in_pieces(exposer.port());
  for (const char c : std::string_view("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")) in_pieces.send({&c, 1});
  CHECK(in_pieces.answer().body == "up 1\n");
}

TEST_CASE("a body is neither read nor waited for", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  const auto start = Clock::now();
  CHECK(ask(exposer, "GET /metrics", "Content-Length: 1000000000\r\n").status == 200);
  CHECK(ask(exposer, "GET /metrics", "Transfer-Encoding: chunked\r\n").status == 200);
  CHECK(ask(exposer, "POST /metrics", "Content-Length: 1000000000\r\nExpect: 100-continue\r\n").status == 405);
  CHECK(Clock::now() - start < 1s);
  // One that comes all the same does not cost the client the answer.
  const std::string body(100'000, 'x');
  CHECK(parse(Client(exposer.port())
                  .send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + body)
                  .receive())
            .status == 405);
}

TEST_CASE("an exposer serves a registry, and keeps its metrics alive", "[exposer]") {
  std::optional<quipu::Registry> registry(quipu::RegistryOptions{.prefix = "test", .process_metrics = false});
  const quipu::Counter jobs = registry->counter({.name = "jobs_total", .help = "Jobs done."});
  const Exposer exposer(*registry, {.listen = any_port});
  jobs.inc(3);
  const Answer answer = ask(exposer, "GET /metrics");
  const Page page = quipu::render(*registry);
  CHECK(answer.header("Content-Type") == page.content_type);
  CHECK(answer.body == page.body);
  CHECK(has(answer.body, "\ntest_jobs_total 3\n"));
  registry.reset();
  jobs.inc();
  CHECK(has(ask(exposer, "GET /metrics").body, "\ntest_jobs_total 4\n"));
}

// Many clients.

TEST_CASE("twenty clients at once are all answered", "[exposer]") {
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  const Exposer exposer(pages([&](std::string_view accept) {
                          const int now = ++inside;
                          for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
                          }
                          std::this_thread::sleep_for(5ms);
                          --inside;
                          return echo_of_accept(accept);
                        }),
                        {.listen = any_port});
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&exposer, &right, i] {
      const std::string mark = "client/" + std::to_string(i);
      for (int round = 0; round < 5; ++round) {
        try {
          right += ask(exposer, "GET /metrics", "Accept: " + mark + "\r\n").body == "accept=" + mark + "\n" ? 1 : 0;
        } catch (const std::runtime_error&) {
        }
      }
    });
  }
  for (auto& client : clients) client.join();
  CHECK(right == 100);
  CHECK(most > 1);
  CHECK(most <= 8);
}

/// Many connections, on which nothing is sent until it is told to.
class Crowd {
 public:
  Crowd(const Exposer& exposer, int count) {
    for (int i = 0; i < count; ++i) clients_.emplace_back(exposer.port());
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    is_over_ = true;
    if (dripping_.joinable()) dripping_.join();
  }

  /// A byte a second on each, from now on.
  void drip() {
    dripping_ = std::thread([this] {
      for (int tick = 0; !is_over_; ++tick, std::this_thread::sleep_for(10ms)) {
        for (std::size_t i = static_cast<std::size_t>(tick % 100); i < clients_.size(); i += 100) {
          try {
            clients_[i].send("G");
          } catch (const std::runtime_error&) {  // the endpoint has closed this one
          }
        }
      }
    });
  }
  void send(std::string_view bytes) {
    for (Client& client : clients_) client.send(bytes);
  }

 private:
  std::vector<Client> clients_;
  std::atomic<bool> is_over_ = false;
  std::thread dripping_;
};

/// How long a scrape takes. One without an answer, after five seconds, fails the test.
Clock::duration time_to_scrape(const Exposer& exposer) {
  const auto start = Clock::now();
  CHECK(ask(exposer, "HEAD /metrics").status == 200);
  CHECK(ask(exposer, "GET /metrics").status == 200);
  return Clock::now() - start;
}

TEST_CASE("two hundred silent or dripping clients do not delay a scrape", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Crowd crowd(exposer, 200);
  SECTION("silent") {}
  SECTION("dripping") { crowd.drip(); }
  CHECK(time_to_scrape(exposer) < 1s);
  std::this_thread::sleep_for(300ms);
  CHECK(time_to_scrape(exposer) < 1s);
}

TEST_CASE("more silent clients than may wait make room for a scrape", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client first(exposer.port());
  const auto start = Clock::now();
  const Crowd crowd(exposer, 600);
  CHECK(time_to_scrape(exposer) < 1s);
  CHECK(first.receive().empty());  // closed before its time, as it had waited longest
  CHECK(Clock::now() - start < 1900ms);
}

TEST_CASE("clients that do not read their answers do not delay a scrape", "[exposer]") {
  std::atomic<int> made = 0;
  const Exposer exposer(
      pages([&made](std::string_view accept) {
        if (accept != "large") return small_page(accept);
        ++made;
        return Page{std::string(text_type), std::string(std::size_t{6} << 20, 'x')};  // more than the kernel takes
      }),
      {.listen = any_port});
  std::vector<Client> clients;
  for (int i = 0; i < 36; ++i) {
    clients.emplace_back(exposer.port(), AF_INET, 4096)
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: large\r\n\r\n");
  }
  CHECK(soon([&] { return made >= 32; }));
  CHECK(soon([&] { return time_to_scrape(exposer) < 1s; }));
  // There are 32 places; who took nothing for longest has lost the connection.
  CHECK(std::any_of(clients.begin(), clients.end(), [](const Client& client) { return client.is_reset(); }));
}

TEST_CASE("clients that do not close do not delay a scrape", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Crowd crowd(exposer, 60);
  // It goes on holding its side of the connections.
  crowd.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  CHECK(time_to_scrape(exposer) < 1s);
}

TEST_CASE("one request more than may be seen to is told to come again", "[exposer]") {
  std::atomic<bool> may_go = false;
  std::atomic<int> inside = 0;
  const Exposer exposer(pages([&](std::string_view accept) {
                          ++inside;
                          while (!may_go) std::this_thread::sleep_for(1ms);
                          return small_page(accept);
                        }),
                        {.listen = any_port, .max_concurrent_scrapes = 5});
  std::vector<Client> clients;
  const auto one_more = [&] {
    clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  };
  for (int i = 1; i <= 3; ++i) {
    one_more();
    CHECK(soon([&] { return inside == i; }));
  }
  for (int i = 0; i < 2; ++i) one_more();
  std::this_thread::sleep_for(50ms);
  const Answer refused = ask(exposer, "GET /metrics");
  may_go = true;
  CHECK(refused.status == 503);
  CHECK(refused.header("Retry-After") == "1");
  CHECK(refused.header("Content-Length") == "0");
  CHECK(refused.header("Connection") == "close");
  CHECK(refused.body.empty());
  for (Client& client : clients) CHECK(client.answer().status == 200);
  CHECK(ask(exposer, "GET /metrics").status == 200);
}

TEST_CASE("however many requests wait, none gets 503 before its time", "[exposer]") {
  std::atomic<bool> may_go = false;
  const Exposer exposer(pages([&](std::string_view accept) {
                          while (!may_go) std::this_thread::sleep_for(1ms);
                          return small_page(accept);
                        }),
                        {.listen = any_port, .max_concurrent_scrapes = 1});
  std::vector<Client> clients;
  const auto start = Clock::now();
  for (int i = 0; i < 200; ++i)
    clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::this_thread::sleep_for(300ms);
  const auto answered = std::count_if(clients.begin(), clients.end(), [](const Client& c) { return c.is_ready(); });
  const auto looked_after = Clock::now() - start;
  INFO("looked after " << std::chrono::duration<double>(looked_after).count() << " s");
  // On a machine that was held up for so long, the time of some was over.
  CHECK((answered == 0 || looked_after > 900ms));
  // The last ones have got theirs, and those that were begun have not.
  CHECK(soon([&] { return clients.back().is_ready(); }));
  CHECK(clients.back().answer().status == 503);
  CHECK_FALSE(clients.front().is_ready());
  may_go = true;
  CHECK(clients.front().answer().status == 200);
}

TEST_CASE("silent clients of one address do not displace a client of another one", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client slow = Client::from(2, exposer.port());
  std::vector<Client> crowd;
  for (int i = 0; i < 900; ++i) crowd.emplace_back(exposer.port());
  CHECK(soon([&] { return crowd.front().is_ready(); }));  // displaced, or its time is over
  CHECK(slow.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 200);
  CHECK(time_to_scrape(exposer) < 2s);
}

TEST_CASE("a client that goes away in mid-answer harms nobody", "[exposer]") {
  struct sigaction before {};
  struct sigaction lethal {};
  lethal.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &lethal, &before);
  {
    std::atomic<int> calls = 0;
    const Exposer exposer(pages([&calls](std::string_view) {
                            ++calls;
                            return Page{std::string(text_type), std::string(std::size_t{8} << 20, 'x')};
                          }),
                          {.listen = any_port});
    for (int i = 1; i <= 10; ++i) {
      {
        Client client(exposer.port(), AF_INET, 4096);
        client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        REQUIRE(soon([&] { return calls >= i; }));
      }
    }
    CHECK(ask(exposer, "HEAD /metrics").status == 200);
  }
  ::sigaction(SIGPIPE, &before, nullptr);
}

// Stopping.

TEST_CASE("an idle keep-alive client does not delay stop", "[exposer]") {
  Exposer exposer(pages(small_page), {.listen = any_port});
  Client client(exposer.port());
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(client.answer().status == 200);  // and goes on holding its side of the connection
  std::vector<Client> more;
  for (int i = 0; i < 10; ++i) more.emplace_back(exposer.port()).send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(time_to_stop(exposer) < 300ms);
  CHECK(client.is_closed());
}

TEST_CASE("silent and half-spoken clients do not delay stop", "[exposer]") {
  Exposer exposer(pages(small_page), {.listen = any_port});
  std::vector<Client> clients;
  SECTION("nothing sent") {
    for (int i = 0; i < 10; ++i) clients.emplace_back(exposer.port());
  }
  SECTION("half a request line") {
    for (int i = 0; i < 10; ++i) clients.emplace_back(exposer.port()).send("GET /met");
  }
  SECTION("half a header") {
    for (int i = 0; i < 10; ++i)
      clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: a");
  }
  std::this_thread::sleep_for(50ms);
  CHECK(time_to_stop(exposer) < 900ms);
}

TEST_CASE("a client that trickles does not delay stop", "[exposer]") {
  Exposer exposer(pages(small_page), {.listen = any_port});
  std::atomic<bool> done = false;
  std::thread trickle([&] {
    try {
      Client client(exposer.port());
      while (!done) {
        client.send("x");
        std::this_thread::sleep_for(1ms);
      }
    } catch (const std::runtime_error&) {
    }
  });
  std::this_thread::sleep_for(50ms);
  const auto time = time_to_stop(exposer);
  done = true;
  trickle.join();
  CHECK(time < 900ms);
}

TEST_CASE("a client that does not read its answer does not delay stop", "[exposer]") {
  std::atomic<bool> asked = false;
  Exposer exposer(pages([&](std::string_view) {
                    asked = true;
                    return Page{std::string(text_type), std::string(std::size_t{32} << 20, 'x')};
                  }),
                  {.listen = any_port});
  Client client(exposer.port(), AF_INET, 4096);
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(soon([&] { return asked.load(); }));
  std::this_thread::sleep_for(100ms);
  CHECK(time_to_stop(exposer) < 900ms);
}

TEST_CASE("stop lets an answer that is being made be finished", "[exposer]") {
  std::atomic<bool> asked = false;
  Exposer exposer(pages([&](std::string_view accept) {
                    asked = true;
                    std::this_thread::sleep_for(100ms);
                    return small_page(accept);
                  }),
                  {.listen = any_port});
  Client client(exposer.port());
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(soon([&] { return asked.load(); }));
  exposer.stop();
  CHECK(client.answer().body == "up 1\n");
}

TEST_CASE("after stop nobody listens, and the port is free", "[exposer]") {
  Exposer exposer(pages(small_page), {.listen = any_port});
  const auto port = exposer.port();
  const std::string url = exposer.url();
  CHECK(ask(exposer, "GET /metrics").status == 200);
  exposer.stop();
  CHECK_THROWS_AS(Client(port), std::runtime_error);
  CHECK(exposer.port() == port);
  CHECK(exposer.url() == url);
  const std::string listen = "127.0.0.1:" + std::to_string(port);
  const Exposer next(pages(small_page), {.listen = listen});
  CHECK(ask(next, "GET /metrics").status == 200);
}

TEST_CASE("stop may be called again, and by several threads at once", "[exposer]") {
  for (int round = 0; round < 20; ++round) {
    Exposer exposer(pages(small_page), {.listen = any_port});
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&exposer] { exposer.stop(); });
    exposer.stop();
    for (auto& thread : threads) thread.join();
    exposer.stop();
    CHECK_THROWS_AS(Client(exposer.port()), std::runtime_error);
  }
}

TEST_CASE("an exposer can go at once after it came", "[exposer]") {
  const auto start = Clock::now();
  for (int i = 0; i < 100; ++i) const Exposer exposer(pages(small_page), {.listen = any_port});
  CHECK(Clock::now() - start < 5s);
}

TEST_CASE("no descriptor is left behind", "[exposer]") {
  const auto open = [] {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
  };
  if (!std::filesystem::exists("/proc/self/fd")) return;
  const auto before = open();
  for (int i = 0; i < 5; ++i) {
    const Exposer exposer(pages(small_page), {.listen = any_port});
    CHECK(ask(exposer, "GET /metrics").status == 200);
    const std::string again = "127.0.0.1:" + std::to_string(exposer.port());
    CHECK(listen_error({.listen = again}) != "no error");
  }
  CHECK(open() == before);
}

TEST_CASE("an exposer moves", "[exposer]") {
  Exposer first(pages(small_page), {.listen = any_port});
  const auto port = first.port();
  Exposer second(std::move(first));
  CHECK(second.port() == port);
  CHECK(ask(second, "GET /metrics").body == "up 1\n");

  Exposer third(pages(echo_of_accept), {.listen = any_port});
  const auto given_up = third.port();
  third = std::move(second);
  CHECK(third.port() == port);
  CHECK(ask(third, "GET /metrics").body == "up 1\n");
  CHECK_THROWS_AS(Client(given_up), std::runtime_error);

  // What is left behind is empty, and may be used as such.
  first.stop();
  CHECK(first.port() == 0);
  CHECK(first.url().empty());
}

// Starting.

TEST_CASE("several exposers work side by side", "[exposer]") {
  const Exposer one(pages([](std::string_view) { return Page{"a/a", "one"}; }), {.listen = any_port});
  const Exposer two(pages([](std::string_view) { return Page{"b/b", "two"}; }), {.listen = any_port, .path = "/two"});
  CHECK(one.port() != 0);
  CHECK(one.port() != two.port());
  CHECK(ask(one, "GET /metrics").body == "one");
  CHECK(ask(two, "GET /two").body == "two");
}

TEST_CASE("url is where the page is", "[exposer]") {
  const auto expected = [](const Exposer& exposer, std::string_view host) {
    return "http://" + std::string(host) + ":" + std::to_string(exposer.port()) + "/metrics";
  };
  const Exposer ipv4(pages(small_page), {.listen = any_port});
  CHECK(ipv4.url() == expected(ipv4, "127.0.0.1"));
  const Exposer name(pages(small_page), {.listen = "localhost:0"});
  CHECK(name.url() == expected(name, "localhost"));
  const Exposer everywhere(pages(small_page), {.listen = ":0"});
  CHECK(everywhere.url() == expected(everywhere, "127.0.0.1"));
  const Exposer other_path(pages(small_page), {.listen = any_port, .path = "/a/b"});
  CHECK(other_path.url() == "http://127.0.0.1:" + std::to_string(other_path.port()) + "/a/b");
}

TEST_CASE("localhost is reached over IPv4", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = "localhost:0"});
  CHECK(ask(exposer, "GET /metrics").status == 200);
}

TEST_CASE("IPv6 works where the machine has it", "[exposer]") {
  if (!has_ipv6()) return;
  const auto get = [](const Exposer& exposer, int family) {
    return Client(exposer.port(), family).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().body;
  };
  const Exposer literal(pages(small_page), {.listen = "[::1]:0"});
  CHECK(literal.url() == "http://[::1]:" + std::to_string(literal.port()) + "/metrics");
  CHECK(get(literal, AF_INET6) == "up 1\n");
  CHECK_THROWS_AS(Client(literal.port(), AF_INET), std::runtime_error);

  const Exposer everywhere(pages(small_page), {.listen = ":0"});
  CHECK(get(everywhere, AF_INET6) == "up 1\n");
  CHECK(get(everywhere, AF_INET) == "up 1\n");
}

TEST_CASE("a port that is in use is reported by address and reason", "[exposer]") {
  const Exposer first(pages(small_page), {.listen = any_port});
  const std::string port = std::to_string(first.port());
  for (const std::string& listen : {"127.0.0.1:" + port, "localhost:" + port, ":" + port, "0.0.0.0:" + port}) {
    CAPTURE(listen);
    const std::string message = listen_error({.listen = listen});
    CHECK(has(message, listen));
    CHECK(has(message, "Address already in use"));
  }
  CHECK(ask(first, "GET /metrics").status == 200);
}

TEST_CASE("an address of another machine is reported", "[exposer]") {
  const std::string message = listen_error({.listen = "192.0.2.1:9464"});
  CHECK(has(message, "192.0.2.1:9464"));
  CHECK(has(message, "Cannot assign requested address"));
}

TEST_CASE("a host that does not resolve is reported", "[exposer]") {
  const std::string message = listen_error({.listen = "no-such-host.invalid:0"});
  CHECK(has(message, "no-such-host.invalid:0"));
  CHECK_FALSE(has(message, "already in use"));
}

TEST_CASE("a port that needs privileges is reported", "[exposer]") {
  // A child without privileges tries, because the test may run with them.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    const std::string message = listen_error({.listen = "127.0.0.1:1"});
    ::_exit(::write(ends[1], message.data(), message.size()) < 0 ? 2 : 0);
  }
  ::close(ends[1]);
  char buffer[256] = {};
  const auto size = ::read(ends[0], buffer, sizeof buffer - 1);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(status == 0);
  REQUIRE(size > 0);
  const std::string message(buffer, static_cast<std::size_t>(size));
  if (message != "no error") {  // the machine may allow every port to everybody
    CHECK(has(message, "127.0.0.1:1"));
    CHECK(has(message, "Permission denied"));
  }
}

TEST_CASE("a listen address that is not HOST:PORT is reported", "[exposer]") {
  CHECK(listen_error({.listen = "foo"}) == "listen address \"foo\": expected HOST:PORT");
  CHECK(listen_error({.listen = ""}) == "listen address \"\": expected HOST:PORT");
  CHECK(has(listen_error({.listen = "::1"}), "brackets"));
  CHECK(has(listen_error({.listen = "::1:9464"}), "brackets"));
  for (const auto* const listen : {"[::1]", "[]:1", "[::1:9464", "::1]:9464"}) {
    CAPTURE(listen);
    CHECK(has(listen_error({.listen = listen}), "listen address \"" + std::string(listen) + "\": "));
  }
  for (const auto* const listen : {"127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
                                   "127.0.0.1: 1", "127.0.0.1:1x", ":99999999999999999999"}) {
    CAPTURE(listen);
    CHECK(listen_error({.listen = listen}) ==
          "listen address \"" + std::string(listen) + "\": the port is a number from 0 to 65535");
  }
}

TEST_CASE("a path that is none is reported", "[exposer]") {
  for (const std::string& path : {std::string(), std::string("/"), std::string("metrics"), std::string("/a b"),
                                  std::string("/a?b"), std::string("/a#b"), std::string("/%41"), std::string("/a\"b"),
                                  std::string("/<b>"), std::string("/\xC3\xA9"), std::string("/a\nb")}) {
    CAPTURE(path);
    CHECK(has(listen_error({.listen = any_port, .path = path}), "path \"" + path + "\""));
  }
}

// Being a guest in the program.

TEST_CASE("the program's handling of SIGPIPE is left alone", "[exposer]") {
  struct sigaction before {};
  struct sigaction own {};
  own.sa_handler = [](int) {};
  ::sigaction(SIGPIPE, &own, &before);
  struct sigaction after {};
  {
    const Exposer exposer(pages(small_page), {.listen = any_port});
    CHECK(ask(exposer, "GET /metrics").status == 200);
    ::sigaction(SIGPIPE, nullptr, &after);
  }
  ::sigaction(SIGPIPE, &before, nullptr);
  CHECK(after.sa_handler == own.sa_handler);
}

TEST_CASE("signals for the program never land on the endpoint's threads", "[exposer]") {
  // The mask that the page source, and so the endpoint's thread, runs with.
  std::atomic<int> open = -1;
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &before);
  const Exposer exposer(
      pages([&open](std::string_view accept) {
        sigset_t mask;
        ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
        int count = 0;
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGPIPE, SIGWINCH}) {
          count += ::sigismember(&mask, signal) == 1 ? 0 : 1;
        }
        open = count;
        return small_page(accept);
      }),
      {.listen = any_port});
  CHECK(ask(exposer, "GET /metrics").status == 200);
  CHECK(open == 0);
  sigset_t after;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    CHECK(::sigismember(&after, signal) == ::sigismember(&before, signal));
  }
}

TEST_CASE("a forked child can let go of an exposer, and the parent's goes on", "[exposer]") {
  auto exposer = std::make_unique<Exposer>(pages(small_page), ExposerOptions{.listen = any_port});
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(5);
    exposer.reset();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(ask(*exposer, "GET /metrics").body == "up 1\n");
}

TEST_CASE("the endpoint outlives a shortage of descriptors", "[exposer]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit low{128, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<int> hoard;
  for (int descriptor = ::open("/dev/null", O_RDONLY); descriptor >= 0; descriptor = ::open("/dev/null", O_RDONLY)) {
    hoard.push_back(descriptor);
  }
  const bool exhausted = !hoard.empty();
  if (exhausted) {
    ::close(hoard.back());
    hoard.pop_back();
  }
  std::optional<Client> client;
  client.emplace(exposer.port());  // takes the last descriptor, so that the endpoint finds none
  client->send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  for (const int descriptor : hoard) ::close(descriptor);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  CHECK(exhausted);
  CHECK(client->answer().body == "up 1\n");
}

}  // namespace

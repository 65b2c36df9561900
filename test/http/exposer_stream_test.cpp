#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "support/http_client.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Pages that are sent while they are made.

namespace {

using quipu::Exposer;
using quipu::ExposerOptions;
using namespace http_client;
using namespace std::chrono_literals;

constexpr std::size_t piece_size = std::size_t{64} * 1024;
constexpr int pieces_of_8_mb = 128;

TEST_CASE("a page of many pieces arrives whole, in chunks", "[exposer][stream]") {
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size), {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.status == 200);
  CHECK(answer.header("Transfer-Encoding") == "chunked");
  CHECK(answer.all("Content-Length").empty());
  CHECK(answer.header("Content-Type") == text_type);
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK(answer.is_whole);
  // In two pairs of parentheses, so that a failure does not print it.
  CHECK((answer.body == Pieces::whole(pieces_of_8_mb, piece_size)));
}

TEST_CASE("a page in one piece of many megabytes arrives whole", "[exposer][stream]") {
  const std::string body = Pieces::piece(1, std::size_t{20} << 20);
  const Exposer exposer(pages([&body](std::string_view) {
                          return quipu::Page{std::string(text_type), body};
                        }),
                        {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.is_whole);
  CHECK((answer.body == body));
}

TEST_CASE("a slow reader gets the same page", "[exposer][stream]") {
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size), {.listen = any_port});
  Client client(exposer.port(), AF_INET, 4096);
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string raw;
  std::vector<char> some(50'000);
  for (std::size_t count = 1; count > 0;) {
    count = client.receive_some(some);
    raw.append(some.data(), count);
    if (raw.size() % 16 == 0) std::this_thread::sleep_for(1ms);
  }
  const Answer answer = parse(raw);
  CHECK(answer.is_whole);
  CHECK((answer.body == Pieces::whole(pieces_of_8_mb, piece_size)));
}

TEST_CASE("a page that is soon at its end has its length", "[exposer][stream]") {
  const auto piece = GENERATE(std::size_t{1}, std::size_t{1000}, std::size_t{65536});
  const Exposer exposer(pieces(4, piece), {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics");
  CHECK(answer.header("Content-Length") == std::to_string(4 * piece));
  CHECK(answer.all("Transfer-Encoding").empty());
  CHECK((answer.body == Pieces::whole(4, piece)));
}

TEST_CASE("a client of HTTP/1.0 gets a long page up to the end of the connection", "[exposer][stream]") {
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size), {.listen = any_port});
  for (const auto* const field : {"", "Connection: keep-alive\r\n"}) {
    const std::string end = std::string(" /metrics HTTP/1.0\r\n") + field + "\r\n";
    const Answer answer = parse(Client(exposer.port()).send("GET" + end).receive());
    CHECK(answer.status == 200);
    CHECK(answer.all("Content-Length").empty());
    CHECK(answer.all("Transfer-Encoding").empty());
    CHECK(answer.header("Connection") == "close");
    CHECK((answer.body == Pieces::whole(pieces_of_8_mb, piece_size)));
    const Answer head = parse(Client(exposer.port()).send("HEAD" + end).receive(), true);
    CHECK(head.headers == answer.headers);
    CHECK(head.body.empty());
  }
}

TEST_CASE("a client of HTTP/1.0 gets a short page with its length", "[exposer][stream]") {
  const Exposer exposer(pieces(4, 65536), {.listen = any_port});
  Client client(exposer.port());
  const Answer answer = client.send("GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
  CHECK(answer.is_whole);
  CHECK(answer.header("Connection") == "keep-alive");
}

TEST_CASE("HEAD of a long page has the headers of GET", "[exposer][stream]") {
  std::atomic<int> made = 0;
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size, [&made](int) { ++made; }), {.listen = any_port});
  Client client(exposer.port());
  client.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Answer head = client.answer(true);
  CHECK(made < 10);
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Answer get = client.answer();
  CHECK(head.headers == get.headers);
  CHECK(get.is_whole);
}

// Failures.

TEST_CASE("a page that fails before any of it is sent gives 500", "[exposer][stream]") {
  const int failing = GENERATE(0, 1, 3);
  const Exposer exposer(pieces(10, piece_size,
                               [failing](int number) {
                                 if (number == failing) throw std::runtime_error("secret detail");
                               }),
                        {.listen = any_port});
  Client client(exposer.port());
  for (int i = 0; i < 2; ++i) {
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const Answer answer = client.answer();
    CHECK(answer.status == 500);
    CHECK(answer.body == "The page could not be made.\n");
    CHECK(answer.header("Content-Type") == "text/plain; charset=utf-8");
  }
}

/// What a client sees of a page: "whole", "500", or "broken".
std::string outcome(const Exposer& exposer, const std::string& fields) {
  try {
    Client client(exposer.port());
    client.send("GET /metrics" + fields);
    const Answer answer = client.answer();
    return answer.status == 200 ? "whole" : std::to_string(answer.status);
  } catch (const std::runtime_error& error) {
    return error.what() == std::string_view("silence") ? "silence" : "broken";
  }
}

TEST_CASE("a page that fails half-way is never taken for a whole one", "[exposer][stream]") {
  std::atomic<int> failing = 0;
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size,
                               [&failing](int number) {
                                 if (number != failing) return;
                                 if (number % 2 == 0) throw std::bad_alloc();
                                 throw 42;
                               }),
                        {.listen = any_port});
  for (const int piece : {5, 6, 50, 127}) {
    CAPTURE(piece);
    failing = piece;
    CHECK(outcome(exposer, " HTTP/1.1\r\nHost: localhost\r\n\r\n") == "broken");
    CHECK(outcome(exposer, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == "broken");
    // The connection ends in a reset, so that its end is not taken for that of the page.
    CHECK_THROWS_WITH(Client(exposer.port()).send("GET /metrics HTTP/1.0\r\n\r\n").receive(), "reset");
  }
  failing = -1;
  CHECK(outcome(exposer, " HTTP/1.1\r\nHost: localhost\r\n\r\n") == "whole");
}

TEST_CASE("a page that a stopped endpoint leaves half-way is not taken for a whole one", "[exposer][stream]") {
  Gate gate;
  const auto hanging = pieces(pieces_of_8_mb, piece_size, [&gate](int number) {
    if (number == 0) gate.pass();
  });
  std::optional<Exposer> exposer(std::in_place, hanging, ExposerOptions{.listen = any_port});
  const auto* const version = GENERATE("1.0", "1.1");
  Client client(exposer->port(), AF_INET, 4096);
  client.send(std::string("GET /metrics HTTP/") + version + "\r\nHost: localhost\r\n\r\n");
  CHECK(soon([&] { return gate.entered() == 1; }));
  exposer->stop();
  SECTION("and is gone") { exposer.reset(); }
  SECTION("and is still there") {}
  gate.open();
  // The rest of the page has nobody who would send it.
  CHECK_THROWS_WITH(client.receive(), "reset");
}

TEST_CASE("a page for HTTP/1.0 that the end of the program breaks off is not taken for a whole one",
          "[exposer][stream]") {
  if (is_thread_sanitized) return;
  int ports[2];
  REQUIRE(::pipe(ports) == 0);
  std::optional<Client> client;
  std::thread reader([&] {
    std::uint16_t port = 0;
    if (::read(ports[0], &port, sizeof port) != sizeof port) return;
    client.emplace(port, AF_INET, 4096);
    client->send("GET /metrics HTTP/1.0\r\n\r\n");
  });
  CHECK(in_child([&ports] {
    std::atomic<bool> is_begun = false;
    const Exposer exposer(pieces(pieces_of_8_mb, piece_size,
                                 [&is_begun](int number) {
                                   if (number == 5) is_begun = true;
                                 }),
                          {.listen = any_port});
    const std::uint16_t port = exposer.port();
    if (::write(ports[1], &port, sizeof port) != sizeof port) return false;
    const bool is_good = soon([&] { return is_begun.load(); });
    std::this_thread::sleep_for(100ms);
    ::_exit(is_good ? 0 : 1);
  }));
  reader.join();
  for (const int end : ports) ::close(end);
  REQUIRE(client);
  CHECK_THROWS_WITH(client->receive(), "reset");
}

TEST_CASE("a source that gives no page, or no content type, gives 500", "[exposer][stream]") {
  const Exposer nothing([](const quipu::ScrapeRequest&) { return nullptr; }, {.listen = any_port});
  CHECK(ask(nothing, "GET /metrics").status == 500);
  const Exposer injecting(pages([](std::string_view) {
                            return quipu::Page{"a/b\r\nSet-Cookie: c", "up 1\n"};
                          }),
                          {.listen = any_port});
  const Answer answer = ask(injecting, "GET /metrics");
  CHECK(answer.status == 500);
  CHECK(answer.all("Set-Cookie").empty());
}

// Slow clients.

TEST_CASE("clients that read nothing of a long page do not hold workers, or places", "[exposer][stream]") {
  std::atomic<int> begun = 0;
  const quipu::PageSource source = [&begun](const quipu::ScrapeRequest& request) {
    if (request.accept != "long") return stream_of(small_page());
    ++begun;
    return std::unique_ptr<quipu::PageStream>(std::make_unique<Pieces>(pieces_of_8_mb, piece_size));
  };
  const Exposer exposer(source, {.listen = any_port});
  std::vector<Client> clients;
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back(exposer.port(), AF_INET, 4096)
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: long\r\n\r\n");
  }
  // At once, while places are still being given way.
  const auto start = Clock::now();
  CHECK(soon([&] { return ask(exposer, "GET /metrics").status == 200; }));
  if (!is_thread_sanitized) CHECK(Clock::now() - start < 1s);
  CHECK(soon([&] { return begun >= 32; }));
  CHECK(soon([&] {
    const auto again = Clock::now();
    return ask(exposer, "GET /metrics").status == 200 && Clock::now() - again < 1s;
  }));
  // Those that lost their places see it.
  CHECK(soon([&] {
    return std::any_of(clients.begin(), clients.end(), [](const Client& client) { return client.is_reset(); });
  }));
}

TEST_CASE("a short page is made between the pieces of long ones", "[exposer][stream]") {
  // The long pages end when the short one has arrived.
  std::atomic<bool> is_over = false;
  std::atomic<int> begun = 0;
  const quipu::PageSource source = [&](const quipu::ScrapeRequest& request) {
    if (request.accept != "long") return stream_of(small_page());
    ++begun;
    return std::unique_ptr<quipu::PageStream>(std::make_unique<Pieces>(100'000, piece_size, [&](int) {
      if (is_over) throw std::runtime_error("over");
      std::this_thread::sleep_for(1ms);
    }));
  };
  const Exposer exposer(source, {.listen = any_port});
  // As many as may be in progress.
  std::vector<std::thread> readers;
  for (int i = 0; i < 32; ++i) {
    readers.emplace_back([&] {
      try {
        Client client(exposer.port());
        client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: long\r\nConnection: close\r\n\r\n").receive();
      } catch (const std::runtime_error&) {
      }
    });
  }
  CHECK(soon([&] { return begun >= 3; }));  // all workers have one
  std::string body;
  try {
    body = ask(exposer, "GET /metrics").body;
  } catch (const std::runtime_error& error) {
    body = error.what();
  }
  is_over = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(body == "up 1\n");
}

TEST_CASE("who has taken nothing for longest gives way", "[exposer][stream]") {
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size), {.listen = any_port, .max_concurrent_scrapes = 2});
  const auto stalled = [&exposer] {
    Client client(exposer.port(), AF_INET, 4096);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    std::this_thread::sleep_for(200ms);
    return client;
  };
  const Client first = stalled();
  const Client second = stalled();
  CHECK(ask(exposer, "GET /metrics").is_whole);
  CHECK(first.is_reset());
  CHECK_FALSE(second.is_reset());
}

TEST_CASE("clients that come back for more do not keep others waiting", "[exposer][stream]") {
  const Exposer exposer(pieces(pieces_of_8_mb, piece_size), {.listen = any_port});
  std::atomic<bool> is_over = false;
  std::vector<std::thread> slow;
  for (int i = 0; i < 8; ++i) {
    slow.emplace_back([&] {
      Client client(exposer.port(), AF_INET, 4096);
      client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
      std::array<char, 20'000> some{};
      try {
        while (!is_over && client.receive_some(some) > 0) std::this_thread::sleep_for(1ms);
      } catch (const std::runtime_error&) {
      }
    });
  }
  std::this_thread::sleep_for(50ms);
  for (int i = 0; i < 5; ++i) {
    const auto start = Clock::now();
    CHECK(ask(exposer, "GET /metrics").is_whole);
    CHECK(Clock::now() - start < 5s);
  }
  is_over = true;
  for (auto& thread : slow) thread.join();
}

TEST_CASE("stop breaks off a long page that its client does not read", "[exposer][stream]") {
  Exposer exposer(pieces(100'000, piece_size), {.listen = any_port});
  Client idle(exposer.port(), AF_INET, 4096);
  idle.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  Client busy(exposer.port());
  busy.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::atomic<bool> is_broken = false;
  std::thread reader([&] {
    std::vector<char> some(100'000);
    try {
      while (busy.receive_some(some) > 0) {
      }
    } catch (const std::runtime_error&) {
    }
    is_broken = true;
  });
  std::this_thread::sleep_for(100ms);
  const auto start = Clock::now();
  exposer.stop();
  CHECK(Clock::now() - start < 900ms);
  reader.join();
  CHECK(is_broken);
}

// Memory.

TEST_CASE("forty clients of HTTP/1.0 that do not read take little memory", "[exposer][stream]") {
  if (is_address_sanitized || is_thread_sanitized || resident_bytes() == 0) return;
  std::atomic<int> begun = 0;
  const Exposer exposer(
      [&begun](const quipu::ScrapeRequest&) {
        ++begun;
        return std::make_unique<Pieces>(256, piece_size);
      },
      {.listen = any_port});
  const std::size_t before = resident_bytes();
  std::vector<Client> clients;
  for (int i = 0; i < 40; ++i)
    clients.emplace_back(exposer.port(), AF_INET, 4096).send("GET /metrics HTTP/1.0\r\n\r\n");
  CHECK(soon([&] { return begun >= 32; }));
  std::this_thread::sleep_for(100ms);
  CHECK(resident_bytes() - before < std::size_t{64} << 20);
}

TEST_CASE("responses hold no more than the bytes that they may", "[exposer][stream]") {
  if (is_address_sanitized || is_thread_sanitized || resident_bytes() == 0) return;
  // Each is a single piece of 16 MB.
  std::atomic<int> begun = 0;
  const std::string piece = Pieces::piece(1, std::size_t{16} << 20);
  const Exposer exposer(pages([&](std::string_view accept) {
                          if (accept != "large") return small_page();
                          ++begun;
                          return quipu::Page{std::string(text_type), piece};
                        }),
                        {.listen = any_port, .max_response_bytes = std::size_t{20} << 20});
  const std::size_t before = resident_bytes();
  std::size_t most = before;
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(exposer.port(), AF_INET, 4096)
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: large\r\n\r\n");
    std::this_thread::sleep_for(30ms);
    most = std::max(most, resident_bytes());
  }
  CHECK(begun >= 2);
  CHECK(soon([&] { return ask(exposer, "GET /metrics").status == 200; }));
  // Two, as the first one leaves room for another, and three that are being made, of which each may be there twice. All
  // twenty would be 320 MiB.
  CHECK(most - before < std::size_t{160} << 20);
}

TEST_CASE("a page of 100 MB takes less than 4 MiB", "[exposer][stream]") {
  if (is_address_sanitized || is_thread_sanitized || resident_bytes() == 0) return;
  constexpr int count = 1600;
  const Exposer exposer(pieces(count, piece_size), {.listen = any_port});
  CHECK(ask(exposer, "HEAD /metrics").status == 200);
  std::vector<char> some(piece_size);
  const auto gzip = GENERATE("", "Accept-Encoding: gzip\r\n");
  const std::size_t before = resident_bytes();
  std::size_t most = before;
  std::size_t received = 0;
  Client client(exposer.port());
  client.send(std::string("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n") + gzip + "\r\n");
  for (std::size_t part = 1; part > 0; received += part) {
    part = client.receive_some(some);
    most = std::max(most, resident_bytes());
  }
  CHECK(received > (*gzip != '\0' ? std::size_t{100'000} : count * piece_size));
  CHECK(most - before < std::size_t{4} << 20);
}

}  // namespace

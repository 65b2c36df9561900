#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "support/http_client.hpp"

// Connections that stay from one request to the next.

namespace {

using quipu::Exposer;
using namespace http_client;
using namespace std::chrono_literals;

constexpr std::string_view get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

TEST_CASE("a connection answers one request after another", "[exposer][connection]") {
  const Exposer exposer(pages(echo_of_accept), {.listen = any_port});
  Client client(exposer.port());
  for (int i = 0; i < 100; ++i) {
    const std::string mark = "round/" + std::to_string(i);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: " + mark + "\r\n\r\n");
    const Answer answer = client.answer();
    CHECK(answer.header("Connection") == "keep-alive");
    CHECK(answer.body == "accept=" + mark + "\n");
  }
}

TEST_CASE("answers of every kind and length go over one connection", "[exposer][connection]") {
  const Exposer exposer(
      [](const quipu::ScrapeRequest& request) -> std::unique_ptr<quipu::PageStream> {
        if (request.accept == "fail") throw std::runtime_error("no");
        if (request.accept == "long") return std::make_unique<Pieces>(40, 65536);
        return stream_of(small_page());
      },
      {.listen = any_port});
  Client client(exposer.port());
  for (int i = 0; i < 3; ++i) {
    CHECK(client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 200);
    CHECK(client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: long\r\n\r\n").answer().body.size() ==
          40 * 65536);
    CHECK(client.send("GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 404);
    CHECK(client.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").answer(true).status == 200);
    CHECK(client.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: long\r\n\r\n").answer(true).status == 200);
    CHECK(client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: fail\r\n\r\n").answer().status == 500);
    CHECK(client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").answer().body ==
          "up 1\n");
  }
}

TEST_CASE("requests that come together are answered in order", "[exposer][connection]") {
  const Exposer exposer(pages(echo_of_accept), {.listen = any_port});
  std::string requests;
  for (int i = 0; i < 200; ++i)
    requests += "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: n/" + std::to_string(i) + "\r\n\r\n";
  SECTION("whole") {
    Client client(exposer.port());
    client.send(requests);
    for (int i = 0; i < 200; ++i) CHECK(client.answer().body == "accept=n/" + std::to_string(i) + "\n");
  }
  SECTION("cut anywhere") {
    Client client(exposer.port());
    client.send(requests.substr(0, 5000));
    for (int i = 0; i < 50; ++i) CHECK(client.answer().body == "accept=n/" + std::to_string(i) + "\n");
    client.send(requests.substr(5000));
    for (int i = 50; i < 200; ++i) CHECK(client.answer().body == "accept=n/" + std::to_string(i) + "\n");
  }
  SECTION("with the client's end") {
    Client client(exposer.port());
    client.send(requests).finish();
    std::string raw = client.receive();
    CHECK(raw.find("accept=n/199\n") != std::string::npos);
  }
}

TEST_CASE("a connection is closed when it is asked to be", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const std::string& request :
       {std::string("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        std::string("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: foo , CLOSE\r\n\r\n"),
        std::string("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nconnection: close\r\n\r\n"),
        std::string("GET /metrics HTTP/1.0\r\n\r\n"), std::string("GET /metrics HTTP/1.0\r\nConnection: te\r\n\r\n")}) {
    CAPTURE(request);
    Client client(exposer.port());
    const Answer answer = client.send(request).answer();
    CHECK(answer.body == "up 1\n");
    CHECK(answer.header("Connection") == "close");
    CHECK(client.is_closed());
  }
}

TEST_CASE("a client of HTTP/1.0 keeps its connection by asking for it", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client client(exposer.port());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = client.send("GET /metrics HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").answer();
    CHECK(answer.body == "up 1\n");
    CHECK(answer.header("Connection") == "keep-alive");
  }
}

TEST_CASE("after a body nothing is taken for a request", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const auto* const field :
       {"Content-Length: 5", "Content-Length: 00", "Transfer-Encoding: chunked", "transfer-encoding: identity"}) {
    CAPTURE(field);
    Client client(exposer.port());
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + std::string(field) + "\r\n\r\n" + std::string(get));
    const Answer answer = client.answer();
    CHECK(answer.status == 200);
    CHECK(answer.header("Connection") == "close");
    CHECK(client.is_closed());
  }
}

TEST_CASE("after what may be a body nothing is taken for a request", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const auto* const field :
       {"Content-Length: 0, 0", "Content-Length: -1", "Content-Length:", "Transfer-Encoding : chunked",
        "X: y\r\n Transfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "Content-Length",
        "Content-Length: 5\r\nTransfer-Encoding: chunked"}) {
    CAPTURE(field);
    Client client(exposer.port());
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + std::string(field) + "\r\n\r\n" + std::string(get));
    const Answer answer = client.answer();
    CHECK(answer.status == 400);
    CHECK(answer.header("Connection") == "close");
    CHECK(client.is_closed());
  }
}

TEST_CASE("after a refusal the connection is closed", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  for (const std::string& request :
       {std::string("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), std::string("nonsense\r\n\r\n"),
        "GET /" + std::string(10'000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n"}) {
    CAPTURE(request.substr(0, 20));
    Client client(exposer.port());
    const Answer answer = client.send(request + std::string(get)).answer();
    CHECK(answer.status >= 400);
    CHECK(answer.header("Connection") == "close");
    CHECK(client.is_closed());
  }
}

TEST_CASE("a second request has two seconds for its head, as the first has", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client client(exposer.port());
  CHECK(client.send(get).answer().status == 200);
  const auto start = Clock::now();
  CHECK_THROWS_AS(
      [&] {
        for (;;) {
          client.send("G");
          std::this_thread::sleep_for(20ms);
        }
      }(),
      std::runtime_error);
  CHECK(Clock::now() - start > 1500ms);
  CHECK(Clock::now() - start < 4s);
}

TEST_CASE("an idle connection is there longer than a head may take", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  Client client(exposer.port());
  CHECK(client.send(get).answer().status == 200);
  std::this_thread::sleep_for(2500ms);
  CHECK(client.send(get).answer().status == 200);
}

TEST_CASE("of more idle connections than may be the longest idle goes", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  std::vector<Client> clients;
  for (int i = 0; i < 300; ++i) CHECK(clients.emplace_back(exposer.port()).send(get).answer().status == 200);
  CHECK(clients.front().is_closed());
  CHECK(clients.back().send(get).answer().status == 200);
  Client newcomer(exposer.port());
  CHECK(newcomer.send(get).answer().status == 200);
}

TEST_CASE("clients with many requests leave room for others", "[exposer][connection]") {
  const Exposer exposer(pages(small_page), {.listen = any_port});
  std::atomic<bool> is_over = false;
  std::vector<std::thread> busy;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back([&] {
      Client client(exposer.port());
      while (!is_over) client.send(get).answer();
    });
  }
  for (int i = 0; i < 10; ++i) {
    const auto start = Clock::now();
    CHECK(ask(exposer, "GET /metrics").status == 200);
    CHECK(Clock::now() - start < 1s);
  }
  is_over = true;
  for (auto& thread : busy) thread.join();
}

}  // namespace

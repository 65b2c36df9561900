#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "support/http_client.hpp"

// What of a request the page source is told, and when one page answers several requests.

namespace {

using quipu::Exposer;
using namespace http_client;
using namespace std::chrono_literals;

/// A page that lists the families asked for.
std::unique_ptr<quipu::PageStream> list_of_families(const quipu::ScrapeRequest& request) {
  std::string body;
  for (const std::string& family : request.families) body += '[' + family + ']';
  return stream_of(quipu::Page{std::string(text_type), body});
}

TEST_CASE("name[] asks for families", "[exposer][request]") {
  const Exposer exposer(list_of_families, {.listen = any_port});
  const auto asked = [&exposer](const std::string& query) { return ask(exposer, "GET /metrics" + query).body; };
  CHECK(asked("") == "");
  CHECK(asked("?name[]=up") == "[up]");
  CHECK(asked("?name%5B%5D=up") == "[up]");
  CHECK(asked("?name%5b%5d=up_%74otal") == "[up_total]");
  CHECK(asked("?name[]=a&name%5B%5D=b&debug=1&name[]=c") == "[a][b][c]");
  CHECK(asked("?name[]=my.metric%20%C3%A9") == "[my.metric \xC3\xA9]");
  CHECK(asked("?name[]=") == "[]");
  // Others are somebody else's.
  CHECK(asked("?name=up&names[]=up&Name[]=up&x[]=name[]&format=text") == "");
}

TEST_CASE("more names than may be are refused", "[exposer][request]") {
  const Exposer exposer(list_of_families, {.listen = any_port});
  const auto with = [&exposer](int count) {
    std::string query = "?";
    for (int i = 0; i < count; ++i) query += "name[]=" + std::to_string(i) + "&";
    return ask(exposer, "GET /metrics" + query);
  };
  CHECK(with(256).status == 200);
  const Answer refused = with(257);
  CHECK(refused.status == 400);
  CHECK(refused.header("Content-Type") == "text/plain; charset=utf-8");
  CHECK(refused.header("Connection") == "close");
}

TEST_CASE("the source is told by when the page is of no use any more", "[exposer][request]") {
  std::atomic<double> left = 0;
  const Exposer exposer(
      [&left](const quipu::ScrapeRequest& request) {
        left = std::chrono::duration<double>(request.deadline - Clock::now()).count();
        return stream_of(small_page());
      },
      {.listen = any_port});
  const auto time_with = [&](const std::string& fields) {
    CHECK(ask(exposer, "GET /metrics", fields).status == 200);
    return left.load();
  };
  const auto scrape_timeout = [](const std::string& value) {
    return "X-Prometheus-Scrape-Timeout-Seconds: " + value + "\r\n";
  };
  const auto is_about = [](double time, double expected) { return time <= expected && time > expected - 0.5; };
  // A tenth of it, and at most half a second, is for the way.
  CHECK(is_about(time_with(scrape_timeout("1")), 0.9));
  CHECK(is_about(time_with(scrape_timeout("2.5")), 2.25));
  CHECK(is_about(time_with("x-prometheus-scrape-timeout-seconds:60\r\n"), 59.5));
  CHECK(is_about(time_with(scrape_timeout("1e1")), 9.5));
  for (const auto* const odd : {"", "abc", "-1", "0", "nan", "-inf", "1e999", "5s", "5 5", "+5", "5,5"}) {
    CAPTURE(odd);
    CHECK(is_about(time_with(scrape_timeout(odd)), 9.5));
  }
  CHECK(is_about(time_with(""), 9.5));
}

TEST_CASE("the time that a scraper asks for is limited", "[exposer][request]") {
  std::atomic<double> left = 0;
  const auto source = [&left](const quipu::ScrapeRequest& request) {
    left = std::chrono::duration<double>(request.deadline - Clock::now()).count();
    return stream_of(small_page());
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

/// Keeps the workers busy, and counts the pages that it makes besides.
class BusySource {
 public:
  explicit BusySource(std::size_t body_size = 1000) : body_(body_size, 'x') {}

  quipu::PageSource source() {
    return [this](const quipu::ScrapeRequest& request) {
      if (request.accept == "busy") {
        ++busy_;
        soon([this] { return may_go_.load(); });
      } else {
        const std::lock_guard lock(mutex_);
        began_.push_back(Clock::now());
      }
      return stream_of(quipu::Page{std::string(text_type), body_});
    };
  }
  void occupy(const Exposer& exposer) {
    for (int i = 0; i < 3; ++i) {
      occupants_.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: busy\r\n\r\n");
      REQUIRE(soon([&] { return busy_ == i + 1; }));
    }
  }
  void let_go() { may_go_ = true; }
  std::vector<Clock::time_point> began() {
    const std::lock_guard lock(mutex_);
    return began_;
  }

 private:
  const std::string body_;
  std::atomic<int> busy_ = 0;
  std::atomic<bool> may_go_ = false;
  std::mutex mutex_;
  std::vector<Clock::time_point> began_;
  std::vector<Client> occupants_;
};

TEST_CASE("a request that waits for a worker until its deadline gets 503", "[exposer][request]") {
  BusySource source;
  const Exposer exposer(source.source(), {.listen = any_port});
  source.occupy(exposer);
  const auto start = Clock::now();
  const Answer answer = ask(exposer, "GET /metrics", "X-Prometheus-Scrape-Timeout-Seconds: 0.5\r\n");
  CHECK(Clock::now() - start > 400ms);
  CHECK(Clock::now() - start < 2s);
  CHECK(answer.status == 503);
  CHECK(answer.header("Retry-After") == "1");
  source.let_go();
  CHECK(ask(exposer, "GET /metrics").status == 200);
  CHECK(source.began().size() == 1);
}

TEST_CASE("requests for the same page that wait together get one", "[exposer][request]") {
  BusySource source;
  const Exposer exposer(source.source(), {.listen = any_port});
  source.occupy(exposer);
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i)
    clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  const auto before = Clock::now();
  source.let_go();
  for (Client& client : clients) CHECK(client.answer().body == std::string(1000, 'x'));
  const auto began = source.began();
  CHECK(began.size() == 1);
  // It is of after they came.
  CHECK(std::all_of(began.begin(), began.end(), [before](auto time) { return time >= before; }));
  CHECK(clients.back().is_closed());
  CHECK(clients.front().send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 200);
}

TEST_CASE("requests for different pages do not share one", "[exposer][request]") {
  BusySource source;
  const Exposer exposer(source.source(), {.listen = any_port});
  source.occupy(exposer);
  std::vector<Client> clients;
  const std::vector<std::string> requests = {
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n",
      "GET /metrics?name[]=up HTTP/1.1\r\nHost: localhost\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Prometheus-Scrape-Timeout-Seconds: 30\r\n\r\n",
      "GET /metrics HTTP/1.0\r\n\r\n",
  };
  for (const std::string& request : requests) clients.emplace_back(exposer.port()).send(request);
  Client head(exposer.port());
  head.send("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  source.let_go();
  for (Client& client : clients) CHECK(client.answer().status == 200);
  const Answer answer = head.answer(true);
  CHECK(answer.header("Content-Length") == "1000");
  CHECK(source.began().size() == requests.size() + 1);
}

TEST_CASE("a long page is made for each who asks", "[exposer][request]") {
  constexpr std::size_t size = std::size_t{1} << 20;
  BusySource source(size);
  const Exposer exposer(source.source(), {.listen = any_port});
  source.occupy(exposer);
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i)
    clients.emplace_back(exposer.port()).send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  source.let_go();
  for (Client& client : clients) CHECK(client.answer().body.size() == size);
  CHECK(source.began().size() == 10);
}

TEST_CASE("a request that comes while a page is being made does not get it", "[exposer][request]") {
  std::atomic<int> made = 0;
  const Exposer exposer(
      [&made](const quipu::ScrapeRequest&) {
        const int number = ++made;
        std::this_thread::sleep_for(200ms);
        return stream_of(quipu::Page{std::string(text_type), std::to_string(number)});
      },
      {.listen = any_port});
  Client first(exposer.port());
  first.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  REQUIRE(soon([&] { return made == 1; }));
  CHECK(ask(exposer, "GET /metrics").body == "2");
  CHECK(first.answer().body == "1");
}

}  // namespace

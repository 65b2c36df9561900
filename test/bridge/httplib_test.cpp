#include "quipu/httplib.hpp"

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/http_client.hpp"

using namespace http_client;
using namespace std::chrono_literals;
using quipu::testing::value_of;

namespace {

/// A program's own web server.
class WebServer {
 public:
  explicit WebServer(const std::function<void(httplib::Server&)>& set_up) {
    set_up(server_);
    port_ = static_cast<std::uint16_t>(server_.bind_to_any_port("127.0.0.1"));
    REQUIRE(port_ != 0);
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    REQUIRE(soon([this] { return server_.is_running(); }));
  }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;
  ~WebServer() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  httplib::Server server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

template <class What>
WebServer mounted(What what) {
  return WebServer([&](httplib::Server& server) { quipu::mount(server, std::move(what)); });
}

/// Nothing on its page changes by itself.
quipu::Registry quiet_registry() { return quipu::Registry({.process_metrics = false, .self_metrics = false}); }

quipu::Registry large_registry() {
  auto registry = quiet_registry();
  const auto family = registry.counter({.name = "orders_total", .help = "Orders."}, {"item", "city"});
  for (int i = 0; i < 40'000; ++i) family("item " + std::to_string(i), "a city").inc();
  return registry;
}

}  // namespace

TEST_CASE("a mounted page is what render() makes", "[httplib]") {
  const auto registry = quiet_registry();
  registry.counter({.name = "orders_total", .help = "Orders."}, {"item"})("tea").inc(3);
  const WebServer server = mounted(registry);
  const Answer answer = ask(server.port(), "GET /metrics");
  CHECK(answer.status == 200);
  CHECK(answer.is_whole);
  CHECK(answer.body == quipu::render(registry).body);
  CHECK(answer.header("Content-Type") == text_type);
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK(answer.header("Accept-Ranges") == "none");
}

TEST_CASE("a page longer than a piece is the same, in chunks", "[httplib]") {
  const auto registry = large_registry();
  const quipu::Page page = quipu::render(registry);
  REQUIRE(page.body.size() > std::size_t{1024} * 1024);
  const WebServer server = mounted(registry);
  const Answer answer = ask(server.port(), "GET /metrics");
  CHECK(answer.status == 200);
  CHECK(answer.is_whole);
  CHECK(answer.header("Transfer-Encoding") == "chunked");
  CHECK(answer.header("Content-Type") == page.content_type);
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK((answer.body == page.body));

  Client old(server.port());
  old.send("GET /metrics HTTP/1.0\r\n\r\n");
  const Answer in_one = parse(old.receive());
  CHECK(in_one.is_whole);
  CHECK(in_one.all("Transfer-Encoding").empty());
  CHECK((in_one.body == page.body));
}

TEST_CASE("a mounted page is made no faster than its client takes it", "[httplib]") {
  std::atomic<int> made = 0;
  const WebServer server = mounted(pieces(256, std::size_t{256} * 1024, [&](int number) { made = number + 1; }));
  Client client(server.port());
  client.send("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
  REQUIRE(soon([&] { return made > 1; }));
  for (int before = 0; before != made; std::this_thread::sleep_for(200ms)) before = made;
  CHECK(made < 128);
  const Answer answer = parse(client.receive());
  CHECK(answer.is_whole);
  CHECK((answer.body == Pieces::whole(256, std::size_t{256} * 1024)));
}

TEST_CASE("a mounted page is negotiated by all Accept fields", "[httplib]") {
  const auto registry = quiet_registry();
  registry.counter({.name = "orders_total", .help = "Orders."}).inc();
  const WebServer server = mounted(registry);
  const std::string fields = "Accept: text/html\r\naccept: application/openmetrics-text;version=1.0.0\r\n";
  const Answer answer = ask(server.port(), "GET /metrics", fields);
  const quipu::Page page = quipu::render(registry, "text/html, application/openmetrics-text;version=1.0.0");
  CHECK_THAT(page.content_type, Catch::Matchers::ContainsSubstring("openmetrics"));
  CHECK(answer.header("Content-Type") == page.content_type);
  CHECK(answer.body == page.body);
}

TEST_CASE("a mounted page shows the families that it is asked for", "[httplib]") {
  const auto registry = quiet_registry();
  for (const char* const name : {"a_total", "b_total", "c_total"}) {
    registry.counter({.name = quipu::runtime(name), .help = "Counted."}).inc();
  }
  const WebServer server = mounted(registry);
  const std::vector<std::string> families{"a_total", "c_total"};
  const Answer answer = ask(server.port(), "GET /metrics?name%5B%5D=a_total&name[]=c_total");
  CHECK(answer.body == quipu::render(registry, quipu::ScrapeRequest{.families = families}).body);
  CHECK_THAT(answer.body, !Catch::Matchers::ContainsSubstring("b_total"));

  std::string names;
  for (int i = 0; i < 256; ++i) names += "&name[]=a" + std::to_string(i);
  CHECK(ask(server.port(), "GET /metrics?" + names).status == 200);
  CHECK(ask(server.port(), "GET /metrics?" + names + "&name[]=a256").status == 400);
}

TEST_CASE("HEAD has the head of a mounted page, and no body", "[httplib]") {
  const WebServer server = mounted(pages(small_page));
  const Answer head = ask(server.port(), "HEAD /metrics");
  CHECK(head.status == 200);
  CHECK(head.is_whole);
  CHECK(head.header("Content-Type") == text_type);
  CHECK(head.header("Content-Length") == std::to_string(small_page().body.size()));

  const WebServer large = mounted(pieces(10, 100));
  const Answer chunked = ask(large.port(), "HEAD /metrics");
  CHECK(chunked.status == 200);
  CHECK(chunked.is_whole);
  CHECK(chunked.header("Transfer-Encoding") == "chunked");
}

TEST_CASE("a mounted page is at its path only, for GET and HEAD only", "[httplib]") {
  const WebServer server([](httplib::Server& made) {
    quipu::mount(made, pages(small_page));
    quipu::mount(made, pages(echo_of_accept), "/a.b+c/:d(e)");
  });
  CHECK(ask(server.port(), "GET /metrics").body == small_page().body);
  CHECK(ask(server.port(), "GET /metrics?x=y").body == small_page().body);
  CHECK(ask(server.port(), "GET /metric").status == 404);
  CHECK(ask(server.port(), "GET /metrics/more").status == 404);
  CHECK(ask(server.port(), "DELETE /metrics").status == 404);
  CHECK(ask(server.port(), "GET /a.b+c/:d(e)", "Accept: me\r\n").body == "accept=me\n");
  CHECK(ask(server.port(), "GET /axb+c/:d(e)").status == 404);
}

TEST_CASE("nobody gets parts of a mounted page", "[httplib]") {
  const WebServer server = mounted(pages(small_page));
  CHECK(ask(server.port(), "GET /metrics", "Range: bytes=0-1\r\n").status == 416);
  CHECK(ask(server.port(), "GET /metrics", "Range: bytes=0-1,2-3\r\n").status == 416);
}

TEST_CASE("a mounted page that cannot be made is a 500 without details", "[httplib]") {
  const auto check = [](quipu::PageSource source) {
    const WebServer server = mounted(std::move(source));
    const Answer answer = ask(server.port(), "GET /metrics");
    CHECK(answer.status == 500);
    CHECK(answer.is_whole);
    CHECK(answer.body == "The page could not be made.\n");
    CHECK(answer.raw.find("secret") == std::string::npos);
    CHECK(ask(server.port(), "GET /other").status == 404);  // the server goes on
  };
  check([](const quipu::ScrapeRequest&) -> std::unique_ptr<quipu::PageStream> { throw std::runtime_error("secret"); });
  check([](const quipu::ScrapeRequest&) { return std::unique_ptr<quipu::PageStream>(); });
  check(pages([](std::string_view) { return quipu::Page{"text/plain\r\nX-Secret: secret", "up 1\n"}; }));
  for (const int failing : {0, 1}) {
    check(pieces(3, 100, [failing](int number) {
      if (number == failing) throw std::runtime_error("secret");
    }));
  }
}

TEST_CASE("a mounted page that fails half-way is broken off", "[httplib]") {
  const auto fail_at_five = [](int number) {
    if (number == 5) throw std::runtime_error("secret");
  };
  const WebServer server = mounted(pieces(10, 1000, fail_at_five));
  const Answer answer = ask(server.port(), "GET /metrics");
  CHECK(answer.status == 200);
  CHECK_FALSE(answer.is_whole);
  CHECK(answer.body == Pieces::whole(5, 1000));
  CHECK_FALSE(ask(server.port(), "GET /metrics").is_whole);  // the server goes on
}

TEST_CASE("the scraper's timeout is the deadline of a mounted page", "[httplib]") {
  const auto time_left = [](const std::string& fields) {
    Clock::duration left{};
    const WebServer server = mounted(quipu::PageSource([&](const quipu::ScrapeRequest& request) {
      left = request.deadline - Clock::now();
      return stream_of(small_page());
    }));
    CHECK(ask(server.port(), "GET /metrics", fields).status == 200);
    return left;
  };
  const auto is_just_below = [](Clock::duration left, Clock::duration most) {
    return left <= most && left > most - 1s;
  };
  const std::string name = "X-Prometheus-Scrape-Timeout-Seconds: ";
  CHECK(is_just_below(time_left(""), 9500ms));
  CHECK(is_just_below(time_left(name + "2\r\n"), 1800ms));
  for (const char* const long_time : {"60", "60.5", "86400", "1e9"}) {
    CHECK(is_just_below(time_left(name + long_time + "\r\n"), 59500ms));
  }
  for (const char* const wrong : {"0", "-1", "nan", "5s"}) {
    CHECK(is_just_below(time_left(name + wrong + "\r\n"), 9500ms));
  }
}

TEST_CASE("handlers are counted by method, route and code", "[httplib]") {
  const auto registry = quiet_registry();
  const quipu::HttpServerMetrics metrics(registry.subsystem("http"), {.buckets = {1}});
  const WebServer server([&](httplib::Server& made) {
    made.Get(R"(/cart/(\d+))",
             metrics.handler("/cart/:id", [](const httplib::Request& request, httplib::Response& response) {
               if (request.matches[1] == "0") response.status = 404;
               response.set_content(request.path, "text/plain");
             }));
    made.Post("/cart", metrics.handler("/cart", [](const httplib::Request&, httplib::Response& response,
                                                   const httplib::ContentReader& content) {
      std::string body;
      content([&](const char* data, std::size_t size) {
        body.append(data, size);
        return true;
      });
      response.set_content(body, "text/plain");
      response.status = 201;
    }));
  });
  CHECK(ask(server.port(), "GET /cart/1").body == "/cart/1");
  CHECK(ask(server.port(), "GET /cart/2").status == 200);
  CHECK(ask(server.port(), "HEAD /cart/1").status == 200);
  CHECK(ask(server.port(), "GET /cart/0").status == 404);
  CHECK(ask(server.port(), "GET /elsewhere").status == 404);  // no handler
  Client client(server.port());
  client.send("POST /cart HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nwool");
  const Answer posted = parse(client.receive());
  CHECK(posted.status == 201);
  CHECK(posted.body == "wool");

  CHECK(value_of(registry, "http_requests_total", {{"method", "POST"}, {"route", "/cart"}, {"code", "201"}}) == 1);
  const std::string page = quipu::render(registry).body;
  for (const char* const line : {
           R"(http_requests_total{method="GET",route="/cart/:id",code="200"} 2)",
           R"(http_requests_total{method="GET",route="/cart/:id",code="404"} 1)",
           R"(http_requests_total{method="HEAD",route="/cart/:id",code="200"} 1)",
           R"(http_request_errors_total{method="GET",route="/cart/:id"} 0)",
           R"(http_request_duration_seconds_count{method="GET",route="/cart/:id"} 3)",
           R"(http_request_duration_seconds_count{method="HEAD",route="/cart/:id"} 1)",
           R"(http_request_duration_seconds_count{method="POST",route="/cart"} 1)",
           R"(http_requests_in_flight{method="GET",route="/cart/:id"} 0)",
           R"(http_requests_in_flight{method="POST",route="/cart"} 0)",
       }) {
    CHECK_THAT(page, Catch::Matchers::ContainsSubstring(line + std::string("\n")));
  }
  CHECK_THAT(page, !Catch::Matchers::ContainsSubstring("elsewhere"));
  CHECK(quipu::testing::lint(registry).empty());
}

TEST_CASE("a handler that throws is counted as 500, and the server hears of it", "[httplib]") {
  const auto registry = quiet_registry();
  const quipu::HttpServerMetrics metrics(registry);
  std::atomic<int> heard = 0;
  const WebServer server([&](httplib::Server& made) {
    made.set_exception_handler([&](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
      ++heard;
      response.status = 503;
    });
    made.Get("/fail", metrics.handler("/fail", [](const httplib::Request&, httplib::Response& response) {
      response.status = 200;
      throw std::runtime_error("no");
    }));
  });
  CHECK(ask(server.port(), "GET /fail").status == 503);
  CHECK(heard == 1);
  CHECK(value_of(registry, "requests_total", {{"method", "GET"}, {"route", "/fail"}, {"code", "500"}}) == 1);
  CHECK(value_of(registry, "request_errors_total", {{"method", "GET"}, {"route", "/fail"}}) == 1);
  CHECK(value_of(registry, "request_duration_seconds_count", {{"method", "GET"}, {"route", "/fail"}}) == 1);
  CHECK(value_of(registry, "requests_in_flight", {{"method", "GET"}, {"route", "/fail"}}) == 0);
}

TEST_CASE("a request is in flight while its handler runs", "[httplib]") {
  const auto registry = quiet_registry();
  const quipu::HttpServerMetrics metrics(registry);
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  const WebServer server([&](httplib::Server& made) {
    made.Get("/slow", metrics.handler("/slow", [ended](const httplib::Request&, httplib::Response& response) {
      ended.wait();
      response.set_content("at last", "text/plain");
    }));
  });
  const auto are_in_flight = [&](int count) {
    const std::string line = R"(requests_in_flight{method="GET",route="/slow"} )" + std::to_string(count) + '\n';
    return quipu::render(registry).body.find(line) != std::string::npos;
  };
  Client one(server.port());
  Client other(server.port());
  for (Client* const client : {&one, &other}) client->send("GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(soon([&] { return are_in_flight(2); }));
  end.set_value();
  CHECK(parse(one.receive()).body == "at last");
  CHECK(parse(other.receive()).body == "at last");
  CHECK(are_in_flight(0));
}

TEST_CASE("handlers and a mounted page outlive what they were made of", "[httplib]") {
  const WebServer server([](httplib::Server& made) {
    const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
    const quipu::HttpServerMetrics metrics(registry);
    made.Get("/", metrics.handler("/", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("hello", "text/plain");
    }));
    quipu::mount(made, registry);
  });
  CHECK(ask(server.port(), "GET /").body == "hello");
  CHECK_THAT(ask(server.port(), "GET /metrics").body,
             Catch::Matchers::ContainsSubstring(R"(requests_total{method="GET",route="/",code="200"} 1)"));
}

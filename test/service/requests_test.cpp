#include "quipu/requests.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"

using page::empty_registry;
using quipu::testing::difference;
using quipu::testing::histogram_of;
using quipu::testing::value_of;

namespace {

enum class Method { get, post };

double total(const quipu::Registry& registry) { return value_of(registry, "requests_total"); }
double errors(const quipu::Registry& registry) { return value_of(registry, "request_errors_total"); }
double in_flight(const quipu::Registry& registry) { return value_of(registry, "requests_in_flight"); }
double durations(const quipu::Registry& registry) { return histogram_of(registry, "request_duration_seconds").count; }

}  // namespace

TEST_CASE("requests are on the page, at 0, before there is any") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry, {.buckets = {1, 2}});

  CHECK(difference(registry, R"(
    # HELP request_duration_seconds Time to serve a request.
    # TYPE request_duration_seconds histogram
    request_duration_seconds_bucket{le="1"} 0
    request_duration_seconds_bucket{le="2"} 0
    request_duration_seconds_bucket{le="+Inf"} 0
    request_duration_seconds_sum 0
    request_duration_seconds_count 0
    # HELP request_errors_total Requests that failed.
    # TYPE request_errors_total counter
    request_errors_total 0
    # HELP requests_in_flight Requests being served.
    # TYPE requests_in_flight gauge
    requests_in_flight 0
    # HELP requests_total Requests that were served.
    # TYPE requests_total counter
    requests_total 0
  )") == "");
  CHECK(quipu::testing::lint(registry).empty());
}

TEST_CASE("a request is in flight until its scope ends, and counted then") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  {
    const auto request = requests.start();
    CHECK(in_flight(registry) == 1);
    CHECK(total(registry) == 0);
    CHECK(durations(registry) == 0);
  }
  CHECK(in_flight(registry) == 0);
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 0);
  CHECK(durations(registry) == 1);
}

TEST_CASE("a request takes the time of its scope") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  const auto before = std::chrono::steady_clock::now();
  std::chrono::nanoseconds at_least{0};
  {
    const auto request = requests.start();
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    at_least = request.elapsed();
  }
  const std::chrono::duration<double> at_most = std::chrono::steady_clock::now() - before;
  const double sum = histogram_of(registry, "request_duration_seconds").sum;
  CHECK(sum >= std::chrono::duration<double>(at_least).count());
  CHECK(sum <= at_most.count());
}

TEST_CASE("a request that fails is an error, once") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  {
    auto request = requests.start();
    request.fail();
    request.fail();
  }
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 1);
  CHECK(durations(registry) == 1);
}

TEST_CASE("a request whose scope is left by an exception is an error") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  try {
    const auto request = requests.start();
    throw std::runtime_error("sold out");
  } catch (const std::runtime_error&) {
  }
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 1);
  CHECK(in_flight(registry) == 0);
}

TEST_CASE("a request that is served while an exception is on its way is none of its errors") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);

  struct ServesAtItsEnd {
    const quipu::Requests& requests;
    ~ServesAtItsEnd() { const auto request = requests.start(); }
  };
  try {
    const ServesAtItsEnd last{requests};
    throw std::runtime_error("of somebody else");
  } catch (const std::runtime_error&) {
  }
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 0);
}

TEST_CASE("an exception that is caught within a request is not an error of it") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  {
    const auto request = requests.start();
    try {
      throw std::runtime_error("mended");
    } catch (const std::runtime_error&) {
    }
  }
  CHECK(errors(registry) == 0);
}

TEST_CASE("a request that was ended is not counted again at the end of its scope") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  try {
    auto request = requests.start();
    request.end();
    CHECK(in_flight(registry) == 0);
    CHECK(total(registry) == 1);
    request.end();
    throw std::runtime_error("after its end");
  } catch (const std::runtime_error&) {
  }
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 0);
  CHECK(durations(registry) == 1);
}

TEST_CASE("a request that was discarded is not counted at all") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  try {
    auto request = requests.start();
    request.discard();
    CHECK(in_flight(registry) == 0);
    throw std::runtime_error("not counted either");
  } catch (const std::runtime_error&) {
  }
  CHECK(total(registry) == 0);
  CHECK(errors(registry) == 0);
  CHECK(durations(registry) == 0);
}

TEST_CASE("a request may end with an exemplar of its duration, given or made") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry, {.buckets = {60}});
  const auto exemplar = [&registry] {
    const auto page = quipu::render(registry, "application/openmetrics-text;version=1.0.0");
    const auto read = quipu::testing::read_page(page.body, page.content_type);
    return read.family("request_duration_seconds")->samples.at(0).exemplar;
  };
  requests.start().end();
  CHECK_FALSE(exemplar());
  requests.start().end([] { return quipu::Exemplar{{"trace_id", "made"}}; });
  REQUIRE(exemplar());
  CHECK(exemplar()->labels.at(0).value == "made");
  requests.start().end(quipu::Exemplar{{"trace_id", "given"}});
  CHECK(exemplar()->labels.at(0).value == "given");
  CHECK(total(registry) == 3);
}

TEST_CASE("a request that was moved is counted once, where it went, with what it knew") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  {
    auto request = requests.start();
    request.fail();
    std::vector<quipu::Request> waiting;
    waiting.push_back(std::move(request));
    CHECK(in_flight(registry) == 1);
    CHECK(total(registry) == 0);
  }
  CHECK(total(registry) == 1);
  CHECK(errors(registry) == 1);
  CHECK(durations(registry) == 1);
  CHECK(in_flight(registry) == 0);
}

TEST_CASE("requests have the labels of their family, of any type") {
  const auto registry = empty_registry({.prefix = "shop"});
  const quipu::RequestFamily<Method, int> requests(registry.subsystem("http"), {.buckets = {60}}, {"method", "code"});
  static_cast<void>(requests(Method::get, 200).start());
  {
    auto request = requests(Method::post, 500).start();
    request.fail();
    CHECK(value_of(registry, "shop_http_requests_in_flight", {{"method", "post"}, {"code", "500"}}) == 1);
  }
  CHECK(difference(registry, R"(
    shop_http_requests_total{method="get",code="200"} 1
    shop_http_requests_total{method="post",code="500"} 1
    shop_http_request_errors_total{method="get",code="200"} 0
    shop_http_request_errors_total{method="post",code="500"} 1
    shop_http_request_duration_seconds_bucket{method="get",code="200",le="60"} 1
    shop_http_request_duration_seconds_bucket{method="get",code="200",le="+Inf"} 1
    shop_http_request_duration_seconds_bucket{method="post",code="500",le="60"} 1
    shop_http_request_duration_seconds_bucket{method="post",code="500",le="+Inf"} 1
    shop_http_requests_in_flight{method="get",code="200"} 0
    shop_http_requests_in_flight{method="post",code="500"} 0
  )") == "");
}

TEST_CASE("requests whose labels have no types have labels of text") {
  const auto registry = empty_registry();
  const quipu::RequestFamily routes(registry, {}, {"route"});
  static_assert(std::is_same_v<decltype(routes), const quipu::RequestFamily<std::string_view>>);
  routes.create("/cart");
  CHECK(value_of(registry, "requests_total", {{"route", "/cart"}}) == 0);
  CHECK(value_of(registry, "request_errors_total", {{"route", "/cart"}}) == 0);
  CHECK(routes.remove("/cart"));
  CHECK_FALSE(routes.remove("/cart"));
  CHECK(page::samples(registry).empty());
}

TEST_CASE("all requests of closed labels can be shown from the start") {
  const auto registry = empty_registry();
  const quipu::RequestFamily<Method, bool> requests(registry, {.buckets = {1}}, {"method", "cached"});
  requests.create_all();
  CHECK(page::samples(registry).size() == 4 * (3 + 4));
}

TEST_CASE("a request can be counted among others than those it started with") {
  const auto registry = empty_registry();
  const quipu::RequestFamily<int> requests(registry, {}, {"code"});
  {
    auto request = requests(0).start();
    request.into(requests(404));
    CHECK(value_of(registry, "requests_in_flight", {{"code", "0"}}) == 1);
  }
  CHECK(value_of(registry, "requests_in_flight", {{"code", "0"}}) == 0);
  CHECK(value_of(registry, "requests_total", {{"code", "0"}}) == 0);
  CHECK(value_of(registry, "requests_total", {{"code", "404"}}) == 1);
  CHECK(histogram_of(registry, "request_duration_seconds", {{"code", "404"}}).count == 1);
  CHECK(histogram_of(registry, "request_duration_seconds", {{"code", "0"}}).count == 0);
}

TEST_CASE("registering requests again gives the same ones") {
  const auto registry = empty_registry();
  CHECK((quipu::Requests(registry) == quipu::Requests(registry)));
}

TEST_CASE("requests that are refused leave nothing behind") {
  const auto registry = empty_registry();
  registry.counter({.name = "request_duration_seconds_count", .help = "In the way."}).inc();
  const std::string before = page::body(registry);
  const std::string message = page::refusal([&] { static_cast<void>(quipu::Requests(registry)); });
  CHECK(page::missing(message, {"request_duration_seconds", "request_duration_seconds_count"}) == "");
  CHECK(page::refusal([&] { static_cast<void>(quipu::RequestFamily(registry, {}, {"route"})); }) !=
        "(nothing was refused)");
  CHECK(page::body(registry) == before);
}

TEST_CASE("requests of many threads add up") {
  const auto registry = empty_registry();
  const quipu::Requests requests(registry);
  constexpr int count = 5000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < count; ++n) {
        auto request = requests.start();
        if (n % 5 == 0) request.fail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(total(registry) == 4 * count);
  CHECK(errors(registry) == 4 * count / 5);
  CHECK(durations(registry) == 4 * count);
  CHECK(in_flight(registry) == 0);
}

TEST_CASE("requests have labels by name, and labels that are known at run time") {
  const auto registry = empty_registry();
  const quipu::RequestFamily<Method, std::string_view> typed(registry, {}, {"method", "route"});
  typed.with({{"route", "/cart"}, {"method", Method::get}}).start().end();
  CHECK(value_of(registry, "requests_total", {{"method", "get"}, {"route", "/cart"}}) == 1);
  CHECK_THROWS_AS(typed.with({{"route", "/cart"}}), quipu::LabelError);

  const auto other = empty_registry();
  const std::vector<std::string> names = {"method", "route"};
  const quipu::RuntimeRequestFamily requests(other, {}, names);
  requests({"get", "/cart"}).start().end();
  requests.with({{"route", "/cart"}, {"method", "get"}}).start().fail();
  const quipu::Requests cart = requests({"get", "/cart"});
  CHECK(value_of(other, "requests_total", {{"method", "get"}, {"route", "/cart"}}) == 2);
  CHECK(cart.errors().value() == 1);
  CHECK(cart.duration().snapshot().count() == 2);
  CHECK(cart.in_flight().value() == 0);
  CHECK_THROWS_AS(requests({"get"}), quipu::LabelError);
  CHECK_THROWS_AS(quipu::RuntimeRequestFamily(other.subsystem("x"), {}, std::vector<std::string>{"a b"}),
                  quipu::RegistrationError);
  CHECK(requests.remove({"get", "/cart"}));
  CHECK_FALSE(requests.remove({"get", "/cart"}));
}

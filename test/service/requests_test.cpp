#include "quipu/requests.hpp"

#include <chrono>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

using page::empty_registry;
using quipu::testing::difference;
using quipu::testing::histogram_of;
using quipu::testing::value_of;

namespace {

enum class Method { get, post };
enum class Outcome { done, lost };

using ByCode = quipu::RequestFamily<Method, std::string_view, quipu::AtEnd<int>>;

/// Of GET requests for "/".
double by_code(const quipu::Registry& registry, const std::string& code) {
  return value_of(registry, "requests_total", {{"method", "get"}, {"route", "/"}, {"code", code}});
}

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

TEST_CASE("a label known at the end is that of totals alone, and no series has it before a request ends") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {.buckets = {60}}, {"method", "route"}, {"code"});
  {
    auto request = requests(Method::post, "/cart").start(500);
    CHECK(difference(registry, R"(
      request_errors_total{method="post",route="/cart"} 0
      request_duration_seconds_bucket{method="post",route="/cart",le="60"} 0
      request_duration_seconds_bucket{method="post",route="/cart",le="+Inf"} 0
      requests_in_flight{method="post",route="/cart"} 1
    )") == "");
    request.end(200);
  }
  {
    auto request = requests(Method::post, "/cart").start(500);
    request.status(404);
    request.fail();
    request.status(409);
  }
  CHECK(difference(registry, R"(
    requests_total{method="post",route="/cart",code="200"} 1
    requests_total{method="post",route="/cart",code="409"} 1
    request_errors_total{method="post",route="/cart"} 1
    request_duration_seconds_bucket{method="post",route="/cart",le="60"} 2
    request_duration_seconds_bucket{method="post",route="/cart",le="+Inf"} 2
    requests_in_flight{method="post",route="/cart"} 0
  )") == "");
}

TEST_CASE("a request that is told no status has the one it started with, also when an exception ends it") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {}, {"method", "route"}, {"code"});
  static_cast<void>(requests(Method::get, "/").start(500));
  CHECK(by_code(registry, "500") == 1);
  CHECK(value_of(registry, "request_errors_total", {{"method", "get"}, {"route", "/"}}) == 0);
  try {
    const auto request = requests(Method::get, "/").start(500);
    throw std::runtime_error("sold out");
  } catch (const std::runtime_error&) {
  }
  CHECK(by_code(registry, "500") == 2);
  CHECK(value_of(registry, "request_errors_total", {{"method", "get"}, {"route", "/"}}) == 1);
  try {
    auto request = requests(Method::get, "/").start(500);
    request.status(503);
    throw std::runtime_error("closed");
  } catch (const std::runtime_error&) {
  }
  CHECK(by_code(registry, "503") == 1);
  CHECK(value_of(registry, "request_errors_total", {{"method", "get"}, {"route", "/"}}) == 2);
}

TEST_CASE("durations have the labels known at the end if they are told to, and none of the others then") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {.buckets = {60}, .end_labels_on_durations = true}, {"method", "route"}, {"code"});
  auto request = requests(Method::get, "/").start(500);
  CHECK(difference(registry, R"(
    request_errors_total{method="get",route="/"} 0
    requests_in_flight{method="get",route="/"} 1
  )") == "");
  request.end(200);
  CHECK(difference(registry, R"(
    requests_total{method="get",route="/",code="200"} 1
    request_errors_total{method="get",route="/"} 0
    request_duration_seconds_bucket{method="get",route="/",code="200",le="60"} 1
    request_duration_seconds_bucket{method="get",route="/",code="200",le="+Inf"} 1
    requests_in_flight{method="get",route="/"} 0
  )") == "");
}

TEST_CASE("requests with a status end once, or are discarded, wherever they were moved") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {}, {"method", "route"}, {"code"});
  {
    const auto kept = requests(Method::get, "/");
    auto request = kept.start(500);
    request.end(200);
    request.end(201);
    request.status(202);
    std::vector<ByCode::Request> waiting;
    waiting.push_back(kept.start(200));
    auto other = kept.start(203);
    CHECK(value_of(registry, "requests_in_flight", {{"method", "get"}, {"route", "/"}}) == 2);
    other.discard();
    other.end(204);
  }
  CHECK(by_code(registry, "200") == 2);
  CHECK(page::missing(page::body(registry), {"code=\"20"}) == "");
  for (const char* const none : {"201", "202", "203", "204", "500"}) {
    CHECK(page::missing(page::body(registry), {"code=\"" + std::string(none)}) != "");
  }
  CHECK(value_of(registry, "requests_in_flight", {{"method", "get"}, {"route", "/"}}) == 0);
}

TEST_CASE("requests keep the texts of their labels, of any length, and their families") {
  const auto registry = empty_registry();
  const std::string huge(3'000'000, 'h');
  const std::string cut(1024, 'h');
  std::optional requests(quipu::RequestFamily(registry, {}, {"route"}, {"result"}));
  for (const std::string& route :
       {std::string(), std::string("/a"), std::string(48, 'b'), std::string(49, 'c'), huge}) {
    auto first = (*requests)(std::string(route)).start(std::string("no result"));
    if (route == huge) requests.reset();
    auto request = std::move(first);
    request.status(std::string(60, 's'));
    request.status(route.substr(0, 1) + "-" + std::string(70, 't'));
    const auto moved = std::move(request);
  }
  for (const auto& [route, initial] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", ""}, {"/a", "/"}, {std::string(48, 'b'), "b"}, {std::string(49, 'c'), "c"}, {cut, "h"}}) {
    CHECK(value_of(registry, "requests_total", {{"route", route}, {"result", initial + "-" + std::string(70, 't')}}) ==
          1);
  }
}

TEST_CASE("requests may have labels known at the end only") {
  const auto registry = empty_registry();
  const quipu::RequestFamily<quipu::AtEnd<Outcome, bool>> jobs(registry.subsystem("jobs"), {.buckets = {60}},
                                                               {"outcome", "retried"});
  jobs().start(Outcome::lost, false).end(Outcome::done, true);
  CHECK(difference(registry, R"(
    jobs_requests_total{outcome="done",retried="true"} 1
    jobs_request_errors_total 0
    jobs_request_duration_seconds_bucket{le="60"} 1
    jobs_request_duration_seconds_bucket{le="+Inf"} 1
    jobs_requests_in_flight 0
  )") == "");
  jobs.create_all();
  CHECK(shown::family(registry, "jobs_requests_total").series.size() == 4);
}

TEST_CASE("requests with labels of texts need no types, also for the one known at the end") {
  const auto registry = empty_registry();
  const quipu::RequestFamily requests(registry, {}, {"route"}, {"status"});
  static_assert(
      std::is_same_v<decltype(requests), const quipu::RequestFamily<std::string_view, quipu::AtEnd<std::string_view>>>);
  requests("/").start("lost").end("done");
  CHECK(value_of(registry, "requests_total", {{"route", "/"}, {"status", "done"}}) == 1);
}

TEST_CASE("requests of a status can be shown at 0, and be removed with their route") {
  const auto registry = empty_registry();
  const bool everywhere = GENERATE(false, true);
  const ByCode requests(registry, {.buckets = {60}, .end_labels_on_durations = everywhere}, {"method", "route"},
                        {"code"});
  requests.create(Method::get, "/", 200);
  requests.create(Method::get, "/", 500);
  CHECK(by_code(registry, "200") == 0);
  CHECK(by_code(registry, "500") == 0);
  CHECK(shown::family(registry, "request_duration_seconds").series.size() == (everywhere ? 2 : 1));
  requests.create(Method::get, "/cart", 200);
  CHECK(requests.remove_if([](quipu::Labels labels) { return labels[1].value == "/"; }) == (everywhere ? 6 : 5));
  CHECK(page::missing(page::body(registry), {"route=\"/\""}) != "");
  CHECK(value_of(registry, "requests_total", {{"method", "get"}, {"route", "/cart"}, {"code", "200"}}) == 0);
}

TEST_CASE("durations of requests may be native histograms, with classic buckets or without") {
  const auto registry = empty_registry();
  const auto native = [&](const std::string& name) {
    return shown::series(registry, name + "_request_duration_seconds");
  };
  const quipu::Requests classic(registry.subsystem("a"), {.buckets = {60}});
  const quipu::Requests alone(registry.subsystem("b"), {.durations = quipu::DurationHistogram::native});
  const quipu::RequestFamily both(registry.subsystem("c"),
                                  {.buckets = {60}, .durations = quipu::DurationHistogram::both}, {"route"});
  const quipu::RequestFamily coarse(
      registry.subsystem("d"),
      {.durations = quipu::DurationHistogram::native, .native_growth_factor = 4, .end_labels_on_durations = true},
      {"route"}, {"code"});
  static_cast<void>(classic.start());
  static_cast<void>(alone.start());
  both("/").start().end(quipu::Exemplar{{"trace_id", "a"}});
  coarse("/").start("200").end();

  CHECK_FALSE(native("a").native);
  REQUIRE(native("b").native);
  CHECK(native("b").native->schema == 3);
  CHECK(native("b").bounds.empty());
  REQUIRE(native("b").native->positive.size() == 1);
  REQUIRE(native("c").native);
  CHECK(native("c").bounds == std::vector<double>{60});
  CHECK(native("c").exemplars.at(0)->labels == shown::Labels{{"trace_id", "a"}});
  REQUIRE(native("d").native);
  CHECK(native("d").native->schema == -1);
  CHECK(native("d").labels == shown::Labels{{"route", "/"}, {"code", "200"}});
  CHECK(page::refusal([&] { static_cast<void>(quipu::Requests(registry.subsystem("b"))); }) != "(nothing was refused)");
  both.create("/cart");
  CHECK(both.remove("/cart"));
}

TEST_CASE("when there is no room for another status, it is counted as overflow") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {.max_series = 1}, {"method", "route"}, {"code"});
  requests(Method::get, "/").start(500).end(200);
  requests(Method::get, "/").start(500).end(404);
  CHECK(by_code(registry, "200") == 1);
  CHECK(value_of(registry, "requests_total", {{"method", "overflow"}, {"route", "overflow"}, {"code", "overflow"}}) ==
        1);
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
  CHECK(page::refusal([&] { static_cast<void>(quipu::RequestFamily(registry, {}, {"route"}, {"code"})); }) !=
        "(nothing was refused)");
  const std::string twice =
      page::refusal([&] { static_cast<void>(quipu::RequestFamily(registry, {}, {"code"}, {"code"})); });
  CHECK(page::missing(twice, {"requests_total", "code"}) == "");
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
  CHECK(histogram_of(other, "request_duration_seconds", {{"method", "get"}, {"route", "/cart"}}).count == 2);
  CHECK(cart.in_flight().value() == 0);
  CHECK_THROWS_AS(requests({"get"}), quipu::LabelError);
  CHECK_THROWS_AS(quipu::RuntimeRequestFamily(other.subsystem("x"), {}, std::vector<std::string>{"a b"}),
                  quipu::RegistrationError);
  CHECK(requests.remove({"get", "/cart"}));
  CHECK_FALSE(requests.remove({"get", "/cart"}));
}

TEST_CASE("requests of many threads add up by their status") {
  const auto registry = empty_registry();
  const ByCode requests(registry, {}, {"method", "route"}, {"code"});
  constexpr int count = 1000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < count; ++n) requests(Method::get, "/").start(500).end(200 + n % 5);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int code = 200; code < 205; ++code) CHECK(by_code(registry, std::to_string(code)) == 4 * count / 5);
}

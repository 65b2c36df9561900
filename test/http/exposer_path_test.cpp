#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "quipu/registries.hpp"
#include "quipu/registry.hpp"
#include "support/http_client.hpp"
#include "support/page.hpp"
#include "support/waiting.hpp"

// Pages and routes that come and go while the endpoint runs.

namespace {

using quipu::Exposer;
using quipu::ServedPath;
using namespace http_client;
using page::missing;

quipu::Registry registry_with(std::string_view gauge) {
  const auto registry = page::empty_registry();
  registry.gauge({.name = quipu::runtime(gauge)}).set(1);
  return registry;
}

std::string sample_of(const Answer& answer) {
  const auto lines = page::samples(answer.body);
  return lines.empty() ? "" : lines.front();
}

template <class Call>
std::string refusal_of(Call call) {
  try {
    call();
  } catch (const quipu::ListenError& error) {
    return error.what();
  }
  return "(nothing was refused)";
}

}  // namespace

TEST_CASE("pages are added to an endpoint and taken away while it runs", "[exposer][path]") {
  Exposer exposer(registry_with("a"), {.listen = any_port});
  CHECK(ask(exposer, "GET /metrics/b").raw.rfind("HTTP/1.1 404 ", 0) == 0);
  std::optional<ServedPath> b(exposer.add("/metrics/b", registry_with("b")));
  auto both = exposer.add("/both", quipu::Registries({registry_with("c"), registry_with("d")}));
  const auto made = exposer.add("/made", pages(small_page));
  CHECK(sample_of(ask(exposer, "GET /metrics")) == "a 1");
  CHECK(sample_of(ask(exposer, "GET /metrics/b")) == "b 1");
  CHECK(page::samples(ask(exposer, "GET /both").body) == std::vector<std::string>{"c 1", "d 1"});
  CHECK(page::samples(ask(exposer, "GET /both?name[]=d").body) == std::vector<std::string>{"d 1"});
  CHECK(ask(exposer, "GET /made").body == "up 1\n");
  const std::string landing = ask(exposer, "GET /").body;
  CHECK(missing(landing, {R"(href="/metrics")", R"(href="/metrics/b")", R"(href="/both")", R"(href="/made")"}) == "");
  b.reset();
  both.end();
  both.end();
  CHECK(ask(exposer, "GET /metrics/b").raw.rfind("HTTP/1.1 404 ", 0) == 0);
  CHECK(ask(exposer, "GET /both").raw.rfind("HTTP/1.1 404 ", 0) == 0);
  CHECK(missing(ask(exposer, "GET /").body, {"/metrics/b"}) != "");
  // The path is free.
  both = exposer.add("/both", registry_with("e"));
  const ServedPath moved = std::move(both);
  CHECK(sample_of(ask(exposer, "GET /both")) == "e 1");
}

TEST_CASE("a path that cannot be added is refused", "[exposer][path]") {
  Exposer exposer(
      registry_with("a"),
      {.listen = any_port, .routes = {{.path = "/route", .respond = [] { return quipu::RouteResponse{}; }}}});
  const auto added = [&](std::string_view path) {
    return refusal_of([&] { static_cast<void>(exposer.add(path, registry_with("b"))); });
  };
  CHECK(added("/metrics") ==
        "path \"/metrics\": a page of metrics is served there; choose another path for one of them");
  CHECK(added("/route") == "path \"/route\": another route is served there; choose another path for one of them");
  CHECK(missing(added("/"), {"path \"/\": expected '/' and then"}) == "");
  CHECK(missing(added("x"), {"path \"x\""}) == "");
  CHECK(missing(added("/a%20b"), {"without '%'"}) == "");
  CHECK(missing(refusal_of([&] { static_cast<void>(exposer.add("/none", quipu::PageSource())); }),
                {"no function that makes pages"}) == "");
  CHECK(missing(refusal_of([&] { static_cast<void>(exposer.add(quipu::Route{.path = "/none", .respond = {}})); }),
                {"no function that answers"}) == "");
  const Exposer moved = std::move(exposer);
  CHECK(missing(added("/b"), {"moved"}) == "");
}

TEST_CASE("routes are added while the endpoint runs, and get their thread", "[exposer][path]") {
  Exposer exposer(registry_with("a"), {.listen = any_port});
  const auto answer = [](std::string body) {
    return [body = std::move(body)] { return quipu::RouteResponse{.body = body}; };
  };
  auto slow = exposer.add({.path = "/slow", .respond = answer("slow")});
  const auto prompt = exposer.add({.path = "/prompt", .respond = answer("prompt"), .is_prompt = true});
  CHECK(ask(exposer, "GET /slow").body == "slow");
  CHECK(ask(exposer, "GET /prompt").body == "prompt");
  slow.end();
  CHECK(ask(exposer, "GET /slow").raw.rfind("HTTP/1.1 404 ", 0) == 0);
  slow = exposer.add({.path = "/slow", .respond = answer("again")});
  CHECK(ask(exposer, "GET /slow").body == "again");
}

TEST_CASE("the end of a path waits for no page that hangs, and requests that wait for it get 404", "[exposer][path]") {
  const auto gate = std::make_shared<Gate>();
  Exposer exposer(registry_with("a"), {.listen = any_port});
  std::optional<ServedPath> path(exposer.add({.path = "/hangs", .respond = [gate] {
                                                gate->pass();
                                                return quipu::RouteResponse{.body = "done"};
                                              }}));
  std::string first;
  std::string second;
  std::thread one([&] { first = ask(exposer, "GET /hangs").raw; });
  REQUIRE(soon([&] { return gate->waiting() == 1; }));
  std::thread other([&] { second = ask(exposer, "GET /hangs").raw; });  // waits for the thread of routes
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  path.reset();
  CHECK(gate->waiting() == 1);
  CHECK(ask(exposer, "GET /hangs").raw.rfind("HTTP/1.1 404 ", 0) == 0);
  gate->open();
  one.join();
  other.join();
  CHECK(first.ends_with("done"));
  CHECK(second.rfind("HTTP/1.1 404 ", 0) == 0);
}

TEST_CASE("a path may outlive its endpoint, and be added after its end", "[exposer][path]") {
  std::optional<Exposer> exposer(std::in_place, registry_with("a"), quipu::ExposerOptions{.listen = any_port});
  const auto before = exposer->add("/before", registry_with("b"));
  exposer->stop();
  const auto after = exposer->add({.path = "/after", .respond = [] { return quipu::RouteResponse{}; }});
  exposer.reset();
}

TEST_CASE("pages and routes come and go while clients ask for them", "[exposer][path]") {
  Exposer exposer(registry_with("a"), {.listen = any_port});
  std::atomic<bool> is_over{false};
  std::atomic<int> wrong{0};
  std::atomic<int> found{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&, i] {
      while (!is_over) {
        const Answer answer = ask(exposer, i == 0 ? "GET /page" : "GET /route");
        const bool is_there = answer.raw.rfind("HTTP/1.1 200 ", 0) == 0;
        if (is_there) ++found;
        if (!is_there && answer.raw.rfind("HTTP/1.1 404 ", 0) != 0) ++wrong;
        if (is_there && answer.body != "b 1\n" && answer.body.find("\nb 1\n") == std::string::npos) ++wrong;
      }
    });
  }
  for (int i = 0; i < 200 || found < 20; ++i) {
    const auto page = exposer.add("/page", registry_with("b"));
    const auto route = exposer.add({.path = "/route", .respond = [] { return quipu::RouteResponse{.body = "b 1\n"}; }});
    if (i % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  is_over = true;
  for (std::thread& client : clients) client.join();
  CHECK(wrong == 0);
}

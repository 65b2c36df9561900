#include "http/allowed_hosts.hpp"

#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/error.hpp"
#include "quipu/exposer.hpp"
#include "support/http_client.hpp"

namespace {

using http_client::any_port;
using http_client::Client;
using http_client::pages;
using http_client::small_page;
using quipu::Exposer;
using quipu::RouteResponse;
using quipu::http::AllowedHosts;
using quipu::http::Listener;
using Names = std::vector<std::string>;

AllowedHosts on_loopback(const Names& names = {}) {
  return {Listener{.socket = {}, .host = "127.0.0.1", .is_loopback = true}, names};
}

AllowedHosts elsewhere(const Names& names = {}) { return {Listener{.socket = {}, .host = "127.0.0.1"}, names}; }

TEST_CASE("addresses and localhost are always allowed, with any port", "[hosts]") {
  for (const AllowedHosts& hosts : {on_loopback(), on_loopback({"a.example"}), elsewhere(), elsewhere({"a.example"})}) {
    for (const std::string host : {"127.0.0.1", "10.1.2.3", "[::1]", "[2001:db8::1]", "[::ffff:127.0.0.1]", "localhost",
                                   "LocalHost", "localhost.", "shop.localhost", "a.b.LOCALHOST", ""}) {
      CAPTURE(host);
      CHECK(hosts.allows(host));
      if (host.empty()) continue;
      CHECK(hosts.allows(host + ":9464"));
      CHECK(hosts.allows(host + ":"));
    }
  }
}

TEST_CASE("on loopback no other name is allowed unless it was given", "[hosts]") {
  const AllowedHosts strict = on_loopback();
  for (const auto* const host : {"a.example",
                                 "a.example:9464",
                                 "x",
                                 "evil.localhost.example",
                                 "127.0.0.1.example",
                                 "notlocalhost",
                                 ".localhost",
                                 "127.0.0",
                                 "1.2.3.4.5",
                                 "::1",
                                 "[::1",
                                 "[",
                                 "[]",
                                 "[localhost]",
                                 "[127.0.0.1]",
                                 "[::1%25eth0]",
                                 ".",
                                 ":",
                                 "%31.0.0.1",
                                 "localhost..",
                                 "a@localhost"}) {
    CAPTURE(host);
    CHECK_FALSE(strict.allows(host));
  }
  const AllowedHosts named = on_loopback({"Metrics.example.com", "shop."});
  for (const auto* const host : {"metrics.example.com", "METRICS.example.com.:80", "shop", "shop.:1"}) {
    CAPTURE(host);
    CHECK(named.allows(host));
  }
  for (const auto* const host : {"a.metrics.example.com", "example.com", "metrics", "a.example"}) {
    CAPTURE(host);
    CHECK_FALSE(named.allows(host));
  }
}

TEST_CASE("elsewhere every name is allowed until names are given", "[hosts]") {
  CHECK(elsewhere().allows("shop.default.svc.cluster.local:9464"));
  const AllowedHosts named = elsewhere({"shop.example"});
  CHECK(named.allows("shop.example"));
  CHECK_FALSE(named.allows("a.example"));
}

TEST_CASE("a star allows every name", "[hosts]") {
  CHECK(on_loopback({"*"}).allows("a.example"));
  CHECK(elsewhere({"b.example", "*"}).allows("a.example"));
}

TEST_CASE("the name of this machine, and the one to listen on, are allowed", "[hosts]") {
  std::array<char, 256> name{};
  REQUIRE(::gethostname(name.data(), name.size() - 1) == 0);
  const std::string machine = name.data();
  CHECK(on_loopback().allows(machine));
  CHECK(on_loopback().allows(machine.substr(0, machine.find('.')) + ":9464"));
  const AllowedHosts hosts(Listener{.socket = {}, .host = "metrics.internal", .is_loopback = true}, {});
  CHECK(hosts.allows("metrics.internal:9464"));
  CHECK_FALSE(hosts.allows("metrics"));
}

TEST_CASE("names that no host can have are refused", "[hosts]") {
  for (const auto* const name : {"", "a b", "a:80", "http://a", "[::1]", "*.a", "a/b", "."}) {
    try {
      on_loopback({name});
      FAIL_CHECK(name);
    } catch (const quipu::ListenError& error) {
      CHECK(error.what() == "allowed host \"" + std::string(name) +
                                "\": expected a name such as metrics.example.com, without a port, or \"*\" for every "
                                "host");
    }
  }
}

// The endpoint.

/// The answer to a request for that host.
http_client::Answer answer_for(const Exposer& exposer, const std::string& host,
                               const std::string& target = "/metrics") {
  return Client(exposer.port()).send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n").answer();
}

TEST_CASE("an endpoint on loopback does not answer to the name of another site", "[exposer][host]") {
  const Exposer exposer(pages(small_page),
                        {.listen = any_port, .routes = {{"/hello", [] { return RouteResponse{}; }}}});
  const auto status = [&exposer](const std::string& host) { return answer_for(exposer, host).status; };
  for (const auto* const host :
       {"evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil.example"}) {
    CAPTURE(host);
    CHECK(status(host) == 421);
  }
  for (const auto* const target : {"/metrics", "/hello", "/", "/missing", "http://evil.example/metrics"}) {
    CAPTURE(target);
    const auto answer = answer_for(exposer, *target == 'h' ? "localhost" : "evil.example", target);
    CHECK(answer.status == 421);
    CHECK_THAT(answer.body, Catch::Matchers::ContainsSubstring("ExposerOptions::allowed_hosts"));
    CHECK(answer.body.find("evil") == std::string::npos);
  }
  for (const auto* const host : {"127.0.0.1", "localhost:9464", "[::1]:9464", "shop.localhost", "10.0.0.1", ""}) {
    CAPTURE(host);
    CHECK(status(host) == 200);
  }
  CHECK(answer_for(exposer, "evil.example", "http://localhost/metrics").status == 200);
  CHECK(Client(exposer.port()).send("GET /metrics HTTP/1.0\r\n\r\n").answer().status == 200);
}

TEST_CASE("an endpoint answers to the names that it was given", "[exposer][host]") {
  const Exposer named(pages(small_page), {.listen = any_port, .allowed_hosts = {"metrics.example"}});
  CHECK(answer_for(named, "metrics.example:9464").status == 200);
  CHECK(answer_for(named, "evil.example").status == 421);
  const Exposer open(pages(small_page), {.listen = any_port, .allowed_hosts = {"*"}});
  CHECK(answer_for(open, "evil.example").status == 200);
}

TEST_CASE("an endpoint on every address answers to every name, until it is given names", "[exposer][host]") {
  const Exposer open(pages(small_page), {.listen = ":0"});
  CHECK(answer_for(open, "shop.default.svc.cluster.local:9464").status == 200);
  const Exposer named(pages(small_page), {.listen = ":0", .allowed_hosts = {"shop.default.svc.cluster.local"}});
  CHECK(answer_for(named, "shop.default.svc.cluster.local:9464").status == 200);
  CHECK(answer_for(named, "evil.example:9464").status == 421);
}

}  // namespace

#include "http/admission.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <chrono>
#include <iterator>
#include <string>

#include "catch.hpp"

// Which request is served next, and which response gives way to it.

namespace {

using namespace quipu::http;
using namespace std::chrono_literals;

constexpr std::size_t kib = 1024;

struct Fixture {
  explicit Fixture(Admission::Limits limits, std::size_t bytes = 1024 * kib)
      : response_bytes{.limit = bytes}, admission(limits, response_bytes) {}

  /// A request of a peer, named by its path.
  void add(const char* path, PeerAddress peer, bool needs_permit = false) {
    Connections arriving;
    arriving.push_back({.socket = {}, .deadline = now, .peer = peers.add(peer)});
    arriving.back().request.path = path;
    arriving.back().request.deadline = now + 10s;
    arriving.back().needs_permit = needs_permit;
    admission.add(arriving, arriving.begin(), now);
  }

  /// The next request, which a worker takes. "" if none may start.
  std::string start() {
    const auto next = admission.start_next(now);
    if (next == admission.waiting.end()) return "";
    at_workers.splice(at_workers.end(), admission.waiting, next);
    return at_workers.back().request.path;
  }

  /// The worker has sent some of the last response that was started. Its client has taken nothing since `stalled`.
  void keep_sending(Clock::time_point stalled) {
    at_workers.back().last_progress = stalled;
    admission.keep_sending(at_workers, std::prev(at_workers.end()));
  }
  void start_stalled(const char* path, PeerAddress peer, Clock::time_point stalled) {
    add(path, peer, true);
    REQUIRE(start() == path);
    keep_sending(stalled);
  }

  std::string gives_way(Clock::time_point at) {
    const auto found = admission.next_to_give_way(at);
    return found == admission.sending.end() ? "" : found->request.path;
  }
  void drop() {
    const auto found = admission.next_to_give_way(now + 1h);
    admission.end(*found);
    admission.sending.erase(found);
  }

  Peers peers;
  ResponseBytes response_bytes;
  Connections at_workers;
  Admission admission;
  const Clock::time_point now = Clock::now();
};

constexpr Admission::Limits two_permits{
    .permits = 2, .trials = 1, .without_permit = 10, .reserve = 0, .is_independent = false};

TEST_CASE("requests of one peer are served in their order", "[admission]") {
  Fixture f(two_permits);
  f.add("/1", 1);
  f.add("/2", 1);
  f.add("/3", 1, true);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/2");
  CHECK(f.start().empty());
  CHECK(f.admission.in_progress() == 2);
  f.admission.end(f.at_workers.front());
  CHECK(f.start() == "/3");
}

TEST_CASE("the next request is of the peer that has the fewest permits", "[admission]") {
  Fixture f({.permits = 3, .trials = 0, .without_permit = 10, .reserve = 0, .is_independent = false});
  for (const auto* const path : {"/1", "/2", "/3"}) f.add(path, 1);
  f.add("/other", 2);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/other");
  CHECK(f.start() == "/2");
  CHECK(f.start().empty());
}

TEST_CASE("without a permit a page may be tried, and waits for a permit if it is long", "[admission]") {
  Fixture f({.permits = 1, .trials = 1, .without_permit = 10, .reserve = 0, .is_independent = false});
  for (const auto* const path : {"/1", "/2", "/3"}) f.add(path, 1);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/2");
  CHECK(f.start().empty());
  f.admission.wait_for_permit(f.at_workers, std::prev(f.at_workers.end()));
  CHECK(f.admission.waiting.front().request.path == "/2");  // at its old place
  CHECK(f.start() == "/3");
  CHECK(f.start().empty());
  f.admission.end(f.at_workers.front());
  CHECK(f.start() == "/2");
  CHECK(f.admission.in_progress() == 2);
}

TEST_CASE("short pages that nobody reads are no more than their limit, and give way", "[admission]") {
  Fixture f({.permits = 1, .trials = 1, .without_permit = 2, .reserve = 0, .is_independent = false});
  f.start_stalled("/1", 1, f.now);
  for (const auto* const path : {"/2", "/3"}) {
    f.add(path, 1);
    CHECK(f.start() == path);
    f.keep_sending(f.now);
  }
  f.add("/4", 1);
  CHECK(f.start().empty());
  CHECK(f.gives_way(f.now).empty());
  CHECK(f.admission.next_change() == f.now + 50ms);  // as many wait as there are permits
  CHECK(f.gives_way(f.now + 50ms) == "/1");
  f.admission.end(f.admission.sending.back());
  f.admission.sending.pop_back();
  CHECK(f.start() == "/4");
}

TEST_CASE("in a crowd a stalled response gives way before a page is tried", "[admission]") {
  Fixture f(two_permits);
  f.start_stalled("/1", 1, f.now - 1s);
  f.start_stalled("/2", 1, f.now - 2s);
  for (const auto* const path : {"/3", "/4", "/5"}) f.add(path, 1);
  CHECK(f.start().empty());
  CHECK(f.gives_way(f.now) == "/2");
  f.drop();
  CHECK(f.start() == "/3");
  CHECK(f.start() == "/4");  // two that wait are no crowd
  CHECK(f.start().empty());
}

TEST_CASE("nothing gives way while nobody waits, and a trial needs nobody to", "[admission]") {
  Fixture f(two_permits);
  f.start_stalled("/1", 1, f.now - 1s);
  f.start_stalled("/2", 1, f.now - 2s);
  CHECK(f.gives_way(f.now + 1h).empty());
  CHECK(f.admission.next_change() == Clock::time_point::max());
  f.add("/3", 1);
  CHECK(f.gives_way(f.now + 1h).empty());
  f.add("/4", 1, true);
  CHECK(f.gives_way(f.now) == "/2");
}

TEST_CASE("who has made no progress for longest gives way, not before its time", "[admission]") {
  Fixture f(two_permits);
  f.start_stalled("/1", 1, f.now + 1ms);
  f.start_stalled("/2", 1, f.now);
  f.add("/3", 1, true);
  CHECK(f.gives_way(f.now + 10ms).empty());
  const auto change = f.admission.next_change();
  CHECK(change > f.now + 50ms);
  CHECK(change <= f.now + 100ms);
  CHECK(f.gives_way(change) == "/2");
}

TEST_CASE("the more requests wait, the sooner stalled clients give way", "[admission]") {
  Fixture f(two_permits);
  f.start_stalled("/1", 1, f.now);
  f.start_stalled("/2", 1, f.now);
  f.add("/3", 1, true);
  const auto before = f.admission.next_change();
  for (int i = 0; i < 500; ++i) f.add("/more", 1, true);
  CHECK(f.admission.next_change() < before);
  CHECK(f.admission.next_change() == f.now + 5ms);
}

TEST_CASE("a client that reads gives way after those that do not, and not sooner because many wait", "[admission]") {
  Fixture f(two_permits);
  f.start_stalled("/reads", 1, f.now);
  f.admission.sending.back().is_read = true;
  f.start_stalled("/2", 1, f.now + 10ms);
  for (int i = 0; i < 500; ++i) f.add("/more", 1, true);
  CHECK(f.gives_way(f.now + 14ms).empty());
  CHECK(f.gives_way(f.now + 15ms) == "/2");
  CHECK(f.gives_way(f.now + 200ms) == "/2");
  f.drop();
  CHECK(f.gives_way(f.now + 99ms).empty());
  CHECK(f.gives_way(f.now + 100ms) == "/reads");
}

TEST_CASE("a peer with few permits does not give way sooner for one with many", "[admission]") {
  Fixture f({.permits = 3, .trials = 0, .without_permit = 10, .reserve = 0, .is_independent = false});
  f.start_stalled("/other", 2, f.now);
  f.add("/1", 1);
  f.add("/2", 1);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/2");
  for (int i = 0; i < 500; ++i) f.add("/more", 1, true);
  CHECK(f.gives_way(f.now + 99ms).empty());
  CHECK(f.gives_way(f.now + 100ms) == "/other");
}

TEST_CASE("a peer with more than its share gives way, even if its clients make progress", "[admission]") {
  Fixture f({.permits = 4, .trials = 0, .without_permit = 10, .reserve = 0, .is_independent = false});
  f.start_stalled("/other", 2, f.now - 50ms);
  for (const auto* const path : {"/1", "/2", "/3"}) f.start_stalled(path, 1, f.now + 90ms);
  f.add("/new", 3, true);
  CHECK(f.gives_way(f.now + 99ms) == "/other");  // stalled
  CHECK(f.gives_way(f.now + 100ms) == "/1");     // three are more than a share
  f.drop();
  CHECK(f.start() == "/new");
  // The same for a peer that has as many as it: nobody has to give way who makes progress.
  f.add("/4", 2, true);
  for (Connection& connection : f.admission.sending) connection.last_progress = f.now + 1h;
  CHECK(f.gives_way(f.now + 1h).empty());
}

TEST_CASE("responses have no more than their bytes, but one may always be", "[admission]") {
  Fixture f({.permits = 10, .trials = 0, .without_permit = 10, .reserve = 400 * kib, .is_independent = false});
  for (const auto* const path : {"/1", "/2", "/3"}) f.add(path, 1);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/2");
  CHECK(f.response_bytes.held == 800 * kib);
  CHECK(f.start().empty());
  // The second one has a page that is complete, and short.
  f.at_workers.back().outgoing.put({.front = "short"});
  f.keep_sending(f.now);
  CHECK(f.response_bytes.held == 400 * kib + 5);
  CHECK(f.start() == "/3");
  f.add("/4", 1);
  CHECK(f.start().empty());
  CHECK(f.gives_way(f.now + 1h) == "/2");
  while (!f.at_workers.empty()) {
    f.admission.end(f.at_workers.front());
    f.at_workers.pop_front();
  }
  f.admission.end(f.admission.sending.front());
  f.admission.sending.pop_front();
  CHECK(f.response_bytes.held == 0);
  f.response_bytes.held = 1024 * kib;  // by others
  CHECK(f.start() == "/4");
}

TEST_CASE("routes do not wait for the bytes of pages", "[admission]") {
  Fixture f({.permits = 10, .trials = 0, .without_permit = 10, .reserve = 0, .is_independent = true});
  f.response_bytes.held = 4096 * kib;
  f.add("/1", 1);
  f.add("/2", 1);
  CHECK(f.start() == "/1");
  CHECK(f.start() == "/2");
}

TEST_CASE("of many connections the oldest of the largest peer goes", "[admission]") {
  Peers peers;
  Connections connections;
  for (const PeerAddress address : {PeerAddress{3}, PeerAddress{1}, PeerAddress{2}, PeerAddress{1}, PeerAddress{2}}) {
    connections.push_back({.socket = {}, .deadline = {}, .peer = peers.add(address)});
  }
  CHECK(peers.size() == 3);
  CHECK(first_of_largest_peer(connections) == std::next(connections.begin()));
  connections.erase(first_of_largest_peer(connections));
  CHECK(first_of_largest_peer(connections) == std::next(connections.begin()));
  connections.clear();
  CHECK(peers.size() == 0);
  CHECK(first_of_largest_peer(connections) == connections.end());
}

TEST_CASE("a peer is an IPv4 address, or a network of IPv6", "[admission]") {
  const auto ipv4 = [](const char* text) {
    sockaddr_storage storage{};
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    address.sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, text, &address.sin_addr) == 1);
    return peer_address(storage);
  };
  const auto ipv6 = [](const char* text) {
    sockaddr_storage storage{};
    auto& address = reinterpret_cast<sockaddr_in6&>(storage);
    address.sin6_family = AF_INET6;
    REQUIRE(::inet_pton(AF_INET6, text, &address.sin6_addr) == 1);
    return peer_address(storage);
  };
  CHECK(ipv4("10.0.0.1") != ipv4("10.0.0.2"));
  CHECK(ipv4("10.0.0.1") == ipv6("::ffff:10.0.0.1"));
  CHECK(ipv6("2001:db8::1") == ipv6("2001:db8::2"));
  CHECK(ipv6("2001:db8:0:1::1") != ipv6("2001:db8::1"));
  CHECK(ipv6("::1") != ipv4("0.0.0.1"));
}

}  // namespace

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/exposition/scrape_time.hpp"
#include "quipu/error.hpp"
#include "quipu/exposition.hpp"
#include "quipu/route.hpp"

namespace quipu {

namespace http {
class Resources;
struct Resource;
}  // namespace http

class Exposer;

struct ExposerOptions {
  /// HOST:PORT to listen on, e.g. "127.0.0.1:9464", "localhost:0", "[::1]:9464" or ":9464" (every address, IPv4 and
  /// IPv6 alike). The default is reachable from this machine only. Port 0 lets the system choose; `port()` says what it
  /// chose. A name that has several addresses stands for one of them, an IPv4 address if there is one.
  std::string listen = "127.0.0.1:9464";
  /// The path of the page. It begins with '/', and is not "/" itself, because that path shows a landing page with a
  /// link to it. It may have every character that URL paths allow, except '%'.
  std::string path = "/metrics";
  /// How many requests for long pages may be in progress at once, from their complete head to the end of their
  /// response. A page of up to 256 KiB, or 64 KiB compressed, is short, and does not have to wait for long ones: up to
  /// 128 short ones may be in progress besides. A request that cannot be served at once waits up to one second, and
  /// then gets 503 with `Retry-After: 1`. Meanwhile a client that has taken less than 64 KiB of its response for 100
  /// ms, or for a shorter time when many requests wait, loses its connection to a request that waits. From 1 to 1,000.
  std::size_t max_concurrent_scrapes = 32;
  /// How many bytes the responses in progress may hold in memory before another one has to wait, as above. A page that
  /// is not complete counts for 512 KiB, and for more once its source has given a longer piece. What the kernel holds
  /// does not count. One response may always be in progress, and routes do not wait for pages. At least 1 MiB.
  std::size_t max_response_bytes = std::size_t{64} << 20;
  /// The most that a scraper may wait for a page, whatever it says in X-Prometheus-Scrape-Timeout-Seconds: a request
  /// may take a thread for so long if a collector hangs. One minute if nothing else is said. Positive; more than a day
  /// counts as a day.
  std::chrono::milliseconds max_scrape_time = detail::default_max_scrape_time;
  /// Compresses pages of 1 KiB and more, to about a ninth, for clients that accept gzip and prefer it. This takes about
  /// 5 ms for a page of 1 MB, many times as long as making it. A scraper on the same machine gains nothing by it. No
  /// effect when quipu was built without zlib.
  bool gzip = true;
  /// The program's own responses, each at a path of its own, which may be "/". Requests for routes have a thread and 16
  /// permits of their own, so that they are served while every scrape hangs. Requests for prompt routes, the landing
  /// page and errors have another thread and 16 permits, so that they are served while every route hangs, too.
  std::vector<Route> routes = {};
  /// Names of hosts by which clients may ask for the endpoint, such as "metrics.example.com": a request whose Host is
  /// another name gets 421. IP addresses, "localhost", names that end in ".localhost", the name of this machine and
  /// that in `listen` are always right, as is a request that names no host. The port in a Host does not matter.
  /// "*" stands for every name.
  ///
  /// When this is empty, only an endpoint that listens on a loopback address looks at names; it then knows no others.
  /// So no page in a browser of this machine can read the metrics by giving its own name the address 127.0.0.1 (DNS
  /// rebinding). An endpoint that listens elsewhere may have any name in the network, and answers by each of them
  /// unless it is told its names here.
  std::vector<std::string> allowed_hosts = {};
};

/// Keeps a path of an endpoint served, and ends that when it ends itself: later requests get 404, and so do those that
/// wait to be served. Calls of its page source or route that are under way are not waited for, nor those that begin at
/// this moment: what they use must live until they return. (Registries are kept by their pages.) Movable; may outlive
/// the endpoint. Thread-compatible.
class QUIPU_EXPORT ServedPath {
 public:
  ServedPath() noexcept = default;
  ServedPath(ServedPath&&) noexcept;
  ServedPath& operator=(ServedPath&&) noexcept;
  ~ServedPath();

  /// Ends it now.
  void end() noexcept;

 private:
  friend Exposer;
  ServedPath(std::weak_ptr<http::Resources> resources, std::shared_ptr<http::Resource> resource) noexcept;

  std::weak_ptr<http::Resources> resources_;
  std::shared_ptr<http::Resource> resource_;
};

namespace detail {

/// An address or a port in place of options.
template <class Option>
concept NoExposerOptions = std::is_convertible_v<const Option&, std::string_view> || std::is_arithmetic_v<Option>;

}  // namespace detail

/// A small HTTP server for pages of metrics: GET and HEAD of the path, of added paths and of routes, a landing page at
/// "/" with links to them, 404 and 405 elsewhere. It speaks HTTP/1.1 and HTTP/1.0, and answers a request that violates
/// RFC 9112 with 400. It listens from the end of the constructor until `stop()` or destruction. It is made for scrapers
/// on a trusted network: it has no TLS and no passwords. If you need those, put a reverse proxy before it, or use
/// `render()` in your own server.
///
/// A page is sent while it is made, so it takes little memory, however long it is. If a page fails half-way, the
/// connection is reset, so that no client takes it for a whole one. `?name[]=FAMILY`, any number of times up to 256,
/// asks for these families only. The deadline of a scrape is the time in X-Prometheus-Scrape-Timeout-Seconds, or 10
/// seconds without it, less up to half a second. The page source gets this deadline, and a request that has to wait
/// until then gets 503. It is also asked to stop when the client has gone: when this has reset the connection, or ended
/// its side of it a second ago. Requests for the same page that wait at the same time may share one page. Long pages
/// are made in turns of milliseconds, so that they do not delay short ones.
///
/// It has five threads, six as soon as there is a route that is not prompt. No signal of the program is delivered on
/// them, and the program's handling of signals is left alone. A connection answers any number of requests. It is closed
/// in four cases: a request that has begun is not whole after two seconds; the client takes less than 64 KiB of its
/// response in five seconds; a response has not ended after thirty seconds; no request comes for five minutes. The
/// number of connections in each of these states is limited. Permits for responses, and connections, are shared out
/// among the addresses of clients (of IPv6 their first half). When too many connections are silent or wait, the oldest
/// silent one of the address that has the most of them is closed, but none in its first 100 ms. New clients then wait
/// in the kernel's backlog.
///
/// Thread-safe, except for moving and destruction.
class [[nodiscard]] QUIPU_EXPORT Exposer {
 public:
  /// Serves `registry`, whose metrics stay alive as long as this object. Throws ListenError.
  [[nodiscard("quipu: keep the endpoint: when it ends, nobody listens any more")]] explicit Exposer(
      const Registry& registry, ExposerOptions options = {});
  /// The same for several registries on one page.
  [[nodiscard("quipu: keep the endpoint: when it ends, nobody listens any more")]] explicit Exposer(
      const Registries& registries, ExposerOptions options = {});
  /// Serves what `source` makes. If it throws while the page is short, the response is a 500 without details. A
  /// stream's destructor must not take long, because other clients may wait for it. Throws ListenError.
  [[nodiscard("quipu: keep the endpoint: when it ends, nobody listens any more")]] explicit Exposer(
      PageSource source, ExposerOptions options = {});
  // For options without braces.
  template <class Source, detail::NoExposerOptions Option>
  Exposer(const Source& source, const Option&) : Exposer(source) {
    static_assert(detail::misuse<Option>,
                  "quipu: options are in braces: Exposer endpoint(registry, {.listen = \"127.0.0.1:9464\"})");
  }
  Exposer(Exposer&&) noexcept;
  Exposer& operator=(Exposer&&) noexcept;
  ~Exposer();

  /// Serves another page at `path`, until the returned object ends. The limits are those of the endpoint, for all pages
  /// together. Throws ListenError for a path that is taken, "/", or no path.
  [[nodiscard("quipu: keep what add() returns: when it ends, the path is served no more")]] ServedPath add(
      std::string_view path, const Registry& registry);
  [[nodiscard("quipu: keep what add() returns: when it ends, the path is served no more")]] ServedPath add(
      std::string_view path, const Registries& registries);
  [[nodiscard("quipu: keep what add() returns: when it ends, the path is served no more")]] ServedPath add(
      std::string_view path, PageSource source);
  /// The same for a route.
  [[nodiscard("quipu: keep what add() returns: when it ends, the path is served no more")]] ServedPath add(Route route);

  /// The port that the server listens on, also when 0 was asked for.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// Where the page is, e.g. "http://127.0.0.1:9464/metrics". When listening on every address, this is how the machine
  /// itself reaches it.
  [[nodiscard]] const std::string& url() const& noexcept;
  [[nodiscard]] std::string url() && { return url(); }

  /// Closes the listening socket and ends the threads. Returns in less than a second, whatever clients, collectors and
  /// routes do. Responses that are just being made have a moment to be finished and taken. A page source or a route
  /// that does not return by then is left to its thread: what it uses must live until it returns. So these may call it
  /// themselves, and even destroy this object. Calling it again does nothing.
  void stop() noexcept;

 private:
  class Server;

  [[nodiscard]] Server& server() const;

  std::unique_ptr<Server> server_;
};

}  // namespace quipu

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/exposition.hpp"
#include "quipu/route.hpp"

namespace quipu {

struct ExposerOptions {
  /// HOST:PORT to listen on, e.g. "127.0.0.1:9464", "localhost:0", "[::1]:9464" or ":9464" (every address, IPv4 and
  /// IPv6 alike). The default is reachable from this machine only. Port 0 lets the system choose; `port()` says what it
  /// chose. A name that has several addresses stands for one of them, an IPv4 address if there is one.
  std::string_view listen = "127.0.0.1:9464";
  /// The path of the page. It begins with '/', and is not "/" itself, which shows a landing page that links it. Of the
  /// characters of URL paths, all but '%'.
  std::string_view path = "/metrics";
  /// How many requests may be in progress at once, from their complete head to the end of their response. This bounds
  /// the memory. Another request waits 150 ms for a permit, and then gets 503 with `Retry-After: 1`. A client that has
  /// taken none of its response for 100 ms loses its permit to a waiting request. From 1 to 1,000.
  std::size_t max_concurrent_scrapes = 32;
  /// Compresses pages of 1 KiB and more, to about a ninth, for clients that accept gzip and prefer it. This takes about
  /// 5 ms for a page of 1 MB, many times as long as making it. A scraper on the same machine gains nothing by it. No
  /// effect when quipu was built without zlib.
  bool gzip = true;
  /// The program's own responses, each at a path of its own, which may be "/". Requests for routes have a thread and 16
  /// permits of their own, so that they are served while every scrape hangs.
  std::vector<Route> routes = {};
};

/// A small HTTP server for one page of metrics: GET and HEAD of the path and of routes, a landing page at "/", 404 and
/// 405 elsewhere. It speaks HTTP/1.1 and HTTP/1.0, and answers a request that violates RFC 9112 with 400.
/// Listening from the end of the constructor until `stop()` or destruction. It is made for scrapers on a trusted
/// network: it has no TLS and no passwords. Put a reverse proxy before it, or use `render()` in your own server, for
/// those.
///
/// A page is sent while it is made, so that it takes little memory, however long it is. One that fails half-way ends in
/// a broken connection, so that nobody takes it for a whole one; HTTP/1.0, which cannot do that, gets long pages only
/// when they are made as a whole. `?name[]=FAMILY`, any number of times up to 256, asks for these families only.
/// X-Prometheus-Scrape-Timeout-Seconds, or else 10 seconds, less up to half a second, is the deadline of the scrape: it
/// is what the page source sees, and a request that has to wait until then gets 503. Requests for the same page that
/// wait at the same time may get one and the same.
///
/// It has four threads, five with routes, on which no signal of the program is delivered, and leaves the program's
/// handling of signals alone. A connection answers any number of requests. It is closed when two seconds pass without
/// the whole of a request that has begun, five in which the client took none of its response, thirty without the end of
/// a response, or five minutes without a request. How many there are of each kind is limited; so clients cannot hold it
/// up, however many.
///
/// Thread-safe, but for moving and destruction.
class QUIPU_EXPORT Exposer {
 public:
  /// Serves `registry`, whose metrics stay alive as long as this object. Throws ListenError.
  explicit Exposer(const Registry& registry, ExposerOptions options = {});
  /// Serves what `source` makes. What it throws before the first 256 KiB are made becomes a 500 without details.
  /// Throws ListenError.
  explicit Exposer(PageSource source, ExposerOptions options = {});
  Exposer(Exposer&&) noexcept;
  Exposer& operator=(Exposer&&) noexcept;
  ~Exposer();

  /// The port that is listened on, also when 0 was asked for.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// Where the page is, e.g. "http://127.0.0.1:9464/metrics". When listening on every address, this is how the machine
  /// itself reaches it.
  [[nodiscard]] const std::string& url() const noexcept;

  /// Closes the listening socket and ends the threads. Returns in well under a second, whatever clients do, unless a
  /// page, or a piece of a long one, is just being made: that is waited for, and the client given a moment to take it.
  /// Calling it again does nothing. Neither the page source nor a route may call it.
  void stop() noexcept;

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace quipu

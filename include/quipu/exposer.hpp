#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "quipu/error.hpp"
#include "quipu/exposition.hpp"

namespace quipu {

struct ExposerOptions {
  /// HOST:PORT to listen on, e.g. "127.0.0.1:9464", "localhost:0", "[::1]:9464" or ":9464" (every address, IPv4 and
  /// IPv6 alike). The default is reachable from this machine only. Port 0 lets the system choose; `port()` says what it
  /// chose. A name that has several addresses stands for one of them, an IPv4 address if there is one.
  std::string_view listen = "127.0.0.1:9464";
  /// The path of the page. It begins with '/', and is not "/" itself, which shows a landing page that links it. Of the
  /// characters of URL paths, all but '%'.
  std::string_view path = "/metrics";
};

/// A small HTTP server for one page of metrics: GET and HEAD of the path, a landing page at "/", 404 and 405 elsewhere.
/// Listening from the end of the constructor until `stop()` or destruction. It is made for scrapers on a trusted
/// network: it has no TLS and no passwords. Put a reverse proxy before it, or use `render()` in your own server, for
/// those.
///
/// It has four threads, on which no signal of the program is delivered, and leaves the program's handling of signals
/// alone. Each connection is closed after one answer, after two seconds without a whole request, and after five in
/// which the client took none of its answer; so clients cannot hold it up, however many. When more requests wait than
/// it can answer soon, further ones get 503. Answers are not compressed.
///
/// Thread-safe, but for moving and destruction.
class Exposer {
 public:
  /// Serves `registry`, whose metrics stay alive as long as this object. Throws ListenError.
  explicit Exposer(const Registry& registry, ExposerOptions options = {});
  /// Serves what `source` makes; what it throws becomes a 500 without details. Throws ListenError.
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
  /// page is just being made: that is waited for, and the client given a moment to take it. Calling it again does
  /// nothing. The page source must not call it.
  void stop() noexcept;

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace quipu

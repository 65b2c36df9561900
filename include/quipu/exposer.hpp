#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "quipu/error.hpp"
#include "quipu/exposition.hpp"

namespace quipu {

struct ExposerOptions {
  /// HOST:PORT to listen on, e.g. "127.0.0.1:9464", "localhost:0", "[::1]:9464" or ":9464" (every address, IPv4 and
  /// IPv6 alike). The default is reachable from this machine only. Port 0 lets the system choose; `port()` says what it
  /// chose.
  std::string_view listen = "127.0.0.1:9464";
  /// The path of the page. It begins with '/', and is not "/" itself, which shows a landing page that links it.
  std::string_view path = "/metrics";
};

/// A small HTTP server for one page of metrics: GET and HEAD of the path, a landing page at "/", 404 and 405 elsewhere.
/// Listening from the end of the constructor until `stop()` or destruction. It is made for scrapers on a trusted
/// network: it has no TLS and no passwords. Put a reverse proxy before it, or use `render()` in your own server, for
/// those.
///
/// Thread-safe, but for construction and destruction.
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
  /// Where the page is, e.g. "http://127.0.0.1:9464/metrics".
  [[nodiscard]] const std::string& url() const noexcept;

  /// Closes the listening socket and waits for the requests being answered, for well under a second.
  /// Calling it again does nothing.
  void stop() noexcept;

 private:
  class Server;
  std::unique_ptr<Server> server_;
};

}  // namespace quipu

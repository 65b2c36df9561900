#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/descriptor.hpp"

namespace quipu::statsd {

/// Throws std::runtime_error for an address that no socket takes. It need not be there, and a name need not exist.
void check_address(std::string_view address);

/// Why a datagram was not sent.
enum class Failure : std::uint8_t { full, refused, other };

/// A datagram socket that is connected to a server. Thread-compatible.
class Socket {
 public:
  /// HOST:PORT for UDP, which may wait for the resolver, or unix:/PATH. Throws StatsdError.
  explicit Socket(std::string_view address);

  [[nodiscard]] bool is_unix() const noexcept { return path_.sun_family == AF_UNIX; }

  /// Sends a datagram. Never waits. Nothing is returned on success.
  [[nodiscard]] std::optional<Failure> send(std::string_view datagram) noexcept;

  void close() noexcept { descriptor_.reset(); }

 private:
  void set_path(std::string_view path);
  void connect_udp(std::string_view text);
  /// Returns 0 or an errno, as does attempt().
  [[nodiscard]] int connect(int family, const sockaddr* address, socklen_t size) noexcept;
  [[nodiscard]] int attempt(std::string_view datagram) noexcept;

  sockaddr_un path_{};  // of a Unix socket
  /// Connected. A Unix socket may be without one: it connects when there is something to send.
  detail::Descriptor descriptor_;
};

}  // namespace quipu::statsd

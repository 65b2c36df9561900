#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// HOST:PORT, taken apart.
struct Address {
  std::string host;  // may be empty; an IPv6 literal without its brackets
  std::uint16_t port = 0;
  bool is_ipv6_literal = false;
};

/// What is refused here would fail later, too. A name need not exist. Throws std::runtime_error, with what is wrong.
[[nodiscard]] QUIPU_EXPORT Address parse_address(std::string_view text);
/// The same for an address to listen on.
[[nodiscard]] QUIPU_EXPORT Address parse_listen_address(std::string_view text);

/// Whether it is an address that only this machine has, and only for itself: 127.0.0.0/8, also as an
/// IPv6 address, or ::1.
[[nodiscard]] QUIPU_EXPORT bool is_loopback(const sockaddr_storage& address) noexcept;

/// The addresses that the resolver finds for a host. Construction may wait for the network.
class QUIPU_EXPORT Resolved {
 public:
  /// For sockets of that type; `flags` are added to those of getaddrinfo(3). Throws std::runtime_error, with the
  /// resolver's reason.
  Resolved(const Address& address, int socket_type, int flags = 0);
  Resolved(const Resolved&) = delete;
  Resolved& operator=(const Resolved&) = delete;
  ~Resolved();

  /// Calls use(entry) for each address until it returns true, and returns whether it did. IPv4 comes first, which users
  /// expect.
  template <class Use>
  bool any(Use use) const {
    for (const int family : {AF_INET, AF_INET6}) {
      for (const addrinfo* entry = first_; entry != nullptr; entry = entry->ai_next) {
        if (entry->ai_family == family && use(*entry)) return true;
      }
    }
    return false;
  }

 private:
  addrinfo* first_ = nullptr;
};

}  // namespace quipu::detail

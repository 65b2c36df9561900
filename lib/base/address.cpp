#include "base/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "base/text.hpp"

namespace quipu::detail {

Address parse_address(std::string_view text) {
  Address address;
  const auto colon = text.rfind(':');
  if (colon == text.npos || text.find('\0') != text.npos) throw std::runtime_error("expected HOST:PORT");
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') || host.ends_with(']')) {
    if (host.size() < 3 || !host.starts_with('[') || !host.ends_with(']')) {
      throw std::runtime_error("expected [IPv6 address]:PORT");
    }
    host = host.substr(1, host.size() - 2);
    address.is_ipv6_literal = true;
  } else if (host.find(':') != host.npos) {
    throw std::runtime_error("expected HOST:PORT, with brackets around an IPv6 address");
  }
  const auto port = to_number<std::uint16_t>(text.substr(colon + 1));
  if (!port) throw std::runtime_error("the port is a number from 0 to 65535");
  address.host = host;
  address.port = *port;
  return address;
}

bool is_loopback(const sockaddr_storage& address) noexcept {
  constexpr std::uint32_t network = 127;  // the first byte
  if (address.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == network;
  }
  if (address.ss_family != AF_INET6) return false;
  const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&ipv6) != 0 || (IN6_IS_ADDR_V4MAPPED(&ipv6) != 0 && ipv6.s6_addr[12] == network);
}

Resolved::Resolved(const Address& address, int socket_type, int flags) {
  addrinfo hints{};
  hints.ai_family = address.is_ipv6_literal ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = socket_type;
  hints.ai_flags = flags | AI_NUMERICSERV | (address.is_ipv6_literal ? AI_NUMERICHOST : 0);
  // "localhost" is this machine, whatever the resolver knows (RFC 6761, 6.3), and a bare one may not know it.
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &first_);
  if (error == EAI_SYSTEM) throw std::runtime_error(std::generic_category().message(errno));
  if (error != 0) throw std::runtime_error(::gai_strerror(error));
}

Resolved::~Resolved() {
  if (first_ != nullptr) ::freeaddrinfo(first_);
}

}  // namespace quipu::detail

#include "base/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <system_error>

#include "base/text.hpp"

namespace quipu::detail {
namespace {

constexpr std::size_t max_name_size = 253;  // of a name in the DNS

/// Whether it may be a name or an IPv4 address, which a resolver takes in any form that inet_aton(3) takes.
bool is_host(const std::string& text) {
  if (text.find_first_not_of("0123456789.") == text.npos) {
    in_addr address{};
    return ::inet_aton(text.c_str(), &address) != 0;
  }
  bool is_part_empty = true;
  for (const char c : text) {
    const bool is_in_name = is_lower(to_lower(c)) || (c >= '0' && c <= '9') || c == '_' || (c == '-' && !is_part_empty);
    if (!is_in_name && (c != '.' || is_part_empty)) return false;
    is_part_empty = c == '.';
  }
  return text.size() <= max_name_size;
}

/// Whether it is an IPv6 address, perhaps with a zone: "fe80::1%eth0".
bool is_ipv6(std::string_view text) {
  const auto zone = text.find('%');
  in6_addr address{};
  return zone + 1 != text.size() && ::inet_pton(AF_INET6, std::string(text.substr(0, zone)).c_str(), &address) == 1;
}

}  // namespace

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
  if (address.is_ipv6_literal && !is_ipv6(host)) {
    throw std::runtime_error(fmt::format("\"{}\" is not an IPv6 address", host));
  }
  if (!address.is_ipv6_literal && !host.empty() && !is_host(address.host)) {
    throw std::runtime_error(
        fmt::format("\"{}\" is not a host: expected a name, an IPv4 address, or an IPv6 address in brackets", host));
  }
  address.port = *port;
  return address;
}

Address parse_listen_address(std::string_view text) {
  if (text.starts_with("*:")) {
    throw std::runtime_error(fmt::format("'*' is not a host; leave it out for every address: \"{}\"", text.substr(1)));
  }
  return parse_address(text);
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

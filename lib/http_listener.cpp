#include "http_listener.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "quipu/error.hpp"

namespace quipu::http {
namespace {

// What the system allows: a client that finds the backlog full tries again only after a second.
constexpr int backlog = SOMAXCONN;

void set_option(int socket, int level, int option, int value) {
  // Refusals are harmless: each of the options used here only improves something.
  ::setsockopt(socket, level, option, &value, sizeof value);
}

struct Address {
  std::string host;  // "" for every address of this machine; an IPv6 literal without its brackets
  std::string port;
  bool is_ipv6_literal = false;
};

Address parse_address(std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return ListenError(fmt::format("listen address \"{}\": {}", text, reason));
  };
  Address address;
  const auto colon = text.rfind(':');
  if (colon == text.npos || text.find('\0') != text.npos) throw fail("expected HOST:PORT");
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') || host.ends_with(']')) {
    if (host.size() < 3 || !host.starts_with('[') || !host.ends_with(']')) throw fail("expected [IPv6 address]:PORT");
    host = host.substr(1, host.size() - 2);
    address.is_ipv6_literal = true;
  } else if (host.find(':') != host.npos) {
    throw fail("expected HOST:PORT, with brackets around an IPv6 address");
  }
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) throw fail("the port is a number from 0 to 65535");
  address.host = host;
  address.port = fmt::format("{}", port);
  return address;
}

struct AddressList {
  AddressList() = default;
  AddressList(const AddressList&) = delete;
  AddressList& operator=(const AddressList&) = delete;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

/// A listening socket, or an errno.
struct Attempt {
  Descriptor socket;
  int error = 0;
};

Attempt listen_on(int family, const sockaddr* address, socklen_t size) {
  Attempt attempt{Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), 0};
  const int socket = attempt.socket.get();
  const auto failed = [&attempt] {
    attempt.error = errno;
    attempt.socket.reset();
  };
  if (!attempt.socket) {
    failed();
    return attempt;
  }
  // A restarted program gets its port back at once. SO_REUSEPORT, in contrast, would let two programs share a port, and
  // a scraper would meet either.
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // Of two sockets that are bound at the same moment, only listen() tells the second.
  if (::bind(socket, address, size) != 0 || ::listen(socket, backlog) != 0) failed();
  return attempt;
}

bool is_absent_here(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT; }

Attempt listen_everywhere(const Address& address) {
  const auto port = static_cast<in_port_t>(std::stoi(address.port));
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(port);
  ipv6.sin6_addr = in6addr_any;
  Attempt attempt = listen_on(AF_INET6, reinterpret_cast<const sockaddr*>(&ipv6), sizeof ipv6);
  if (attempt.socket || !is_absent_here(attempt.error)) return attempt;
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(port);
  ipv4.sin_addr.s_addr = htonl(INADDR_ANY);
  return listen_on(AF_INET, reinterpret_cast<const sockaddr*>(&ipv4), sizeof ipv4);
}

Descriptor bound_socket(const Address& address, std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return ListenError(fmt::format("cannot listen on \"{}\": {}", text, reason));
  };
  Attempt attempt;
  if (address.host.empty()) {
    attempt = listen_everywhere(address);
  } else {
    addrinfo hints{};
    hints.ai_family = address.is_ipv6_literal ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV | (address.is_ipv6_literal ? AI_NUMERICHOST : 0);
    AddressList list;
    // "localhost" is this machine, whatever the resolver knows (RFC 6761, 6.3), and a bare one may not know it.
    const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
    const int error = ::getaddrinfo(host.c_str(), address.port.c_str(), &hints, &list.first);
    if (error == EAI_SYSTEM) throw fail(std::generic_category().message(errno));
    if (error != 0) throw fail(::gai_strerror(error));
    // Of a name with several addresses an IPv4 one is taken, for the users' habits. The next one is tried only if this
    // machine does not have that one: a port that is in use must be reported, not evaded.
    attempt.error = EADDRNOTAVAIL;
    for (const int family : {AF_INET, AF_INET6}) {
      for (const addrinfo* entry = list.first; entry != nullptr; entry = entry->ai_next) {
        if (attempt.socket || !is_absent_here(attempt.error) || entry->ai_family != family) continue;
        attempt = listen_on(family, entry->ai_addr, entry->ai_addrlen);
      }
    }
  }
  if (!attempt.socket) throw fail(std::generic_category().message(attempt.error));
  return std::move(attempt.socket);
}

struct LocalAddress {
  std::uint16_t port = 0;
  bool is_wildcard = false;
};

LocalAddress local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(storage);
    return {ntohs(ipv6.sin6_port), IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr) != 0};
  }
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(storage);
  return {ntohs(ipv4.sin_port), ipv4.sin_addr.s_addr == htonl(INADDR_ANY)};
}

std::string host_in_url(const Address& address, const LocalAddress& local) {
  if (local.is_wildcard) return "127.0.0.1";
  return address.is_ipv6_literal ? fmt::format("[{}]", address.host) : address.host;
}

}  // namespace

void check_address(std::string_view text) { static_cast<void>(parse_address(text)); }

Listener listen_at(std::string_view text) {
  const Address address = parse_address(text);
  Descriptor socket = bound_socket(address, text);
  const LocalAddress local = local_address(socket.get());
  return {.socket = std::move(socket), .port = local.port, .host = host_in_url(address, local)};
}

}  // namespace quipu::http

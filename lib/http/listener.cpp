#include "http/listener.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/address.hpp"
#include "quipu/error.hpp"

namespace quipu::http {
namespace {

// The maximum. A client that finds the backlog full tries again only after a second.
constexpr int backlog = SOMAXCONN;

void set_option(int socket, int level, int option, int value) {
  // Errors are harmless, because each option used here is only an improvement.
  ::setsockopt(socket, level, option, &value, sizeof value);
}

using detail::Address;

Address parse(std::string_view text) {
  try {
    return detail::parse_listen_address(text);
  } catch (const std::runtime_error& error) {
    throw ListenError(fmt::format("listen address \"{}\": {}", text, error.what()));
  }
}

/// A listening socket, or an errno.
struct Attempt {
  detail::Descriptor socket;
  int error = 0;
};

Attempt listen_on(int family, const sockaddr* address, socklen_t size) {
  Attempt attempt{detail::Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), 0};
  const int socket = attempt.socket.get();
  const auto failed = [&attempt] {
    attempt.error = errno;
    attempt.socket.reset();
  };
  if (!attempt.socket) {
    failed();
    return attempt;
  }
  // SO_REUSEADDR gives a restarted program its port back at once. SO_REUSEPORT is not used, because it would let two
  // programs share a port.
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // When two sockets are bound at the same moment, only listen() fails for the second one.
  if (::bind(socket, address, size) != 0 || ::listen(socket, backlog) != 0) failed();
  return attempt;
}

bool is_absent_here(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT; }

Attempt listen_everywhere(const Address& address) {
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(address.port);
  ipv6.sin6_addr = in6addr_any;
  Attempt attempt = listen_on(AF_INET6, reinterpret_cast<const sockaddr*>(&ipv6), sizeof ipv6);
  if (attempt.socket || !is_absent_here(attempt.error)) return attempt;
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(address.port);
  ipv4.sin_addr.s_addr = htonl(INADDR_ANY);
  return listen_on(AF_INET, reinterpret_cast<const sockaddr*>(&ipv4), sizeof ipv4);
}

/// Tries the addresses of a name in order. The next one is tried only if this machine does not have the one before,
/// because a port in use must be reported.
Attempt listen_at_host(const Address& address) {
  Attempt attempt;
  attempt.error = EADDRNOTAVAIL;
  static_cast<void>(detail::Resolved(address, SOCK_STREAM, AI_PASSIVE).any([&attempt](const addrinfo& entry) {
    attempt = listen_on(entry.ai_family, entry.ai_addr, entry.ai_addrlen);
    return attempt.socket || !is_absent_here(attempt.error);
  }));
  return attempt;
}

detail::Descriptor bound_socket(const Address& address, std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return ListenError(fmt::format("cannot listen on \"{}\": {}", text, reason));
  };
  Attempt attempt;
  try {
    attempt = address.host.empty() ? listen_everywhere(address) : listen_at_host(address);
  } catch (const std::runtime_error& error) {
    throw fail(error.what());
  }
  if (!attempt.socket) throw fail(std::generic_category().message(attempt.error));
  return std::move(attempt.socket);
}

struct LocalAddress {
  std::uint16_t port = 0;
  bool is_wildcard = false;
  bool is_loopback = false;
};

LocalAddress local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(storage);
    return {ntohs(ipv6.sin6_port), IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr) != 0, detail::is_loopback(storage)};
  }
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(storage);
  return {ntohs(ipv4.sin_port), ipv4.sin_addr.s_addr == htonl(INADDR_ANY), detail::is_loopback(storage)};
}

std::string host_in_url(const Address& address, const LocalAddress& local) {
  if (local.is_wildcard) return "127.0.0.1";
  return address.is_ipv6_literal ? fmt::format("[{}]", address.host) : address.host;
}

}  // namespace

Listener listen_at(std::string_view text) {
  const Address address = parse(text);
  detail::Descriptor socket = bound_socket(address, text);
  const LocalAddress local = local_address(socket.get());
  return {.socket = std::move(socket),
          .port = local.port,
          .host = host_in_url(address, local),
          .is_loopback = local.is_loopback};
}

}  // namespace quipu::http

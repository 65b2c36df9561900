#include "recorder/statsd_socket.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "base/address.hpp"
#include "quipu/statsd.hpp"

namespace quipu::statsd {
namespace {

constexpr std::string_view unix_scheme = "unix:";

/// Whether the error says that no server is there.
bool is_gone(int error) noexcept {
  return error == ECONNREFUSED || error == ENOENT || error == ENOTCONN || error == ECONNRESET || error == EPIPE;
}

bool is_full(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM;
}

std::string_view path_of(std::string_view address) {
  const std::string_view path = address.substr(unix_scheme.size());
  if (!path.starts_with('/') || path.find('\0') != path.npos) throw std::runtime_error("expected unix:/PATH");
  if (path.size() >= sizeof sockaddr_un::sun_path) {
    throw std::runtime_error(
        fmt::format("the path is longer than the system allows, {} bytes", sizeof sockaddr_un::sun_path - 1));
  }
  return path;
}

detail::Address udp_address(std::string_view text) {
  detail::Address address = detail::parse_address(text);
  if (address.host.empty()) throw std::runtime_error("expected HOST:PORT or unix:/PATH");
  if (address.port == 0) throw std::runtime_error("the port is a number from 1 to 65535");
  return address;
}

}  // namespace

void check_address(std::string_view address) {
  if (address.starts_with(unix_scheme)) {
    static_cast<void>(path_of(address));
  } else {
    static_cast<void>(udp_address(address));
  }
}

Socket::Socket(std::string_view address) {
  try {
    if (address.starts_with(unix_scheme)) {
      set_path(path_of(address));
    } else {
      connect_udp(address);
    }
  } catch (const std::runtime_error& error) {
    throw StatsdError(fmt::format("StatsD address \"{}\": {}", address, error.what()));
  }
}

std::optional<Failure> Socket::send(std::string_view datagram) noexcept {
  int error = attempt(datagram);
  if (is_unix() && is_gone(error)) {
    descriptor_.reset();  // a new server may have the path by now
    error = attempt(datagram);
  }
  if (error == 0) return std::nullopt;
  if (is_gone(error)) return Failure::refused;
  return is_full(error) ? Failure::full : Failure::other;
}

void Socket::set_path(std::string_view path) {
  path_.sun_family = AF_UNIX;
  path.copy(path_.sun_path, path.size());
}

void Socket::connect_udp(std::string_view text) {
  const detail::Address address = udp_address(text);
  int error = EADDRNOTAVAIL;
  const bool is_connected = detail::Resolved(address, SOCK_DGRAM).any([&](const addrinfo& entry) {
    error = connect(entry.ai_family, entry.ai_addr, entry.ai_addrlen);
    return error == 0;
  });
  if (!is_connected) throw std::runtime_error(std::generic_category().message(error));
}

int Socket::connect(int family, const sockaddr* address, socklen_t size) noexcept {
  descriptor_ = detail::Descriptor(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (descriptor_ && ::connect(descriptor_.get(), address, size) == 0) return 0;
  const int error = errno;
  descriptor_.reset();
  return error;
}

int Socket::attempt(std::string_view datagram) noexcept {
  if (!descriptor_) {
    const int error = connect(AF_UNIX, reinterpret_cast<const sockaddr*>(&path_), sizeof path_);
    if (error != 0) return error;
  }
  while (::send(descriptor_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace quipu::statsd

#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <stdexcept>

/// Binds a UDP socket to a port of 127.0.0.1 that the system chooses. Returns the port. Throws std::runtime_error.
inline std::uint16_t bind_to_any_port(int socket) {
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof own;
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&own), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) != 0) {
    throw std::runtime_error("no UDP socket");
  }
  return ntohs(own.sin_port);
}

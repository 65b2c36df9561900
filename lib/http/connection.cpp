#include "http/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "base/address.hpp"

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

constexpr auto response_time = 30s;    // from its first byte to its last; scrapers give up after 10 s by default
constexpr auto stopping_time = 300ms;  // what is left of it after stop()

}  // namespace

Outgoing::Progress send_some(Connection& connection) noexcept {
  const auto progress = connection.outgoing.send_some(connection.socket.get());
  const std::size_t sent = connection.outgoing.sent();
  if (progress == Outgoing::Progress::done || sent - connection.progress_sent >= progress_bytes) {
    connection.last_progress = Clock::now();
    connection.progress_sent = sent;
  }
  return progress;
}

void limit_unsent([[maybe_unused]] const Connection& connection) noexcept {
#ifdef TCP_NOTSENT_LOWAT
  constexpr int bytes = 64 * 1024;
  ::setsockopt(connection.socket.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
#endif
}

void reset_at_close(const Connection& connection, bool resets) noexcept {
  const linger discard{.l_onoff = resets ? 1 : 0, .l_linger = 0};
  ::setsockopt(connection.socket.get(), SOL_SOCKET, SO_LINGER, &discard, sizeof discard);
}

void abort_connection(Connection& connection) noexcept {
  reset_at_close(connection, true);
  connection.socket.reset();
  connection.outgoing = {};
  connection.rest.reset();
}

void close_connection(Connection& connection) noexcept {
  if (!connection.is_sent) return abort_connection(connection);
  connection.socket.reset();
}

bool is_loopback_peer(const Connection& connection) noexcept {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  return ::getpeername(connection.socket.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
         detail::is_loopback(peer);
}

Clock::time_point response_deadline(Clock::time_point started_at, std::optional<Clock::time_point> stopped_at) {
  const auto end = started_at + response_time;
  return stopped_at ? std::min(end, std::max(started_at, *stopped_at) + stopping_time) : end;
}

}  // namespace quipu::http

#include "http/client_watch.hpp"

#include <algorithm>
#include <chrono>

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

constexpr auto end_time = 1s;  // from the end of a client's side to that of its request

// Where there is none, a client that ends its side is noticed when something is sent to it.
#ifdef POLLRDHUP
constexpr short peer_end = POLLRDHUP;
#else
constexpr short peer_end = 0;
#endif

}  // namespace

void ClientWatch::remove(const std::stop_source& gone) noexcept {
  std::erase_if(clients_, [&gone](const Client& client) { return client.gone == gone; });
}

void ClientWatch::stop_all() noexcept {
  for (const Client& client : clients_) client.gone.request_stop();
  clients_.clear();
}

Clock::time_point ClientWatch::poll_into(std::vector<pollfd>& polled) const {
  auto until = Clock::time_point::max();
  for (const Client& client : clients_) {
    // A reset is reported without being asked for.
    polled.push_back({client.socket, client.ended_at ? short{0} : peer_end, 0});
    if (client.ended_at) until = std::min(until, *client.ended_at + end_time);
  }
  return until;
}

void ClientWatch::take(std::span<const pollfd> polled) noexcept {
  const auto now = Clock::now();
  for (std::size_t i = 0; i < polled.size(); ++i) {
    Client& client = clients_[i];
    const short events = polled[i].revents;
    if ((events & peer_end) != 0 && !client.ended_at) client.ended_at = now;
    const bool is_reset = (events & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    if (is_reset || (client.ended_at && now - *client.ended_at >= end_time)) client.gone.request_stop();
  }
  std::erase_if(clients_, [](const Client& client) { return client.gone.stop_requested(); });
}

}  // namespace quipu::http

#pragma once

#include <poll.h>

#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "http/request.hpp"

namespace quipu::http {

/// Notices that clients go away while workers make their responses, and asks the workers to stop.
///
/// A client that has reset the connection has gone. One that has only ended its side may still wait for the response,
/// or may have closed the socket: the two look alike until something is sent. It is taken to have gone after a second.
///
/// Thread-compatible: for the event loop. The sockets belong to the workers meanwhile. A worker may close one a moment
/// before the event loop takes the connection back, so nothing but poll() is done with them, and what it says of
/// another file of that number does no harm: the request is over.
class ClientWatch {
 public:
  explicit ClientWatch(std::size_t most_clients) { clients_.reserve(most_clients); }

  /// Begins to watch the client of a request. Does not allocate for up to `most_clients`.
  void add(int socket, const std::stop_source& gone) { clients_.push_back({socket, gone}); }
  /// Ends it, if it had begun.
  void remove(const std::stop_source& gone) noexcept;
  /// Asks for all requests to stop.
  void stop_all() noexcept;

  /// Adds what poll() is to wait for, and returns the time at which it is to return at the latest.
  [[nodiscard]] Clock::time_point poll_into(std::vector<pollfd>& polled) const;
  /// Takes what poll() has found for the entries that were added.
  void take(std::span<const pollfd> polled) noexcept;

 private:
  struct Client {
    int socket;
    std::stop_source gone;
    std::optional<Clock::time_point> ended_at{};  // when it ended its side
  };

  std::vector<Client> clients_;
};

}  // namespace quipu::http

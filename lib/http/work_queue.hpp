#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "http/connection.hpp"
#include "http/request.hpp"
#include "http/wake_pipe.hpp"

namespace quipu::http {

/// Passes connections between the event loop and the workers. The event loop submits a connection whose client waits
/// for a response, or for more of one. A worker completes it: it is then sent, or waits until its client takes more, or
/// its socket is closed, or it has not started because its page is too long for a trial. Thread-safe.
///
/// Responses that have started take turns with each other, and with requests: while both wait, every fourth turn is
/// that of a response. So a short page waits for no more than a turn of a long one, and requests, however many, do not
/// keep a long page from its end.
class WorkQueue {
 public:
  explicit WorkQueue(const WakePipe& wake_pipe) : wake_pipe_(wake_pipe) {}

  // For the event loop.

  struct Completions {
    Connections returned{};
    Connections expired{};  // requests that no worker has taken before their deadline
    Clock::time_point next_deadline = Clock::time_point::max();
    std::optional<Clock::time_point> stopped_at{};
  };
  [[nodiscard]] Completions collect() noexcept;
  void submit(Connections& from, ConnectionIterator connection) noexcept;
  /// Ends the workers when the queue is empty. Nothing may be submitted after this. What workers complete from now on
  /// they also close.
  void close() noexcept;

  // For the workers.

  /// Waits for work, and moves it into the empty `batch`: one connection whose response has started, or requests that
  /// can share a page. False when the queue is closed and empty.
  [[nodiscard]] bool take(Connections& batch) noexcept;
  /// Puts all but the first connection back, because their page turned out too long to be shared.
  void release_all_but_first(Connections& batch) noexcept;
  /// Returns the batch to the event loop. A connection whose next piece is due gets another turn instead.
  void complete(Connections& batch) noexcept;
  [[nodiscard]] bool has_waiting() noexcept;
  [[nodiscard]] std::optional<Clock::time_point> stopped_at() noexcept;

  // For the server.

  /// No response starts after this.
  void stop() noexcept;

 private:
  void cancel(Connections& from, ConnectionIterator connection) noexcept;
  [[nodiscard]] bool is_empty() const noexcept { return requests_.empty() && started_.empty(); }

  const WakePipe& wake_pipe_;
  std::mutex mutex_;
  std::condition_variable changed_;  // it is not empty, or is_closed_
  Connections requests_;             // for a worker that starts the response
  Connections started_;              // for a worker that makes more of the response
  Connections returned_;             // for the event loop
  int requests_in_turn_ = 0;         // since the last turn of a started response
  std::optional<Clock::time_point> stopped_at_;
  bool is_closed_ = false;
};

}  // namespace quipu::http

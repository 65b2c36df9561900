#pragma once

#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/descriptor.hpp"
#include "http/request.hpp"
#include "http/response.hpp"
#include "quipu/exposition.hpp"

namespace quipu::http {

/// One client's connection. It is always in exactly one list, and belongs to the thread that has the list.
struct Connection {
  Descriptor socket;
  Clock::time_point deadline;  // for what the reception waits for now
  std::string received{};      // of the next head, and what came after it
  std::size_t lingered = 0;    // bytes that came after the last answer
  bool is_ready = false;

  // From a whole head to the last byte of its answer.
  Request request{};
  bool has_begun = false;     // to be answered
  bool is_answered = false;   // to the last byte
  Clock::time_point begun{};  // when it was
  Clock::time_point taken{};  // when the client took some of the answer, or could first have
  Outgoing outgoing{};
  std::unique_ptr<PageStream> rest{};  // of a page that is sent while it is made
};
using Connections = std::list<Connection>;

/// Sends what the kernel takes at once.
[[nodiscard]] Outgoing::Progress send_some(Connection& connection) noexcept;

/// Closes the connection so that the client sees that its answer is not whole. What the kernel still has of it is
/// forgotten.
void break_off(Connection& connection) noexcept;

/// When an answer that was begun at `begun` has to be with its client. After stop() it gets a moment.
[[nodiscard]] Clock::time_point end_of_answer(Clock::time_point begun, std::optional<Clock::time_point> stopped_at);

/// A byte in it wakes the reception.
class WakePipe {
 public:
  /// Throws std::system_error.
  void open();
  void wake() const noexcept;
  void drain() const noexcept;
  [[nodiscard]] int reader() const noexcept { return reader_.get(); }

 private:
  Descriptor reader_;
  Descriptor writer_;
};

/// Where the reception leaves connections whose clients wait for (more of) an answer, and gets them back from the
/// workers. What comes back is answered, or waits until its client takes more, or has its socket closed. Thread-safe.
class Desk {
 public:
  explicit Desk(const WakePipe& wake_pipe) : wake_pipe_(wake_pipe) {}

  // For the reception.

  struct Tidings {
    Connections back{};
    Connections late{};  // no worker came before their deadline
    Clock::time_point next_deadline = Clock::time_point::max();
    std::optional<Clock::time_point> stopped_at{};
  };
  [[nodiscard]] Tidings collect() noexcept;
  void hand_over(Connections& from, Connections::iterator place) noexcept;
  /// Lets the workers go, once nothing is to come any more.
  void close() noexcept;

  // For the workers.

  /// Waits for a connection to go on with, or for requests that can have the same page, into the empty `at_hand`. False
  /// when there is no more to do.
  [[nodiscard]] bool take(Connections& at_hand) noexcept;
  /// Leaves all but the first to whoever is free: it turned out that they cannot share.
  void separate(Connections& at_hand) noexcept;
  void hand_back(Connections& at_hand) noexcept;
  [[nodiscard]] std::optional<Clock::time_point> stopped_at() noexcept;

  // For the server.

  /// From now on no answer is begun.
  void stop() noexcept;

 private:
  void refuse(Connections& from, Connections::iterator place) noexcept;

  const WakePipe& wake_pipe_;
  std::mutex mutex_;
  std::condition_variable changed_;  // something is in waiting_, or is_closed_
  Connections waiting_;              // for a worker
  Connections back_;
  std::optional<Clock::time_point> stopped_at_;
  bool is_closed_ = false;
};

}  // namespace quipu::http

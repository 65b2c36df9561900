#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "http/admission.hpp"
#include "http/client_watch.hpp"
#include "http/connection.hpp"
#include "http/peers.hpp"
#include "http/request.hpp"
#include "http/server_config.hpp"
#include "http/wake_pipe.hpp"
#include "http/work_queue.hpp"

namespace quipu::http {

/// The only thread that waits for sockets. It accepts connections, reads request heads, waits until slow clients take
/// more of their responses, and closes connections. It waits for all sockets at once, so no client delays another one.
/// Each list except `sending` is in the order in which connections were added.
class EventLoop {
 public:
  struct Queues {
    WorkQueue& pages;
    WorkQueue& routes;
    WorkQueue& prompt;
  };

  /// `peers` outlives the connections that are left to workers.
  EventLoop(int listener, const ServerConfig& config, Peers& peers, const WakePipe& wake_pipe, const Queues& queues);

  /// Returns after stop() of the work queues, when the responses that had started by then are sent or aborted. What the
  /// workers do not give back in time is left to them.
  void run() noexcept;

 private:
  /// Requests from their complete head to the end of their response: those for pages, those for routes that may wait,
  /// or prompt ones, whose responses wait for nothing. Each class has its own permits and workers. So routes never wait
  /// for pages, and prompt requests for neither.
  struct RequestClass {
    WorkQueue& queue;
    Admission admission;
  };

  /// For a new connection.
  struct Room {
    Clock::time_point at;
    ConnectionIterator gives_way;
  };

  [[nodiscard]] bool is_stopping() const noexcept { return stopped_at_.has_value(); }
  static void close_beyond(std::size_t limit, Connections& connections) noexcept;
  static void close_expired(Connections& connections) noexcept;
  void for_each_ready(Connections& connections, void (EventLoop::*step)(ConnectionIterator)) noexcept;

  [[nodiscard]] std::array<RequestClass*, 3> classes() noexcept { return {&pages_, &routed_, &prompt_}; }
  [[nodiscard]] RequestClass& class_of(const Connection& connection) noexcept;
  bool collect_completions() noexcept;
  void collect_completions(RequestClass& request_class) noexcept;
  void admit(RequestClass& request_class) noexcept;
  void wait() noexcept;

  [[nodiscard]] Room room() noexcept;
  void accept_some() noexcept;
  void relieve_shortage() noexcept;
  void resume_idle(ConnectionIterator connection) noexcept;
  void read_some(ConnectionIterator connection) noexcept;
  void try_parse_head(ConnectionIterator connection, std::size_t searched);
  void reject_busy(Connections& from, ConnectionIterator connection) noexcept;
  void continue_sending(ConnectionIterator connection) noexcept;
  void drop(ConnectionIterator sending) noexcept;
  void finish(Connections& from, ConnectionIterator connection) noexcept;
  void start_lingering(Connections& from, ConnectionIterator connection) noexcept;
  void linger_some(ConnectionIterator connection) noexcept;

  const int listener_;
  const ServerConfig& config_;
  const WakePipe& wake_pipe_;
  std::optional<Clock::time_point> stopped_at_;
  bool can_accept_ = false;
  Clock::time_point accept_again_ = Clock::time_point::min();  // after a shortage
  Clock::time_point queue_deadline_ = Clock::time_point::max();

  Peers& peers_;
  ResponseBytes response_bytes_;
  Connections reading_;    // the request head is incomplete
  Connections idle_;       // between a response and the next request
  Connections lingering_;  // the last response is sent
  RequestClass pages_;
  RequestClass routed_;
  RequestClass prompt_;
  ClientWatch client_watch_;  // of the requests in the queues for pages and routes
  std::vector<pollfd> polled_;
};

}  // namespace quipu::http

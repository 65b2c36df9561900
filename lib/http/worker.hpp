#pragma once

#include <memory>

#include "http/connection.hpp"
#include "http/request.hpp"
#include "http/response.hpp"
#include "http/server_config.hpp"
#include "http/work_queue.hpp"
#include "quipu/exposition.hpp"

namespace quipu::http {

/// Makes responses, and sends them while the clients take them. It never waits for a client: when a socket would block,
/// the connection returns to the event loop with the rest of its response. So a page is sent while it is made and takes
/// the memory of one piece. A long page is sent in turns of milliseconds, between which other connections have theirs.
class Worker {
 public:
  Worker(const ServerConfig& config, WorkQueue& queue) : config_(config), queue_(queue) {}

  /// Returns when the queue is closed.
  void run() noexcept;

 private:
  void respond(Connections& batch) noexcept;
  void respond_by_route(Connection& connection);
  void respond_with_page(Connections& batch);
  void start_response(Connection& connection, Outgoing::Parts parts,
                      std::unique_ptr<PageStream> rest = nullptr) noexcept;
  void continue_sending(Connection& connection) noexcept;

  const ServerConfig& config_;
  WorkQueue& queue_;
};

}  // namespace quipu::http

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http/request.hpp"
#include "http/work_queue.hpp"
#include "quipu/exposition.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// What there is to see. The same for every worker.
struct Site {
  PageSource source;
  std::string path;
  bool gzip = false;
  std::vector<Route> routes;
};

/// Makes answers and sends them for as long as their clients take them. It never waits for a client: one that takes no
/// more for now goes back to the reception with what is left, and comes again when it is worth it. So a page goes out
/// while it is made, to a client that keeps up without a handover, and takes the memory of a piece.
class Worker {
 public:
  Worker(const Site& site, Desk& desk) : site_(site), desk_(desk) {}

  /// Until the desk is closed.
  void run() noexcept;

 private:
  void answer(Connections& at_hand) noexcept;
  void answer_with_page(Connections& at_hand);
  void begin(Connection& connection, Outgoing::Parts parts, std::unique_ptr<PageStream> rest = nullptr) noexcept;
  void go_on(Connection& connection) noexcept;

  const Site& site_;
  Desk& desk_;
};

}  // namespace quipu::http

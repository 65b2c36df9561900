#pragma once

#include <poll.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "http_desk.hpp"

namespace quipu::http {

/// The thread that waits for sockets: lets clients in, reads their heads, watches for those that take no more of their
/// answers for now, and sees them off. It never waits for one client alone. Each list but `sending_` is in order of
/// arrival there.
class Reception {
 public:
  Reception(int listener, std::size_t max_scrapes, const WakePipe& wake_pipe, Desk& desk);

  /// Until the desk says to stop, and the answers that were begun by then are dealt with.
  void run() noexcept;

 private:
  using Place = Connections::iterator;

  [[nodiscard]] bool is_stopping() const noexcept { return stopped_at_.has_value(); }
  static void keep(std::size_t limit, Connections& connections) noexcept;
  static void remove_late(Connections& connections) noexcept;
  void for_each_ready(Connections& connections, void (Reception::*step)(Place)) noexcept;

  bool exchange() noexcept;
  void admit() noexcept;
  [[nodiscard]] bool has_place() noexcept;
  [[nodiscard]] Place longest_stalled() noexcept;
  void wait() noexcept;

  void accept_some() noexcept;
  void relieve_scarcity() noexcept;
  void wake_up(Place place) noexcept;
  void read_some(Place place) noexcept;
  void look_for_head(Place place, std::size_t searched);
  void turn_away(Connections& from, Place place) noexcept;
  void go_on_sending(Place place) noexcept;
  void drop(Place sending) noexcept;
  void finish(Connections& from, Place place) noexcept;
  void start_lingering(Connections& from, Place place) noexcept;
  void linger_some(Place place) noexcept;

  const int listener_;
  const std::size_t max_scrapes_;
  const WakePipe& wake_pipe_;
  Desk& desk_;
  std::optional<Clock::time_point> stopped_at_;
  bool has_newcomers_ = false;
  Clock::time_point accept_again_ = Clock::time_point::min();
  Clock::time_point desk_deadline_ = Clock::time_point::max();
  std::size_t scrapes_ = 0;  // at the desk, with the workers, and in sending_

  Connections reading_;    // sent no whole head yet
  Connections idle_;       // answered, and free to ask again
  Connections asking_;     // sent a head, and found every place for scrapes taken
  Connections sending_;    // take no more of their answers for now
  Connections lingering_;  // answered, and to be closed
  std::vector<pollfd> polled_;
};

}  // namespace quipu::http

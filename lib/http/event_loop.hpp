#pragma once

#include <poll.h>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "http/work_queue.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// The thread that waits for sockets: lets clients in, reads their heads, watches for those that take no more of their
/// answers for now, and sees them off. It never waits for one client alone. Each list but `sending` is in order of
/// arrival there.
class Reception {
 public:
  Reception(int listener, std::span<const Route> routes, std::size_t max_scrapes, const WakePipe& wake_pipe,
            Desk& page_desk, Desk& route_desk);

  /// Until the desks say to stop, and the answers that were begun by then are dealt with.
  void run() noexcept;

 private:
  using Place = Connections::iterator;

  /// Requests of one kind, for pages or for routes, from their whole head to the end of their answer. Those of one kind
  /// never wait for a place that the other kind has.
  struct Service {
    Desk& desk;
    const std::size_t places;
    std::size_t taken = 0;  // by those at the desk, with the workers, and in `sending`
    Connections asking{};   // found every place taken
    Connections sending{};  // take no more of their answers for now
  };

  [[nodiscard]] bool is_stopping() const noexcept { return stopped_at_.has_value(); }
  static void keep(std::size_t limit, Connections& connections) noexcept;
  static void remove_late(Connections& connections) noexcept;
  void for_each_ready(Connections& connections, void (Reception::*step)(Place)) noexcept;

  [[nodiscard]] Service& service_of(const Connection& connection) noexcept;
  bool exchange() noexcept;
  void exchange(Service& service) noexcept;
  void admit(Service& service) noexcept;
  [[nodiscard]] bool has_place(Service& service) noexcept;
  [[nodiscard]] static Place longest_stalled(Service& service) noexcept;
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
  const std::span<const Route> routes_;
  const WakePipe& wake_pipe_;
  std::optional<Clock::time_point> stopped_at_;
  bool has_newcomers_ = false;
  Clock::time_point accept_again_ = Clock::time_point::min();
  Clock::time_point desk_deadline_ = Clock::time_point::max();

  Connections reading_;    // sent no whole head yet
  Connections idle_;       // answered, and free to ask again
  Connections lingering_;  // answered, and to be closed
  Service page_service_;
  Service route_service_;
  std::vector<pollfd> polled_;
};

}  // namespace quipu::http

#pragma once

#include <cstddef>

#include "http/connection.hpp"

namespace quipu::http {

/// The bytes that responses may hold, and those that they do hold.
struct ResponseBytes {
  const std::size_t limit;
  std::size_t held = 0;
};

/// The requests of one class, such as those for pages, from their complete head to the end of their response: which of
/// them is served next, and which response gives way to it. It uses no socket. Thread-compatible.
///
/// A request needs room for its bytes, and a permit. It waits permit_time for them. A page is first made without a
/// permit, if none is left, because a short one needs none: trials find that out, a few at a time. So a short page does
/// not wait for long ones. A trial for a long page is wasted, so in a crowd a response gives way first, if one has to.
/// The number of responses without a permit is limited, because clients that do not take them keep their connections.
///
/// Of the requests that wait, the next one is of the peer that has the fewest permits, and of these the oldest.
///
/// A response gives way when its client has made no progress for preemption_time. The more requests wait, the shorter
/// this time becomes, so that all of them have had a permit after about preemption_time. It does not become shorter for
/// a client that has made progress before, or whose peer has fewer permits than that of the request. A response of a
/// peer that has more than its share gives way to a request of another peer, even if its client makes progress. The
/// first to go is of the peer that has the most permits, and of these the one that has made no progress at all, or none
/// for longest.
class Admission {
 public:
  struct Limits {
    std::size_t permits;
    std::size_t trials;          // at a time
    std::size_t without_permit;  // the most responses in progress that have none: trials, and short pages
    std::size_t reserve;         // the least that a response counts for until its page is complete
    bool is_independent;         // bytes of others than its own responses do not count
  };
  Admission(Limits limits, ResponseBytes& bytes) : limits_(limits), bytes_(bytes) {}

  /// Adds a request that waits for its turn.
  void add(Connections& from, ConnectionIterator request, Clock::time_point now) noexcept;
  /// A request in `waiting` that a worker is to make the response for; it is in progress from now on. Otherwise the
  /// end.
  [[nodiscard]] ConnectionIterator start_next(Clock::time_point now) noexcept;
  /// The response in `sending` that has to give way to a request. Otherwise the end.
  [[nodiscard]] ConnectionIterator next_to_give_way(Clock::time_point now) noexcept;
  /// When that can change without an event.
  [[nodiscard]] Clock::time_point next_change() noexcept;

  /// A worker has returned a started response, whose client has to take some of it.
  void keep_sending(Connections& from, ConnectionIterator response) noexcept;
  /// A worker has returned a request whose page is too long for a trial. It waits again, as long as it would have.
  void wait_for_permit(Connections& from, ConnectionIterator request) noexcept;
  /// The request is no longer in progress.
  void end(Connection& connection) noexcept;

  [[nodiscard]] std::size_t in_progress() const noexcept { return in_progress_; }
  /// Whether so many are in progress that others will have to wait.
  [[nodiscard]] bool is_busy() const noexcept { return 2 * in_progress_ > limits_.permits; }

  Connections waiting{};  // in the order of their deadlines
  Connections sending{};  // until their clients take more of the response

 private:
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] bool is_full() const noexcept { return in_progress_ - permits_used_ >= limits_.without_permit; }
  [[nodiscard]] bool is_crowded() const noexcept { return waiting.size() > limits_.permits; }
  template <class Condition>
  [[nodiscard]] ConnectionIterator next_in_turn(Condition condition) noexcept;
  [[nodiscard]] ConnectionIterator next_for_permit() noexcept;
  [[nodiscard]] Clock::time_point gives_way_at(const Connection& response, const Connection& request) const noexcept;
  void set_charge(Connection& connection, std::size_t bytes) noexcept;

  const Limits limits_;
  ResponseBytes& bytes_;
  std::size_t held_ = 0;         // of `bytes_`, by these responses
  std::size_t in_progress_ = 0;  // in the queue, at a worker, or in `sending`
  std::size_t permits_used_ = 0;
  std::size_t trials_ = 0;
};

/// Of the peer that has the most connections in the list, the first one. The end if the list is empty.
[[nodiscard]] ConnectionIterator first_of_largest_peer(Connections& connections) noexcept;

}  // namespace quipu::http

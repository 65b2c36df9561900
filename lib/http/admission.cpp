#include "http/admission.hpp"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

constexpr auto permit_time = 1s;
constexpr auto preemption_time = 100ms;
// A client that reads may have to wait so long for a processor.
constexpr auto min_preemption_time = 5ms;

}  // namespace

void Admission::add(Connections& from, ConnectionIterator request, Clock::time_point now) noexcept {
  request->deadline = now + permit_time;
  waiting.splice(waiting.end(), from, request);
}

bool Admission::has_room() const noexcept {
  // One response may always be made, even if it does not fit.
  if (in_progress_ == 0) return true;
  return (limits_.is_independent ? held_ : bytes_.held) + limits_.reserve <= bytes_.limit;
}

template <class Condition>
ConnectionIterator Admission::next_in_turn(Condition condition) noexcept {
  auto next = waiting.end();
  for (auto request = waiting.begin(); request != waiting.end(); ++request) {
    if (!condition(*request)) continue;
    if (next == waiting.end() || request->peer->permits < next->peer->permits) next = request;
  }
  return next;
}

ConnectionIterator Admission::start_next(Clock::time_point now) noexcept {
  if (!has_room()) return waiting.end();
  const bool has_permit = permits_used_ < limits_.permits;
  if (!has_permit) {
    if (trials_ >= limits_.trials || is_full()) return waiting.end();
    if (is_crowded() && next_to_give_way(now) != sending.end()) return waiting.end();
  }
  const auto next = next_in_turn([&](const Connection& request) { return has_permit || !request.needs_permit; });
  if (next == waiting.end()) return next;
  ++in_progress_;
  set_charge(*next, limits_.reserve);
  if (has_permit) {
    next->has_permit = true;
    ++permits_used_;
    ++next->peer->permits;
    next->deadline = next->request.deadline;
  } else {
    next->is_trial = true;
    ++trials_;
  }
  return next;
}

/// The next request that a response has to give way to.
ConnectionIterator Admission::next_for_permit() noexcept {
  const bool any = is_crowded() || is_full() || !has_room();
  return next_in_turn([any](const Connection& request) { return any || request.needs_permit; });
}

/// The time at which `response` has to give way to `request`.
Clock::time_point Admission::gives_way_at(const Connection& response, const Connection& request) const noexcept {
  const std::size_t its_permits = response.peer->permits;
  const std::size_t permits_of_request = request.peer->permits;
  auto patience = std::chrono::duration_cast<Clock::duration>(preemption_time);
  if (!response.is_read && its_permits >= permits_of_request) {
    const auto shorter = patience * limits_.permits / (limits_.permits + waiting.size());
    patience = std::max<Clock::duration>(shorter, min_preemption_time);
  }
  const auto at = response.last_progress + patience;
  if (its_permits <= permits_of_request + 1) return at;
  return std::min(at, request.deadline - permit_time + preemption_time);
}

ConnectionIterator Admission::next_to_give_way(Clock::time_point now) noexcept {
  if (sending.empty()) return sending.end();
  const auto request = next_for_permit();
  if (request == waiting.end()) return sending.end();
  auto found = sending.end();
  for (auto response = sending.begin(); response != sending.end(); ++response) {
    if (gives_way_at(*response, *request) > now) continue;
    const auto rank = [](const Connection& connection) {
      return std::tuple(connection.peer->permits, !connection.is_read, -connection.last_progress.time_since_epoch());
    };
    if (found == sending.end() || rank(*response) > rank(*found)) found = response;
  }
  return found;
}

Clock::time_point Admission::next_change() noexcept {
  auto next = Clock::time_point::max();
  if (waiting.empty()) return next;
  next = waiting.front().deadline;
  if (sending.empty()) return next;
  const auto request = next_for_permit();
  if (request == waiting.end()) return next;
  for (const Connection& response : sending) next = std::min(next, gives_way_at(response, *request));
  return next;
}

void Admission::keep_sending(Connections& from, ConnectionIterator response) noexcept {
  if (std::exchange(response->is_trial, false)) --trials_;
  const std::size_t held = response->outgoing.size();
  set_charge(*response, response->rest ? std::max(held, limits_.reserve) : held);
  sending.splice(sending.end(), from, response);
}

void Admission::wait_for_permit(Connections& from, ConnectionIterator request) noexcept {
  end(*request);
  request->needs_permit = true;
  const auto next = std::find_if(waiting.begin(), waiting.end(),
                                 [&](const Connection& other) { return other.deadline >= request->deadline; });
  waiting.splice(next, from, request);
}

void Admission::end(Connection& connection) noexcept {
  --in_progress_;
  set_charge(connection, 0);
  if (std::exchange(connection.is_trial, false)) --trials_;
  if (std::exchange(connection.has_permit, false)) {
    --permits_used_;
    --connection.peer->permits;
  }
}

void Admission::set_charge(Connection& connection, std::size_t bytes) noexcept {
  held_ += bytes - connection.charge;
  bytes_.held += bytes - connection.charge;
  connection.charge = bytes;
}

ConnectionIterator first_of_largest_peer(Connections& connections) noexcept {
  for (Connection& connection : connections) connection.peer->listed = 0;
  for (Connection& connection : connections) ++connection.peer->listed;
  return std::max_element(connections.begin(), connections.end(), [](const Connection& one, const Connection& other) {
    return one.peer->listed < other.peer->listed;
  });
}

}  // namespace quipu::http

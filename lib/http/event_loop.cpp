#include "http/event_loop.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <new>
#include <string_view>
#include <utility>

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

// Every connection costs a descriptor, and one that is being answered some memory, so each place where connections can
// be has a limit. To most of them a newcomer is always let in, and the connection that has been there longest is
// closed: a scraper passes in milliseconds, so that is one that only waits.
constexpr std::size_t max_reading = 256;
constexpr std::size_t max_idle = 256;
constexpr std::size_t max_lingering = 64;
// Answers of routes are short, and one is made after another.
constexpr std::size_t max_routed = 16;
// Here it is the newcomer that is turned away.
constexpr std::size_t max_asking = 64;
constexpr int accepted_at_once = 64;  // before the others get their turn

// A client that goes on sending after its last request is listened to for this long and this much, so that closing does
// not reset the connection before the client has read the answer.
constexpr auto linger_time = 500ms;
constexpr std::size_t max_linger_bytes = std::size_t{256} * 1024;

constexpr auto head_time = 2s;         // for the whole head, so a client that trickles does not get more
constexpr auto idle_time = 5min;       // from an answer to the next request: longer than the usual scrape intervals
constexpr auto stall_time = 5s;        // for the client to take some more of the answer
constexpr auto scarcity_pause = 50ms;  // before the next accept() when the process is out of descriptors or memory
// A client that has taken nothing for this long loses its place when another one needs it; and that one waits for a
// place a little longer, so that a crowd of those that do not read cannot shut it out.
constexpr auto giving_way_time = 100ms;
constexpr auto asking_time = 150ms;

bool is_for_later(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Reception::Reception(int listener, std::span<const Route> routes, std::size_t max_scrapes, const WakePipe& wake_pipe,
                     Desk& page_desk, Desk& route_desk)
    : listener_(listener),
      routes_(routes),
      wake_pipe_(wake_pipe),
      page_service_{.desk = page_desk, .places = max_scrapes},
      route_service_{.desk = route_desk, .places = max_routed} {
  polled_.reserve(2 + max_reading + max_idle + max_scrapes + max_routed + max_lingering);
}

void Reception::run() noexcept {
  while (exchange()) {
    for (Service* const service : {&page_service_, &route_service_}) admit(*service);
    keep(max_reading, reading_);
    keep(max_idle, idle_);
    keep(max_lingering, lingering_);
    wait();
    wake_pipe_.drain();
    for_each_ready(idle_, &Reception::wake_up);
    for_each_ready(reading_, &Reception::read_some);
    for_each_ready(page_service_.sending, &Reception::go_on_sending);
    for_each_ready(route_service_.sending, &Reception::go_on_sending);
    for_each_ready(lingering_, &Reception::linger_some);
    if (has_newcomers_) accept_some();
    remove_late(reading_);
    remove_late(idle_);
    remove_late(lingering_);
    for (Service* const service : {&page_service_, &route_service_}) {
      for (auto next = service->sending.begin(); next != service->sending.end();) {
        const auto place = next++;
        if (place->deadline <= Clock::now()) drop(place);
      }
    }
  }
  page_service_.desk.close();
  route_service_.desk.close();
}

void Reception::keep(std::size_t limit, Connections& connections) noexcept {
  while (connections.size() > limit) connections.pop_front();
}

void Reception::remove_late(Connections& connections) noexcept {
  connections.remove_if([now = Clock::now()](const Connection& connection) { return connection.deadline <= now; });
}

/// The steps may move the connection to the end of any list, or close it.
void Reception::for_each_ready(Connections& connections, void (Reception::*step)(Place)) noexcept {
  for (auto next = connections.begin(); next != connections.end();) {
    const auto place = next++;
    if (std::exchange(place->is_ready, false)) (this->*step)(place);
  }
}

Reception::Service& Reception::service_of(const Connection& connection) noexcept {
  return connection.request.route == nullptr ? page_service_ : route_service_;
}

/// Takes what the workers are done with, for now, off the desks. False when the work is over.
bool Reception::exchange() noexcept {
  desk_deadline_ = Clock::time_point::max();
  exchange(page_service_);
  exchange(route_service_);
  if (is_stopping()) {
    reading_.clear();
    idle_.clear();
    page_service_.asking.clear();
    route_service_.asking.clear();
    lingering_.clear();
  }
  return !is_stopping() || page_service_.taken + route_service_.taken > 0;
}

void Reception::exchange(Service& service) noexcept {
  Desk::Tidings tidings = service.desk.collect();
  if (tidings.stopped_at) stopped_at_ = tidings.stopped_at;
  desk_deadline_ = std::min(desk_deadline_, tidings.next_deadline);
  while (!tidings.late.empty()) {
    --service.taken;
    turn_away(tidings.late, tidings.late.begin());
  }
  while (!tidings.back.empty()) {
    const auto place = tidings.back.begin();
    if (!place->socket) {
      --service.taken;
      tidings.back.erase(place);
    } else if (place->is_answered) {
      --service.taken;
      finish(tidings.back, place);
    } else {
      place->deadline = place->taken + stall_time;
      service.sending.splice(service.sending.end(), tidings.back, place);
    }
  }
  for (Connection& connection : service.sending) {
    connection.deadline = std::min(connection.deadline, end_of_answer(connection.begun, stopped_at_));
  }
}

/// Lets in as many of those that ask as there are places for, and sends away those that have waited for one long
/// enough.
void Reception::admit(Service& service) noexcept {
  Connections& asking = service.asking;
  while (!asking.empty() && has_place(service)) {
    ++service.taken;
    desk_deadline_ = std::min(desk_deadline_, asking.front().request.deadline);
    service.desk.hand_over(asking, asking.begin());
  }
  while (!asking.empty() && (asking.size() > max_asking || asking.front().deadline <= Clock::now())) {
    turn_away(asking, asking.size() > max_asking ? std::prev(asking.end()) : asking.begin());
  }
}

bool Reception::has_place(Service& service) noexcept {
  if (service.taken < service.places) return true;
  const auto stalled = longest_stalled(service);
  if (stalled == service.sending.end() || Clock::now() - stalled->taken < giving_way_time) return false;
  drop(stalled);
  return true;
}

Reception::Place Reception::longest_stalled(Service& service) noexcept {
  return std::min_element(service.sending.begin(), service.sending.end(),
                          [](const Connection& one, const Connection& other) { return one.taken < other.taken; });
}

void Reception::wait() noexcept {
  const auto now = Clock::now();
  auto until = std::min(now + 1min, desk_deadline_);
  const bool is_accepting = !is_stopping() && accept_again_ <= now;
  if (!is_stopping() && !is_accepting) until = std::min(until, accept_again_);
  for (Service* const service : {&page_service_, &route_service_}) {
    if (service->asking.empty()) continue;
    until = std::min(until, service->asking.front().deadline);
    const auto stalled = longest_stalled(*service);
    if (stalled != service->sending.end()) until = std::min(until, stalled->taken + giving_way_time);
  }
  polled_.clear();
  polled_.push_back({wake_pipe_.reader(), POLLIN, 0});
  polled_.push_back({is_accepting ? listener_ : -1, POLLIN, 0});
  const auto poll_all = [&](const Connections& connections, short events) {
    for (const Connection& connection : connections) {
      polled_.push_back({connection.socket.get(), events, 0});
      until = std::min(until, connection.deadline);
    }
  };
  poll_all(idle_, POLLIN);
  poll_all(reading_, POLLIN);
  poll_all(page_service_.sending, POLLOUT);
  poll_all(route_service_.sending, POLLOUT);
  poll_all(lingering_, POLLIN);
  // When poll() fails, nothing is ready.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  ::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), static_cast<int>(std::max<long long>(left, 0)));

  auto result = polled_.begin() + 1;
  has_newcomers_ = (result++)->revents != 0;
  for (Connections* const connections :
       {&idle_, &reading_, &page_service_.sending, &route_service_.sending, &lingering_}) {
    for (Connection& connection : *connections) connection.is_ready = (result++)->revents != 0;
  }
}

void Reception::accept_some() noexcept {
  for (int i = 0; i < accepted_at_once; ++i) {
    Descriptor socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) relieve_scarcity();
      return;  // other errors: nobody is left, or the client gave up
    }
    // Without this, the end of an answer may wait for the client's delayed acknowledgement. A refusal is harmless.
    constexpr int yes = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    try {
      reading_.push_back({.socket = std::move(socket), .deadline = Clock::now() + head_time});
    } catch (const std::bad_alloc&) {
      return relieve_scarcity();
    }
    // Its head may be there already; a crowd that comes now shall not push it out unread.
    read_some(std::prev(reading_.end()));
    keep(max_reading, reading_);
  }
}

void Reception::relieve_scarcity() noexcept {
  if (!idle_.empty()) {
    idle_.pop_front();
  } else if (!reading_.empty()) {
    reading_.pop_front();
  } else {
    accept_again_ = Clock::now() + scarcity_pause;
  }
}

/// An idle client sends something, or goes.
void Reception::wake_up(Place place) noexcept {
  place->deadline = Clock::now() + head_time;
  reading_.splice(reading_.end(), idle_, place);
  read_some(place);
}

void Reception::read_some(Place place) noexcept try {
  std::string& received = place->received;
  std::array<char, 4096> chunk;
  const ssize_t count = ::recv(place->socket.get(), chunk.data(), chunk.size(), 0);
  if (count < 0 && is_for_later(errno)) return;
  if (count <= 0) {
    reading_.erase(place);
    return;
  }
  const std::size_t before = received.size();
  received.append(chunk.data(), static_cast<std::size_t>(count));
  look_for_head(place, before);
} catch (const std::bad_alloc&) {
  reading_.erase(place);
}

/// A request whose head has come asks for a place. `searched` bytes have been looked through before.
void Reception::look_for_head(Place place, std::size_t searched) {
  auto head = parse_head(place->received, searched);
  if (!head) return;
  place->received.erase(0, head->size);
  place->request = std::move(head->request);
  if (place->request.error_status == 0) place->request.route = find_route(routes_, place->request.path);
  // A function may answer each client otherwise.
  if (place->request.route != nullptr) place->request.may_share = false;
  const auto now = Clock::now();
  place->request.deadline = now + place->request.time;
  place->deadline = now + asking_time;
  Connections& asking = service_of(*place).asking;
  asking.splice(asking.end(), reading_, place);
}

void Reception::turn_away(Connections& from, Place place) noexcept {
  // It does not fit only if the client has not taken earlier answers either.
  const ssize_t count = ::send(place->socket.get(), busy_answer.data(), busy_answer.size(), MSG_NOSIGNAL);
  if (count == static_cast<ssize_t>(busy_answer.size())) {
    start_lingering(from, place);
  } else {
    from.erase(place);
  }
}

/// No more than the kernel takes at once, so that a fast reader of a large piece does not keep the others waiting.
void Reception::go_on_sending(Place place) noexcept {
  switch (send_some(*place)) {
    case Outgoing::Progress::failed:
      return drop(place);
    case Outgoing::Progress::later:
      place->deadline = std::min(place->taken + stall_time, end_of_answer(place->begun, stopped_at_));
      return;
    case Outgoing::Progress::done:
      break;
  }
  Service& service = service_of(*place);
  if (place->rest) {
    service.desk.hand_over(service.sending, place);
  } else {
    --service.taken;
    finish(service.sending, place);
  }
}

/// Closes a connection whose answer is not whole.
void Reception::drop(Place sending) noexcept {
  Service& service = service_of(*sending);
  --service.taken;
  break_off(*sending);
  service.sending.erase(sending);
}

/// What comes after an answer: the next request, or the end.
void Reception::finish(Connections& from, Place place) noexcept try {
  if (place->request.closes || is_stopping()) return start_lingering(from, place);
  place->request = {};
  place->has_begun = false;
  place->is_answered = false;
  if (place->received.empty()) {
    place->received = std::string();
    place->deadline = Clock::now() + idle_time;
    idle_.splice(idle_.end(), from, place);
  } else {
    place->deadline = Clock::now() + head_time;
    reading_.splice(reading_.end(), from, place);
    look_for_head(place, 0);
  }
} catch (const std::bad_alloc&) {
  reading_.erase(place);
}

void Reception::start_lingering(Connections& from, Place place) noexcept {
  ::shutdown(place->socket.get(), SHUT_WR);
  if (is_stopping()) {
    from.erase(place);
    return;
  }
  place->request = {};
  place->received = std::string();
  place->deadline = Clock::now() + linger_time;
  lingering_.splice(lingering_.end(), from, place);
}

void Reception::linger_some(Place place) noexcept {
  std::array<char, 4096> chunk;
  const ssize_t count = ::recv(place->socket.get(), chunk.data(), chunk.size(), 0);
  if (count < 0 && is_for_later(errno)) return;
  if (count > 0) place->lingered += static_cast<std::size_t>(count);
  if (count <= 0 || place->lingered >= max_linger_bytes) lingering_.erase(place);
}

}  // namespace quipu::http

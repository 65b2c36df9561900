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
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>

#include "quipu/detail/exposition/scrape_time.hpp"

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

// Every connection costs a descriptor, and every response some memory, so the number of connections in each state is
// limited. When most of these states are full, a new connection is accepted and the oldest one in the state is closed.
// A scraper leaves a state within milliseconds, so the oldest connection is an inactive one.
constexpr std::size_t max_reading = 256;
constexpr std::size_t max_idle = 256;
constexpr std::size_t max_lingering = 64;
// Responses beside pages are short, and one worker makes those of a class one after another.
constexpr std::size_t max_routed = 16;
constexpr std::size_t max_prompt = 16;
// When this is full, the newest request is rejected.
constexpr std::size_t max_waiting = 64;
constexpr int accepted_at_once = 64;  // before other connections are served

// After the last response, the endpoint reads for this long and up to this many bytes before it closes. Closing with
// unread bytes would reset the connection before the client has read the response.
constexpr auto linger_time = 500ms;
constexpr std::size_t max_linger_bytes = std::size_t{256} * 1024;

constexpr auto head_time = 2s;         // for the whole head, however many packets it comes in
constexpr auto idle_time = 5min;       // from a response to the next request; longer than usual scrape intervals
constexpr auto stall_time = 5s;        // for the client to take some of the response
constexpr auto shortage_pause = 50ms;  // before the next accept() after a shortage of descriptors or memory
// A client that has taken nothing for preemption_time loses its permit to a waiting request. permit_time, for which a
// request waits, is longer, so that many clients that do not read cannot keep a new one out.
constexpr auto preemption_time = 100ms;
constexpr auto permit_time = 150ms;

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

EventLoop::EventLoop(int listener, const ServerConfig& config, std::size_t max_scrapes, const WakePipe& wake_pipe,
                     const Queues& queues)
    : listener_(listener),
      config_(config),
      wake_pipe_(wake_pipe),
      pages_{.queue = queues.pages, .permits = max_scrapes},
      routed_{.queue = queues.routes, .permits = max_routed},
      prompt_{.queue = queues.prompt, .permits = max_prompt},
      client_watch_(max_scrapes + max_routed) {
  polled_.reserve(2 + max_reading + max_idle + max_scrapes + max_routed + max_prompt + max_lingering);
}

void EventLoop::run() noexcept {
  while (collect_completions()) {
    for (RequestClass* const request_class : {&pages_, &routed_, &prompt_}) grant_permits(*request_class);
    close_oldest_beyond(max_reading, reading_);
    close_oldest_beyond(max_idle, idle_);
    close_oldest_beyond(max_lingering, lingering_);
    wait();
    wake_pipe_.drain();
    for_each_ready(idle_, &EventLoop::resume_idle);
    for_each_ready(reading_, &EventLoop::read_some);
    for_each_ready(pages_.sending, &EventLoop::continue_sending);
    for_each_ready(routed_.sending, &EventLoop::continue_sending);
    for_each_ready(prompt_.sending, &EventLoop::continue_sending);
    for_each_ready(lingering_, &EventLoop::linger_some);
    if (can_accept_) accept_some();
    close_expired(reading_);
    close_expired(idle_);
    close_expired(lingering_);
    for (RequestClass* const request_class : {&pages_, &routed_, &prompt_}) {
      for (auto next = request_class->sending.begin(); next != request_class->sending.end();) {
        const auto connection = next++;
        if (connection->deadline <= Clock::now()) drop(connection);
      }
    }
  }
  pages_.queue.close();
  routed_.queue.close();
  prompt_.queue.close();
}

void EventLoop::close_oldest_beyond(std::size_t limit, Connections& connections) noexcept {
  while (connections.size() > limit) connections.pop_front();
}

void EventLoop::close_expired(Connections& connections) noexcept {
  connections.remove_if([now = Clock::now()](const Connection& connection) { return connection.deadline <= now; });
}

/// A step may move the connection to the end of any list, or close it.
void EventLoop::for_each_ready(Connections& connections, void (EventLoop::*step)(ConnectionIterator)) noexcept {
  for (auto next = connections.begin(); next != connections.end();) {
    const auto connection = next++;
    if (std::exchange(connection->is_ready, false)) (this->*step)(connection);
  }
}

EventLoop::RequestClass& EventLoop::class_of(const Connection& connection) noexcept {
  const Request& request = connection.request;
  if (request.error_status != 0) return prompt_;
  if (request.route != nullptr) return request.route->is_prompt ? prompt_ : routed_;
  return request.path == config_.path ? pages_ : prompt_;
}

/// Takes back the connections that the workers have completed. False when the loop is to end.
bool EventLoop::collect_completions() noexcept {
  queue_deadline_ = Clock::time_point::max();
  collect_completions(pages_);
  collect_completions(routed_);
  collect_completions(prompt_);
  if (is_stopping()) {
    reading_.clear();
    idle_.clear();
    pages_.waiting.clear();
    routed_.waiting.clear();
    prompt_.waiting.clear();
    lingering_.clear();
    if (Clock::now() >= *stopped_at_ + giving_up_time) client_watch_.stop_all();
    return pages_.in_progress + routed_.in_progress + prompt_.in_progress > 0 &&
           Clock::now() < *stopped_at_ + leaving_time;
  }
  return true;
}

void EventLoop::collect_completions(RequestClass& request_class) noexcept {
  WorkQueue::Completions completions = request_class.queue.collect();
  if (completions.stopped_at) stopped_at_ = completions.stopped_at;
  queue_deadline_ = std::min(queue_deadline_, completions.next_deadline);
  while (!completions.expired.empty()) {
    --request_class.in_progress;
    client_watch_.remove(completions.expired.front().client_gone);
    reject_busy(completions.expired, completions.expired.begin());
  }
  while (!completions.returned.empty()) {
    const auto connection = completions.returned.begin();
    client_watch_.remove(connection->client_gone);
    if (!connection->socket) {
      --request_class.in_progress;
      completions.returned.erase(connection);
    } else if (connection->is_sent) {
      --request_class.in_progress;
      finish(completions.returned, connection);
    } else {
      connection->deadline = connection->last_progress + stall_time;
      request_class.sending.splice(request_class.sending.end(), completions.returned, connection);
    }
  }
  for (Connection& connection : request_class.sending) {
    connection.deadline = std::min(connection.deadline, response_deadline(connection.started_at, stopped_at_));
  }
}

/// Submits waiting requests while there are permits, and rejects those whose time to wait is over.
void EventLoop::grant_permits(RequestClass& request_class) noexcept {
  Connections& waiting = request_class.waiting;
  while (!waiting.empty() && has_permit(request_class)) {
    ++request_class.in_progress;
    queue_deadline_ = std::min(queue_deadline_, waiting.front().request.deadline);
    if (&request_class != &prompt_) client_watch_.add(waiting.front().socket.get(), waiting.front().client_gone);
    request_class.queue.submit(waiting, waiting.begin());
  }
  while (!waiting.empty() && (waiting.size() > max_waiting || waiting.front().deadline <= Clock::now())) {
    reject_busy(waiting, waiting.size() > max_waiting ? std::prev(waiting.end()) : waiting.begin());
  }
}

bool EventLoop::has_permit(RequestClass& request_class) noexcept {
  if (request_class.in_progress < request_class.permits) return true;
  const auto stalled = longest_stalled(request_class);
  if (stalled == request_class.sending.end() || Clock::now() - stalled->last_progress < preemption_time) return false;
  drop(stalled);
  return true;
}

ConnectionIterator EventLoop::longest_stalled(RequestClass& request_class) noexcept {
  return std::min_element(
      request_class.sending.begin(), request_class.sending.end(),
      [](const Connection& one, const Connection& other) { return one.last_progress < other.last_progress; });
}

void EventLoop::wait() noexcept {
  const auto now = Clock::now();
  auto until = std::min(now + 1min, queue_deadline_);
  const bool is_accepting = !is_stopping() && accept_again_ <= now;
  if (!is_stopping() && !is_accepting) until = std::min(until, accept_again_);
  for (RequestClass* const request_class : {&pages_, &routed_, &prompt_}) {
    if (request_class->waiting.empty()) continue;
    until = std::min(until, request_class->waiting.front().deadline);
    const auto stalled = longest_stalled(*request_class);
    if (stalled != request_class->sending.end()) until = std::min(until, stalled->last_progress + preemption_time);
  }
  if (is_stopping()) {
    until = std::min(until, *stopped_at_ + (now < *stopped_at_ + giving_up_time ? giving_up_time : leaving_time));
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
  poll_all(pages_.sending, POLLOUT);
  poll_all(routed_.sending, POLLOUT);
  poll_all(prompt_.sending, POLLOUT);
  poll_all(lingering_, POLLIN);
  const std::size_t watched = polled_.size();
  until = std::min(until, client_watch_.poll_into(polled_));
  // When poll() fails, nothing is ready.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  ::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), static_cast<int>(std::max<long long>(left, 0)));

  auto result = polled_.begin() + 1;
  can_accept_ = (result++)->revents != 0;
  for (Connections* const connections :
       {&idle_, &reading_, &pages_.sending, &routed_.sending, &prompt_.sending, &lingering_}) {
    for (Connection& connection : *connections) connection.is_ready = (result++)->revents != 0;
  }
  client_watch_.take(std::span(polled_).subspan(watched));
}

void EventLoop::accept_some() noexcept {
  for (int i = 0; i < accepted_at_once; ++i) {
    detail::Descriptor socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) relieve_shortage();
      return;  // other errors: no client is left, or the client has gone
    }
    // Otherwise the end of a response may wait for the client's delayed acknowledgement. An error is harmless.
    constexpr int yes = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    try {
      reading_.push_back({.socket = std::move(socket), .deadline = Clock::now() + head_time});
    } catch (const std::bad_alloc&) {
      return relieve_shortage();
    }
    // The head has often arrived already. Reading it now keeps many new connections from displacing it unread.
    read_some(std::prev(reading_.end()));
    close_oldest_beyond(max_reading, reading_);
  }
}

void EventLoop::relieve_shortage() noexcept {
  if (!idle_.empty()) {
    idle_.pop_front();
  } else if (!reading_.empty()) {
    reading_.pop_front();
  } else {
    accept_again_ = Clock::now() + shortage_pause;
  }
}

/// An idle client has sent something or closed the connection.
void EventLoop::resume_idle(ConnectionIterator connection) noexcept {
  connection->deadline = Clock::now() + head_time;
  reading_.splice(reading_.end(), idle_, connection);
  read_some(connection);
}

void EventLoop::read_some(ConnectionIterator connection) noexcept try {
  std::string& received = connection->received;
  std::array<char, 4096> chunk;
  const ssize_t count = ::recv(connection->socket.get(), chunk.data(), chunk.size(), 0);
  if (count < 0 && would_block(errno)) return;
  if (count <= 0) {
    reading_.erase(connection);
    return;
  }
  const std::size_t before = received.size();
  received.append(chunk.data(), static_cast<std::size_t>(count));
  try_parse_head(connection, before);
} catch (const std::bad_alloc&) {
  reading_.erase(connection);
}

/// A request with a complete head waits for a permit. The parser has seen the first `searched` bytes before.
void EventLoop::try_parse_head(ConnectionIterator connection, std::size_t searched) {
  auto head = parse_head(connection->received, searched);
  if (!head) return;
  connection->received.erase(0, head->size);
  connection->request = std::move(head->request);
  Request& request = connection->request;
  if (request.error_status == 0 && !config_.allowed_hosts.allows(request.host)) {
    request.error_status = 421;
    request.closes = true;
  }
  if (request.error_status == 0) request.route = find_route(config_.routes, request.path);
  // A route's function may respond differently each time.
  if (request.route != nullptr) request.may_share = false;
  const auto now = Clock::now();
  request.deadline = now + std::min(request.time, detail::page_time(config_.max_scrape_time));
  connection->deadline = now + permit_time;
  RequestClass& request_class = class_of(*connection);
  if (&request_class != &prompt_) connection->client_gone = std::stop_source();
  request_class.waiting.splice(request_class.waiting.end(), reading_, connection);
}

void EventLoop::reject_busy(Connections& from, ConnectionIterator connection) noexcept {
  // It fits into the send buffer unless the client has not taken earlier responses either.
  const ssize_t count = ::send(connection->socket.get(), busy_response.data(), busy_response.size(), MSG_NOSIGNAL);
  if (count == static_cast<ssize_t>(busy_response.size())) {
    start_lingering(from, connection);
  } else {
    from.erase(connection);
  }
}

/// Sends no more than the kernel takes at once, so that a fast reader of a large piece does not delay other clients.
void EventLoop::continue_sending(ConnectionIterator connection) noexcept {
  switch (send_some(*connection)) {
    case Outgoing::Progress::failed:
      return drop(connection);
    case Outgoing::Progress::would_block:
      connection->deadline =
          std::min(connection->last_progress + stall_time, response_deadline(connection->started_at, stopped_at_));
      return;
    case Outgoing::Progress::done:
      break;
  }
  RequestClass& request_class = class_of(*connection);
  if (connection->rest) {
    request_class.queue.submit(request_class.sending, connection);
  } else {
    --request_class.in_progress;
    finish(request_class.sending, connection);
  }
}

/// Closes a connection whose response is incomplete.
void EventLoop::drop(ConnectionIterator sending) noexcept {
  RequestClass& request_class = class_of(*sending);
  --request_class.in_progress;
  abort_connection(*sending);
  request_class.sending.erase(sending);
}

/// After a response, goes on to the next request or closes the connection.
void EventLoop::finish(Connections& from, ConnectionIterator connection) noexcept try {
  if (connection->request.closes || is_stopping()) return start_lingering(from, connection);
  connection->request = {};
  connection->client_gone = std::stop_source(std::nostopstate);
  connection->has_started = false;
  connection->is_sent = false;
  if (connection->received.empty()) {
    connection->received = std::string();
    connection->deadline = Clock::now() + idle_time;
    idle_.splice(idle_.end(), from, connection);
  } else {
    connection->deadline = Clock::now() + head_time;
    reading_.splice(reading_.end(), from, connection);
    try_parse_head(connection, 0);
  }
} catch (const std::bad_alloc&) {
  reading_.erase(connection);
}

void EventLoop::start_lingering(Connections& from, ConnectionIterator connection) noexcept {
  ::shutdown(connection->socket.get(), SHUT_WR);
  if (is_stopping()) {
    from.erase(connection);
    return;
  }
  connection->request = {};
  connection->received = std::string();
  connection->deadline = Clock::now() + linger_time;
  lingering_.splice(lingering_.end(), from, connection);
}

void EventLoop::linger_some(ConnectionIterator connection) noexcept {
  std::array<char, 4096> chunk;
  const ssize_t count = ::recv(connection->socket.get(), chunk.data(), chunk.size(), 0);
  if (count < 0 && would_block(errno)) return;
  if (count > 0) connection->lingered += static_cast<std::size_t>(count);
  if (count <= 0 || connection->lingered >= max_linger_bytes) lingering_.erase(connection);
}

}  // namespace quipu::http

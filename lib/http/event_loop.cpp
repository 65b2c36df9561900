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
#include <utility>

#include "quipu/detail/exposition/scrape_time.hpp"

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

// Every connection costs a descriptor, and every response some memory, so the number of connections in each state is
// limited. A peer with many connections gives way to others: when a state is full, the oldest connection of the peer
// that has the most in it is closed. A scraper leaves each state but the idle one within milliseconds, so the oldest
// connection in such a state is hardly a scraper's.
constexpr std::size_t max_idle = 128;
constexpr std::size_t max_lingering = 64;
// Connections whose request is not complete, or waits. When they are so many, one that has sent no complete request for
// min_silence gives way to a new one. If there is none, no connection is accepted, and clients wait in the backlog.
constexpr std::size_t max_arriving = 512;
constexpr auto min_silence = 100ms;
// Responses beside pages are short, and one worker makes those of a class one after another.
constexpr std::size_t max_routed = 16;
constexpr std::size_t max_prompt = 16;
constexpr std::size_t max_trials = 2;
constexpr std::size_t max_without_permit = 128;  // trials, and short pages that their clients have not taken yet
// A long page takes its first 256 KiB, a piece, and zlib's state.
constexpr std::size_t page_reserve = std::size_t{512} * 1024;
constexpr int accepted_at_once = 64;  // before other connections are served

// After the last response, the endpoint reads for this long and up to this many bytes before it closes. Closing with
// unread bytes would reset the connection before the client has read the response.
constexpr auto linger_time = 500ms;
constexpr std::size_t max_linger_bytes = std::size_t{256} * 1024;

constexpr auto head_time = 2s;         // for the whole head, however many packets it comes in
constexpr auto idle_time = 5min;       // from a response to the next request; longer than usual scrape intervals
constexpr auto stall_time = 5s;        // for the client to take progress_bytes of the response
constexpr auto shortage_pause = 50ms;  // before the next accept() after a shortage of descriptors or memory

constexpr Admission::Limits only_with_permit(std::size_t permits) {
  return {.permits = permits, .trials = 0, .without_permit = 0, .reserve = 0, .is_independent = true};
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

EventLoop::EventLoop(int listener, const ServerConfig& config, Peers& peers, const WakePipe& wake_pipe,
                     const Queues& queues)
    : listener_(listener),
      config_(config),
      wake_pipe_(wake_pipe),
      peers_(peers),
      response_bytes_{.limit = config.max_response_bytes},
      pages_{.queue = queues.pages,
             .admission{{.permits = config.max_scrapes,
                         .trials = max_trials,
                         .without_permit = max_without_permit,
                         .reserve = page_reserve,
                         .is_independent = false},
                        response_bytes_}},
      routed_{.queue = queues.routes, .admission{only_with_permit(max_routed), response_bytes_}},
      prompt_{.queue = queues.prompt, .admission{only_with_permit(max_prompt), response_bytes_}},
      client_watch_(config.max_scrapes + max_trials + max_routed) {
  polled_.reserve(2 + max_arriving + max_idle + config.max_scrapes + max_without_permit + max_routed + max_prompt +
                  max_lingering);
}

void EventLoop::run() noexcept {
  while (collect_completions()) {
    for (RequestClass* const request_class : classes()) admit(*request_class);
    close_beyond(max_idle, idle_);
    close_beyond(max_lingering, lingering_);
    wait();
    wake_pipe_.drain();
    for_each_ready(idle_, &EventLoop::resume_idle);
    for_each_ready(reading_, &EventLoop::read_some);
    for (RequestClass* const request_class : classes()) {
      for_each_ready(request_class->admission.sending, &EventLoop::continue_sending);
    }
    for_each_ready(lingering_, &EventLoop::linger_some);
    if (can_accept_) accept_some();
    close_expired(reading_);
    close_expired(idle_);
    close_expired(lingering_);
    for (RequestClass* const request_class : classes()) {
      Connections& sending = request_class->admission.sending;
      for (auto next = sending.begin(); next != sending.end();) {
        const auto connection = next++;
        if (connection->deadline <= Clock::now()) drop(connection);
      }
    }
  }
  for (RequestClass* const request_class : classes()) {
    request_class->queue.close();
    collect_completions(*request_class);  // of the time before that
    Connections& sending = request_class->admission.sending;
    while (!sending.empty()) drop(sending.begin());
  }
}

void EventLoop::close_beyond(std::size_t limit, Connections& connections) noexcept {
  while (connections.size() > limit) connections.erase(first_of_largest_peer(connections));
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
  if (request.resource == nullptr) return prompt_;
  if (request.resource->is_page()) return pages_;
  return request.resource->is_prompt ? prompt_ : routed_;
}

/// Takes back the connections that the workers have completed. False when the loop is to end.
bool EventLoop::collect_completions() noexcept {
  queue_deadline_ = Clock::time_point::max();
  for (RequestClass* const request_class : classes()) collect_completions(*request_class);
  if (!is_stopping()) return true;
  reading_.clear();
  idle_.clear();
  lingering_.clear();
  std::size_t in_progress = 0;
  for (RequestClass* const request_class : classes()) {
    request_class->admission.waiting.clear();
    in_progress += request_class->admission.in_progress();
  }
  const auto now = Clock::now();
  if (now >= *stopped_at_ + giving_up_time) client_watch_.stop_all();
  return in_progress > 0 && now < *stopped_at_ + leaving_time;
}

void EventLoop::collect_completions(RequestClass& request_class) noexcept {
  Admission& admission = request_class.admission;
  WorkQueue::Completions completions = request_class.queue.collect();
  if (completions.stopped_at) stopped_at_ = completions.stopped_at;
  queue_deadline_ = std::min(queue_deadline_, completions.next_deadline);
  while (!completions.expired.empty()) {
    admission.end(completions.expired.front());
    client_watch_.remove(completions.expired.front().client_gone);
    reject_busy(completions.expired, completions.expired.begin());
  }
  while (!completions.returned.empty()) {
    const auto connection = completions.returned.begin();
    client_watch_.remove(connection->client_gone);
    if (!connection->socket) {
      admission.end(*connection);
      completions.returned.erase(connection);
    } else if (!connection->has_started) {
      admission.wait_for_permit(completions.returned, connection);
    } else if (connection->is_sent) {
      admission.end(*connection);
      finish(completions.returned, connection);
    } else {
      connection->deadline = connection->last_progress + stall_time;
      admission.keep_sending(completions.returned, connection);
    }
  }
  for (Connection& connection : admission.sending) {
    connection.deadline = std::min(connection.deadline, response_deadline(connection.started_at, stopped_at_));
  }
}

/// Submits waiting requests while that is possible, and rejects those whose time to wait is over.
void EventLoop::admit(RequestClass& request_class) noexcept {
  Admission& admission = request_class.admission;
  Connections& waiting = admission.waiting;
  while (!waiting.empty()) {
    const auto next = admission.start_next(Clock::now());
    if (next != waiting.end()) {
      if (admission.is_busy()) limit_unsent(*next);
      queue_deadline_ = std::min(queue_deadline_, next->deadline);
      if (&request_class != &prompt_) client_watch_.add(next->socket.get(), next->client_gone);
      request_class.queue.submit(waiting, next);
      continue;
    }
    const auto response = admission.next_to_give_way(Clock::now());
    if (response == admission.sending.end()) break;
    drop(response);
  }
  while (!waiting.empty() && waiting.front().deadline <= Clock::now()) reject_busy(waiting, waiting.begin());
}

void EventLoop::wait() noexcept {
  const auto now = Clock::now();
  auto until = std::min(now + 1min, queue_deadline_);
  const auto accept_at = is_stopping() ? Clock::time_point::max() : room().at;
  const bool is_accepting = accept_at <= now;
  if (!is_accepting) until = std::min(until, accept_at);
  for (RequestClass* const request_class : classes()) {
    until = std::min(until, request_class->admission.next_change());
  }
  if (is_stopping()) {
    until = std::min(until, *stopped_at_ + (now < *stopped_at_ + giving_up_time ? giving_up_time : leaving_time));
  }
  polled_.clear();
  polled_.push_back({wake_pipe_.reader(), POLLIN, 0});
  polled_.push_back({is_accepting ? listener_ : -1, POLLIN, 0});
  const std::array<std::pair<Connections*, short>, 6> lists{{{&idle_, POLLIN},
                                                             {&reading_, POLLIN},
                                                             {&lingering_, POLLIN},
                                                             {&pages_.admission.sending, POLLOUT},
                                                             {&routed_.admission.sending, POLLOUT},
                                                             {&prompt_.admission.sending, POLLOUT}}};
  for (const auto& [connections, events] : lists) {
    for (const Connection& connection : *connections) {
      polled_.push_back({connection.socket.get(), events, 0});
      until = std::min(until, connection.deadline);
    }
  }
  const std::size_t watched = polled_.size();
  until = std::min(until, client_watch_.poll_into(polled_));
  // When poll() fails, nothing is ready.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  ::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), static_cast<int>(std::max<long long>(left, 0)));

  auto result = polled_.begin() + 1;
  can_accept_ = (result++)->revents != 0;
  for (const auto& [connections, events] : lists) {
    for (Connection& connection : *connections) connection.is_ready = (result++)->revents != 0;
  }
  client_watch_.take(std::span(polled_).subspan(watched));
}

/// Whether and when a new connection can be accepted, and which one gives way to it. Other events may leave room
/// earlier.
EventLoop::Room EventLoop::room() noexcept {
  std::size_t arriving = reading_.size();
  for (const RequestClass* const request_class : classes()) arriving += request_class->admission.waiting.size();
  if (arriving < max_arriving) return {.at = accept_again_, .gives_way = reading_.end()};
  const auto silent = first_of_largest_peer(reading_);
  if (silent == reading_.end()) return {.at = Clock::time_point::max(), .gives_way = silent};
  return {.at = std::max(accept_again_, silent->deadline - head_time + min_silence), .gives_way = silent};
}

void EventLoop::accept_some() noexcept {
  for (int i = 0; i < accepted_at_once; ++i) {
    const auto [at, gives_way] = room();
    if (at > Clock::now()) return;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    detail::Descriptor socket(
        ::accept4(listener_, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) relieve_shortage();
      return;  // other errors: no client is left, or the client has gone
    }
    if (gives_way != reading_.end()) reading_.erase(gives_way);
    // Otherwise the end of a response may wait for the client's delayed acknowledgement. An error is harmless.
    constexpr int yes = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    try {
      auto peer = peers_.add(peer_address(address));
      reading_.push_back({.socket = std::move(socket), .deadline = Clock::now() + head_time, .peer = std::move(peer)});
    } catch (const std::bad_alloc&) {
      return relieve_shortage();
    }
    // The head has often arrived already.
    read_some(std::prev(reading_.end()));
  }
}

void EventLoop::relieve_shortage() noexcept {
  for (Connections* const connections : {&idle_, &reading_}) {
    if (connections->empty()) continue;
    connections->erase(first_of_largest_peer(*connections));
    return;
  }
  accept_again_ = Clock::now() + shortage_pause;
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
  if (request.error_status == 0) request.resource = config_.resources->find(request.path);
  // A route's function may respond differently each time.
  if (request.resource != nullptr && !request.resource->is_page()) request.may_share = false;
  const auto now = Clock::now();
  request.deadline = now + std::min(request.time, detail::page_time(config_.max_scrape_time));
  RequestClass& request_class = class_of(*connection);
  connection->needs_permit = &request_class != &pages_;
  if (&request_class != &prompt_) connection->client_gone = std::stop_source();
  request_class.admission.add(reading_, connection, now);
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
  const auto last_progress = connection->last_progress;
  const auto progress = send_some(*connection);
  if (connection->last_progress != last_progress) connection->is_read = true;
  switch (progress) {
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
  Connections& sending = request_class.admission.sending;
  if (connection->rest) {
    request_class.queue.submit(sending, connection);
  } else {
    request_class.admission.end(*connection);
    finish(sending, connection);
  }
}

/// Closes a connection whose response is incomplete.
void EventLoop::drop(ConnectionIterator sending) noexcept {
  Admission& admission = class_of(*sending).admission;
  admission.end(*sending);
  abort_connection(*sending);
  admission.sending.erase(sending);
}

/// After a response, goes on to the next request or closes the connection.
void EventLoop::finish(Connections& from, ConnectionIterator connection) noexcept try {
  if (connection->request.closes || is_stopping()) return start_lingering(from, connection);
  connection->request = {};
  connection->client_gone = std::stop_source(std::nostopstate);
  connection->has_started = false;
  connection->is_sent = false;
  connection->is_chunked = false;
  connection->is_read = false;
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

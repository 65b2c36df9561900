#include "http/work_queue.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <system_error>

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_time = 30s;      // from its first byte to its last; scrapers give up after 10 s by default
constexpr auto stopping_time = 300ms;  // what is left of it once stop() is called

}  // namespace

Outgoing::Progress send_some(Connection& connection) noexcept {
  const std::size_t before = connection.outgoing.taken();
  const auto progress = connection.outgoing.send_some(connection.socket.get());
  if (connection.outgoing.taken() != before) connection.taken = Clock::now();
  return progress;
}

void break_off(Connection& connection) noexcept {
  constexpr linger forget{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(connection.socket.get(), SOL_SOCKET, SO_LINGER, &forget, sizeof forget);
  connection.socket.reset();
  connection.outgoing = {};
  connection.rest.reset();
}

Clock::time_point end_of_answer(Clock::time_point begun, std::optional<Clock::time_point> stopped_at) {
  const auto end = begun + answer_time;
  return stopped_at ? std::min(end, std::max(begun, *stopped_at) + stopping_time) : end;
}

void WakePipe::open() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error(errno, std::generic_category());
  reader_ = Descriptor(ends[0]);
  writer_ = Descriptor(ends[1]);
}

void WakePipe::wake() const noexcept {
  const char anything = 0;
  // A full pipe wakes as well.
  while (::write(writer_.get(), &anything, 1) < 0 && errno == EINTR) {
  }
}

void WakePipe::drain() const noexcept {
  std::array<char, 256> bytes;
  while (::read(reader_.get(), bytes.data(), bytes.size()) > 0) {
  }
}

Desk::Tidings Desk::collect() noexcept {
  Tidings tidings;
  const std::lock_guard lock(mutex_);
  tidings.back.swap(back_);
  tidings.stopped_at = stopped_at_;
  const auto now = Clock::now();
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto place = next++;
    if (place->has_begun) continue;
    if (place->request.deadline <= now) {
      tidings.late.splice(tidings.late.end(), waiting_, place);
    } else {
      tidings.next_deadline = std::min(tidings.next_deadline, place->request.deadline);
    }
  }
  return tidings;
}

void Desk::hand_over(Connections& from, Connections::iterator place) noexcept {
  const std::lock_guard lock(mutex_);
  if (stopped_at_ && !place->has_begun) return refuse(from, place);
  waiting_.splice(waiting_.end(), from, place);
  changed_.notify_one();
}

void Desk::close() noexcept {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

bool Desk::take(Connections& at_hand) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_closed_ || !waiting_.empty(); });
  if (waiting_.empty()) return false;
  at_hand.splice(at_hand.end(), waiting_, waiting_.begin());
  const Connection& first = at_hand.front();
  if (first.has_begun) return true;
  // They have all come before their page is begun. Who comes later does not get it: it may lack what happened before.
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto place = next++;
    if (!place->has_begun && can_share_page(first.request, place->request)) {
      at_hand.splice(at_hand.end(), waiting_, place);
    }
  }
  return true;
}

void Desk::separate(Connections& at_hand) noexcept {
  const std::lock_guard lock(mutex_);
  while (at_hand.size() > 1) {
    const auto last = std::prev(at_hand.end());
    if (stopped_at_) {
      refuse(at_hand, last);
      continue;
    }
    // Not again: each would be made to wait for the others.
    last->request.may_share = false;
    waiting_.splice(waiting_.begin(), at_hand, last);
    changed_.notify_one();
  }
}

void Desk::hand_back(Connections& at_hand) noexcept {
  const std::lock_guard lock(mutex_);
  const bool is_first = back_.empty();
  back_.splice(back_.end(), at_hand);
  if (is_first) wake_pipe_.wake();  // for the others it is awake already, or about to be
}

std::optional<Clock::time_point> Desk::stopped_at() noexcept {
  const std::lock_guard lock(mutex_);
  return stopped_at_;
}

void Desk::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_at_ = Clock::now();
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto place = next++;
    if (!place->has_begun) refuse(waiting_, place);
  }
  wake_pipe_.wake();
}

void Desk::refuse(Connections& from, Connections::iterator place) noexcept {
  place->socket.reset();
  back_.splice(back_.end(), from, place);
  wake_pipe_.wake();
}

}  // namespace quipu::http

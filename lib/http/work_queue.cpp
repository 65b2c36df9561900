#include "http/work_queue.hpp"

#include <algorithm>
#include <iterator>

namespace quipu::http {
namespace {

constexpr int max_requests_in_turn = 3;

}  // namespace

WorkQueue::Completions WorkQueue::collect() noexcept {
  Completions completions;
  const std::lock_guard lock(mutex_);
  completions.returned.swap(returned_);
  completions.stopped_at = stopped_at_;
  const auto now = Clock::now();
  for (auto next = requests_.begin(); next != requests_.end();) {
    const auto connection = next++;
    if (connection->deadline <= now) {
      completions.expired.splice(completions.expired.end(), requests_, connection);
    } else {
      completions.next_deadline = std::min(completions.next_deadline, connection->deadline);
    }
  }
  return completions;
}

void WorkQueue::submit(Connections& from, ConnectionIterator connection) noexcept {
  const std::lock_guard lock(mutex_);
  if (stopped_at_ && !connection->has_started) return cancel(from, connection);
  Connections& waiting = connection->has_started ? started_ : requests_;
  waiting.splice(waiting.end(), from, connection);
  changed_.notify_one();
}

void WorkQueue::close() noexcept {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

bool WorkQueue::take(Connections& batch) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_closed_ || !is_empty(); });
  if (is_empty()) return false;
  if (requests_.empty() || (requests_in_turn_ >= max_requests_in_turn && !started_.empty())) {
    requests_in_turn_ = 0;
    batch.splice(batch.end(), started_, started_.begin());
    return true;
  }
  ++requests_in_turn_;
  batch.splice(batch.end(), requests_, requests_.begin());
  const Connection& first = batch.front();
  // All of them arrived before their page is begun. A later request does not get this page, because the page may lack
  // what was recorded before that request.
  for (auto next = requests_.begin(); next != requests_.end();) {
    const auto connection = next++;
    if (can_share_page(first.request, connection->request)) batch.splice(batch.end(), requests_, connection);
  }
  return true;
}

bool WorkQueue::has_waiting() noexcept {
  const std::lock_guard lock(mutex_);
  return !is_empty();
}

void WorkQueue::release_all_but_first(Connections& batch) noexcept {
  const std::lock_guard lock(mutex_);
  while (batch.size() > 1) {
    const auto last = std::prev(batch.end());
    if (stopped_at_) {
      cancel(batch, last);
      continue;
    }
    // Another shared batch would make them wait for each other again.
    last->request.may_share = false;
    requests_.splice(requests_.begin(), batch, last);
    changed_.notify_one();
  }
}

void WorkQueue::complete(Connections& batch) noexcept {
  std::unique_lock lock(mutex_);
  if (batch.front().is_due) {
    started_.splice(started_.end(), batch);
    changed_.notify_one();
    return;
  }
  if (is_closed_) {
    // Nobody collects them any more. Pages end without the lock.
    lock.unlock();
    for (Connection& connection : batch) close_connection(connection);
    lock.lock();
  }
  const bool is_first = returned_.empty();
  returned_.splice(returned_.end(), batch);
  if (is_first) wake_pipe_.wake();  // if there are others, the pipe has been written to for them
}

std::optional<Clock::time_point> WorkQueue::stopped_at() noexcept {
  const std::lock_guard lock(mutex_);
  return stopped_at_;
}

void WorkQueue::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_at_ = Clock::now();
  while (!requests_.empty()) cancel(requests_, requests_.begin());
  wake_pipe_.wake();
}

void WorkQueue::cancel(Connections& from, ConnectionIterator connection) noexcept {
  connection->socket.reset();
  returned_.splice(returned_.end(), from, connection);
  wake_pipe_.wake();
}

}  // namespace quipu::http

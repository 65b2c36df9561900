#include "http/work_queue.hpp"

#include <algorithm>
#include <iterator>

namespace quipu::http {

WorkQueue::Completions WorkQueue::collect() noexcept {
  Completions completions;
  const std::lock_guard lock(mutex_);
  completions.returned.swap(returned_);
  completions.stopped_at = stopped_at_;
  const auto now = Clock::now();
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto connection = next++;
    if (connection->has_started) continue;
    if (connection->request.deadline <= now) {
      completions.expired.splice(completions.expired.end(), waiting_, connection);
    } else {
      completions.next_deadline = std::min(completions.next_deadline, connection->request.deadline);
    }
  }
  return completions;
}

void WorkQueue::submit(Connections& from, ConnectionIterator connection) noexcept {
  const std::lock_guard lock(mutex_);
  if (stopped_at_ && !connection->has_started) return cancel(from, connection);
  waiting_.splice(waiting_.end(), from, connection);
  changed_.notify_one();
}

void WorkQueue::close() noexcept {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

bool WorkQueue::take(Connections& batch) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_closed_ || !waiting_.empty(); });
  if (waiting_.empty()) return false;
  batch.splice(batch.end(), waiting_, waiting_.begin());
  const Connection& first = batch.front();
  if (first.has_started) return true;
  // All of them arrived before their page is begun. A later request does not get this page, because the page may lack
  // what was recorded before that request.
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto connection = next++;
    if (!connection->has_started && can_share_page(first.request, connection->request)) {
      batch.splice(batch.end(), waiting_, connection);
    }
  }
  return true;
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
    waiting_.splice(waiting_.begin(), batch, last);
    changed_.notify_one();
  }
}

void WorkQueue::complete(Connections& batch) noexcept {
  const std::lock_guard lock(mutex_);
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
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto connection = next++;
    if (!connection->has_started) cancel(waiting_, connection);
  }
  wake_pipe_.wake();
}

void WorkQueue::cancel(Connections& from, ConnectionIterator connection) noexcept {
  connection->socket.reset();
  returned_.splice(returned_.end(), from, connection);
  wake_pipe_.wake();
}

}  // namespace quipu::http

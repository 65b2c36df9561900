#include "registry/collection.hpp"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <utility>

namespace quipu::detail {
namespace {

using Clock = std::chrono::steady_clock;

/// The outcome of a call.
struct Outcome {
  enum class Kind { none, shown, thrown };  // none: the call was not made, or was not over in time
  Kind kind = Kind::none;
  std::vector<CollectedFamily> families{};
};

/// One call of a collector for a scrape.
struct CollectorCall {
  std::shared_ptr<RegisteredCollector> collector;
  Outcome outcome{};
};

Outcome call(RegisteredCollector& collector, const CollectionRequest& request) noexcept {
  try {
    auto families = collector.collect(request);
    if (!families) return {};
    return {Outcome::Kind::shown, std::move(*families)};
  } catch (...) {
    return {Outcome::Kind::thrown};
  }
}

/// The calls that one scrape makes on other threads, in a task sequence. The scraping thread has to wait anyway, so it
/// is the thread that calls hand_on().
///
/// At the deadline, or when it is asked to stop, the scraping thread takes all calls out of the collection, with the
/// outcomes that exist by then. A thread that comes back later finds the request abandoned, and drops its outcome. The
/// threads share the collection, which may outlive the scrape and the registry. Its calls do not outlive them. A thread
/// that is inside a collector keeps only that collector alive.
class Collection : public std::enable_shared_from_this<Collection> {
 public:
  Collection(std::vector<CollectorCall> calls, Clock::time_point deadline, pid_t process, Executor& threads)
      : request_{process, true}, deadline_(deadline), calls_(std::move(calls)), tasks_(threads, deadline) {}

  // For the scraping thread, one after the other.

  /// Throws std::bad_alloc; then nothing has begun.
  void begin();
  [[nodiscard]] std::vector<CollectorCall> finish(const std::stop_token& stop) noexcept;

 private:
  void make_call(std::size_t index) noexcept;

  CollectionRequest request_;
  const Clock::time_point deadline_;

  // The mutex guards what follows, and is not held during a call.
  std::mutex mutex_;
  std::condition_variable changed_;  // all calls are done, or nobody waits for them any more
  std::vector<CollectorCall> calls_;
  std::size_t done_ = 0;

  TaskSequence tasks_;
};

void Collection::begin() {
  if (Clock::now() >= deadline_) return;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    tasks_.add([this, i] { make_call(i); });
  }
  static_cast<void>(tasks_.hand_on(shared_from_this()));
}

void Collection::make_call(std::size_t index) noexcept {
  std::unique_lock lock(mutex_);
  if (request_.is_abandoned.load(std::memory_order_relaxed)) return;
  const auto collector = calls_[index].collector;
  lock.unlock();
  Outcome outcome = call(*collector, request_);
  lock.lock();
  if (request_.is_abandoned.load(std::memory_order_relaxed)) {
    lock.unlock();  // before the collector goes, perhaps with what its user holds in it
    return;
  }
  calls_[index].outcome = std::move(outcome);
  if (++done_ == calls_.size()) changed_.notify_one();
}

std::vector<CollectorCall> Collection::finish(const std::stop_token& stop) noexcept {
  // The lock makes sure that the scraping thread is waiting, or has not looked yet. It is not held when the callback
  // ends, because that waits for a call of it.
  const std::stop_callback wake(stop, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_one();
  });
  std::unique_lock lock(mutex_);
  const auto is_over = [&] { return done_ == calls_.size() || stop.stop_requested(); };
  while (!is_over() && Clock::now() < deadline_) {
    lock.unlock();
    const auto again = tasks_.hand_on(shared_from_this());
    lock.lock();
    changed_.wait_until(lock, std::min(again, deadline_), is_over);
  }
  request_.is_abandoned.store(true, std::memory_order_relaxed);
  auto calls = std::exchange(calls_, {});
  lock.unlock();
  tasks_.clear();
  return calls;
}

}  // namespace

Collected collect(std::span<const std::shared_ptr<RegisteredCollector>> collectors,
                  std::chrono::steady_clock::time_point deadline, const std::stop_token& stop, CollectorErrors& errors,
                  Executor& threads) {
  const bool may_leave = deadline != Clock::time_point::max() || stop.stop_possible();
  const pid_t process = ::getpid();
  std::vector<CollectorCall> here;
  std::vector<CollectorCall> elsewhere;
  for (const auto& collector : collectors) {
    (may_leave && !collector->is_prompt() ? elsewhere : here).push_back({collector});
  }
  std::shared_ptr<Collection> collection;
  if (!elsewhere.empty()) {
    collection = std::make_shared<Collection>(std::move(elsewhere), deadline, process, threads);
    collection->begin();
  }
  // Nothing may be thrown until the collection is finished.
  const CollectionRequest request{process, false};
  for (CollectorCall& made : here) made.outcome = call(*made.collector, request);
  if (collection != nullptr) elsewhere = collection->finish(stop);

  // Failures are counted at the end, so that a page shows the errors of the pages before it.
  Collected collected;
  for (auto* calls : {&here, &elsewhere}) {
    for (auto& [collector, outcome] : *calls) {
      switch (outcome.kind) {
        case Outcome::Kind::shown:
          collected.emplace(collector.get(), std::move(outcome.families));
          break;
        case Outcome::Kind::thrown:
          errors.exceptions.fetch_add(1, std::memory_order_relaxed);
          break;
        case Outcome::Kind::none:
          if (!stop.stop_requested()) errors.timeouts.fetch_add(1, std::memory_order_relaxed);
          break;
      }
    }
  }
  return collected;
}

}  // namespace quipu::detail

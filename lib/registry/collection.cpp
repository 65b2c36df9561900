#include "registry/collection.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <utility>

namespace quipu::detail {
namespace {

using Clock = std::chrono::steady_clock;

/// One collector of a scrape, and what came of it.
struct CollectorCall {
  /// due: needs a task that calls it. has_task: has one, which has not begun. waits: for a call under way.
  enum class State { due, has_task, waits, done };
  std::shared_ptr<RegisteredCollector> collector;
  const OnCollectorError* on_error;
  State state = State::due;
  bool is_shared = true;
  CollectorOutcome outcome{};
};

/// The calls that one scrape waits for. Other threads make them, in a task sequence of this scrape or of another one
/// (RegisteredCollector says who). The scraping thread has to wait anyway, so it is the thread that calls hand_on().
///
/// At the deadline, or when it is asked to stop, the scraping thread takes all calls out of the collection, with the
/// outcomes that exist by then. The threads share the collection, which may outlive the scrape and the registry. Its
/// calls do not outlive them. A thread that is inside a collector keeps only that collector alive.
class Collection final : public CallWaiter, public std::enable_shared_from_this<Collection> {
 public:
  Collection(std::vector<CollectorCall> calls, Clock::time_point deadline, Executor& threads)
      : deadline_(deadline), calls_(std::move(calls)), tasks_(threads, deadline) {}

  // For the scraping thread, one after the other.

  /// Throws std::bad_alloc; then nothing has begun.
  void begin();
  [[nodiscard]] std::vector<CollectorCall> finish(const std::stop_token& stop) noexcept;

 private:
  using State = CollectorCall::State;

  void leave_collectors() noexcept;
  void make_call(std::size_t index) noexcept;
  void take(std::size_t index, const CollectorOutcome& outcome, bool is_of_this_moment) noexcept override;

  // With the lock held.
  void add_tasks();
  void set_done(CollectorCall& call) noexcept;

  const Clock::time_point deadline_;

  // The mutex guards what follows, and is not held while a collector is called or waited for. It may be locked while a
  // collector's is, but not the other way round.
  std::mutex mutex_;
  std::condition_variable has_changed_;  // all calls are done, one is due, or nobody waits for them any more
  std::vector<CollectorCall> calls_;
  std::size_t done_ = 0;
  bool has_due_ = true;

  TaskSequence tasks_;
};

void Collection::begin() {
  const auto patience = deadline_ - Clock::now();
  if (patience <= Clock::duration::zero()) return;
  try {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      const auto joined = calls_[i].collector->join(*this, i, patience);
      const std::lock_guard lock(mutex_);
      if (joined == RegisteredCollector::Joined::cannot_wait) calls_[i].is_shared = false;
      if (joined == RegisteredCollector::Joined::does_not_wait) set_done(calls_[i]);
    }
    const std::lock_guard lock(mutex_);
    add_tasks();
  } catch (...) {
    leave_collectors();
    throw;
  }
  static_cast<void>(tasks_.hand_on(shared_from_this()));
}

std::vector<CollectorCall> Collection::finish(const std::stop_token& stop) noexcept {
  // The lock makes sure that the scraping thread is waiting, or has not looked yet. It is not held when the callback
  // ends, because that waits for a call of it.
  const std::stop_callback wake(stop, [this] {
    const std::lock_guard lock(mutex_);
    has_changed_.notify_one();
  });
  std::unique_lock lock(mutex_);
  const auto is_over = [&] { return done_ == calls_.size() || stop.stop_requested(); };
  while (!is_over() && Clock::now() < deadline_) {
    try {
      add_tasks();
    } catch (const std::exception&) {
      break;  // without memory no call can be made
    }
    lock.unlock();
    const auto again = tasks_.hand_on(shared_from_this());
    lock.lock();
    has_changed_.wait_until(lock, std::min(again, deadline_), [&] { return is_over() || has_due_; });
  }
  lock.unlock();
  leave_collectors();
  lock.lock();
  auto calls = std::exchange(calls_, {});
  lock.unlock();
  tasks_.clear();
  return calls;
}

void Collection::leave_collectors() noexcept {
  for (const CollectorCall& call : calls_) call.collector->leave(*this);
}

void Collection::make_call(std::size_t index) noexcept {
  std::unique_lock lock(mutex_);
  if (calls_.empty() || calls_[index].state == State::done) return;
  calls_[index].state = State::waits;
  const bool is_shared = calls_[index].is_shared;
  const auto collector = calls_[index].collector;
  lock.unlock();
  if (is_shared) {
    collector->call_for_waiters();
  } else {
    take(index, collector->collect(), true);
  }
}

void Collection::take(std::size_t index, const CollectorOutcome& outcome, bool is_of_this_moment) noexcept {
  const std::lock_guard lock(mutex_);
  if (calls_.empty()) return;
  CollectorCall& call = calls_[index];
  call.outcome = outcome;
  if (is_of_this_moment) return set_done(call);
  if (call.state != State::waits) return;
  call.state = State::due;
  has_due_ = true;
  has_changed_.notify_one();
}

void Collection::add_tasks() {
  if (!has_due_) return;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i].state != State::due) continue;
    tasks_.add([this, i] { make_call(i); });
    calls_[i].state = State::has_task;
  }
  has_due_ = false;
}

void Collection::set_done(CollectorCall& call) noexcept {
  if (std::exchange(call.state, State::done) == State::done) return;
  if (++done_ == calls_.size()) has_changed_.notify_one();
}

}  // namespace

void report(const RegisteredCollector& collector, CollectorFault fault, std::string_view what,
            const OnCollectorError& on_error, std::uint64_t times) {
  collector.count(fault, times);
  if (on_error) on_error(collector.name(), what);
}

Collected collect(std::span<const ScrapedCollector> collectors, std::chrono::steady_clock::time_point deadline,
                  const std::stop_token& stop, Executor& threads) {
  const bool may_leave = deadline != Clock::time_point::max() || stop.stop_possible();
  std::vector<CollectorCall> here;
  std::vector<CollectorCall> elsewhere;
  for (const auto& [collector, on_error] : collectors) {
    if (collector->role() == RegisteredCollector::Role::status) continue;
    const bool is_prompt = collector->role() == RegisteredCollector::Role::prompt;
    (may_leave && !is_prompt ? elsewhere : here).push_back({collector, on_error});
  }
  std::shared_ptr<Collection> collection;
  if (!elsewhere.empty()) {
    collection = std::make_shared<Collection>(std::move(elsewhere), deadline, threads);
    collection->begin();
  }
  // Nothing may be thrown until the collection is finished.
  for (CollectorCall& made : here) made.outcome = made.collector->collect();
  if (collection != nullptr) elsewhere = collection->finish(stop);

  // Failures are reported at the end, so that a page shows the errors of the pages before it.
  Collected collected;
  for (auto* calls : {&here, &elsewhere}) {
    for (auto& [collector, on_error, state, is_shared, outcome] : *calls) {
      switch (outcome.kind) {
        case CollectorOutcome::Kind::shown:
          collected.emplace(collector.get(), CollectedCall{std::move(outcome.families), outcome.duration});
          break;
        case CollectorOutcome::Kind::thrown:
          collected.emplace(collector.get(), CollectedCall{nullptr, outcome.duration});
          report(*collector, CollectorFault::exception,
                 outcome.error != nullptr ? std::string_view(*outcome.error) : "there is no memory left", *on_error);
          break;
        case CollectorOutcome::Kind::none:
          if (stop.stop_requested()) break;
          report(*collector, CollectorFault::timeout, "no call of it was over at the deadline of the scrape",
                 *on_error);
          break;
        case CollectorOutcome::Kind::ended:
          break;
      }
    }
  }
  return collected;
}

}  // namespace quipu::detail

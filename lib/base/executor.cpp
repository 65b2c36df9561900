#include "base/executor.hpp"

#include <condition_variable>
#include <exception>
#include <iterator>
#include <list>
#include <thread>
#include <utility>

#include "base/fork.hpp"
#include "base/threads.hpp"

namespace quipu::detail {

/// The threads of one process, which share it.
class Executor::Threads : public std::enable_shared_from_this<Threads> {
 public:
  Threads(const char* name, std::size_t most_idle) : name_(name), most_idle_(most_idle) {}

  [[nodiscard]] bool is_of_this_process() const noexcept { return process_.is_current(); }

  /// Has a thread run it; false if there is none, and none can be started.
  [[nodiscard]] bool take(std::shared_ptr<TaskSequence> sequence) noexcept;

  enum class Busy { detach, join };
  void end(Busy busy) noexcept;

 private:
  struct Thread {
    std::thread handle{};
    bool is_idle = false;
  };

  void work(std::list<Thread>::iterator self) noexcept;

  const ProcessGeneration process_;
  const char* const name_;
  const std::size_t most_idle_;

  // The mutex guards what follows, and is not held while a sequence runs.
  //
  // For each sequence that waits there is a thread that comes for it: an idle one, or one that was started for it. A
  // thread that leaves joins the one that left before it, so that at most one is left to be joined.
  std::mutex mutex_;
  std::condition_variable has_changed_;
  std::list<std::shared_ptr<TaskSequence>> waiting_;
  std::list<Thread> threads_;
  std::size_t idle_ = 0;
  std::thread left_;
  bool has_ended_ = false;
};

bool Executor::Threads::take(std::shared_ptr<TaskSequence> sequence) noexcept {
  const std::lock_guard lock(mutex_);
  if (has_ended_) return false;
  try {
    waiting_.push_back(std::move(sequence));
  } catch (const std::exception&) {
    return false;
  }
  if (idle_ >= waiting_.size()) {
    has_changed_.notify_one();
    return true;
  }
  try {
    std::list<Thread> made(1);
    made.front().handle =
        start_thread(name_, [threads = shared_from_this(), self = made.begin()] { threads->work(self); });
    threads_.splice(threads_.end(), made);
    return true;
  } catch (const std::exception&) {
    waiting_.pop_back();
    return false;
  }
}

void Executor::Threads::work(std::list<Thread>::iterator self) noexcept {
  std::unique_lock lock(mutex_);
  // After the end `self` is no more.
  while (!has_ended_) {
    if (waiting_.empty()) {
      if (idle_ == most_idle_) {
        std::thread before = std::exchange(left_, std::move(self->handle));
        threads_.erase(self);
        lock.unlock();
        if (before.joinable()) before.join();
        return;
      }
      self->is_idle = true;
      ++idle_;
      has_changed_.wait(lock, [this] { return has_ended_ || !waiting_.empty(); });
      --idle_;
      if (has_ended_) return;
      self->is_idle = false;
    }
    auto sequence = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    sequence->run();
    sequence.reset();
    lock.lock();
  }
}

void Executor::Threads::end(Busy busy) noexcept {
  std::list<Thread> joined;
  std::thread left;
  std::list<std::shared_ptr<TaskSequence>> dropped;
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
    dropped.swap(waiting_);
    left.swap(left_);
    for (auto thread = threads_.begin(); thread != threads_.end();) {
      const auto next = std::next(thread);
      if (thread->is_idle || busy == Busy::join) {
        joined.splice(joined.end(), threads_, thread);
      } else {
        thread->handle.detach();
      }
      thread = next;
    }
    threads_.clear();
  }
  has_changed_.notify_all();
  for (Thread& thread : joined) thread.handle.join();
  if (left.joinable()) left.join();
}

std::shared_ptr<Executor::Threads> Executor::threads() {
  auto* known = threads_.load(std::memory_order_acquire);  // pairs with the exchange
  if (known != nullptr && (*known)->is_of_this_process()) return *known;
  // A forked child leaks what it has of its parent's threads: they are not here to leave its mutex and its condition
  // variable, so that it could not be destroyed.
  auto made = std::make_unique<std::shared_ptr<Threads>>(std::make_shared<Threads>(name_, most_idle_));
  const bool is_first = threads_.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel,
                                                         std::memory_order_acquire);  // pairs with itself and the loads
  return is_first ? *made.release() : *known;
}

std::shared_ptr<Executor::Threads> Executor::release_threads() noexcept {
  // Pairs with the exchange in threads().
  std::unique_ptr<std::shared_ptr<Threads>> threads(threads_.exchange(nullptr, std::memory_order_acquire));
  if (threads == nullptr) return nullptr;
  if ((*threads)->is_of_this_process()) return std::move(*threads);
  static_cast<void>(threads.release());  // as in threads()
  return nullptr;
}

Executor::~Executor() {
  if (const auto threads = release_threads()) threads->end(Threads::Busy::detach);
}

void Executor::join() noexcept {
  if (const auto threads = release_threads()) threads->end(Threads::Busy::join);
}

void TaskSequence::add(Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
}

TaskSequence::Clock::time_point TaskSequence::hand_on(const std::shared_ptr<void>& keeper) noexcept {
  std::unique_lock lock(mutex_);
  while (!tasks_.empty()) {
    if (has_thread_) {
      const auto now = Clock::now();
      const auto end_of_turn = begun_.value_or(now) + longest_turn;
      if (now < end_of_turn) return end_of_turn;
      ++turn_;
    }
    has_thread_ = true;
    begun_.reset();
    lock.unlock();
    const bool is_taken = threads_->take(std::shared_ptr<TaskSequence>(keeper, this));
    lock.lock();
    if (is_taken) continue;
    if (!tasks_.empty()) run_next(lock);
    has_thread_ = false;
    return Clock::now();
  }
  return Clock::time_point::max();
}

void TaskSequence::clear() noexcept {
  std::list<Task> dropped;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  dropped.swap(tasks_);
}

void TaskSequence::run() noexcept {
  std::unique_lock lock(mutex_);
  const auto turn = turn_;
  while (turn == turn_ && !tasks_.empty()) run_next(lock);
  if (turn == turn_) has_thread_ = false;
}

void TaskSequence::run_next(std::unique_lock<std::mutex>& lock) noexcept {
  Task task = std::move(tasks_.front());
  tasks_.pop_front();
  const auto now = Clock::now();
  begun_ = now;
  lock.unlock();
  if (now < deadline_) task();
  task = nullptr;  // with what it holds, without the lock
  lock.lock();
}

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// The threads on which task sequences run.
///
/// They are started when there is something to run, and kept for the next sequence, but never more than `most_idle`
/// without work. A forked child has none of its parent's threads: there the executor starts its own, and leaves alone
/// what its parent's threads used. Thread-safe, but for join() and destruction, at which nobody may use it.
class QUIPU_EXPORT Executor {
 public:
  /// The name of its threads is a string of static lifetime, of at most 15 characters.
  Executor(const char* thread_name, std::size_t most_idle) noexcept : name_(thread_name), most_idle_(most_idle) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  /// Ends the threads. Those that are inside a sequence end when they leave it, and nobody waits for them: one of them
  /// may even be the thread that destroys the executor.
  ~Executor();

  /// Ends the threads, and waits until they have left the sequences that they are inside. Clear these before, so that
  /// no further task begins. No task may call it.
  void join() noexcept;

 private:
  friend class TaskSequence;
  class Threads;

  /// Those of this process. Throws std::bad_alloc.
  [[nodiscard]] std::shared_ptr<Threads> threads();
  /// Those of this process if there are any, which are given up.
  [[nodiscard]] std::shared_ptr<Threads> release_threads() noexcept;

  const char* const name_;
  const std::size_t most_idle_;
  // Made at first use and replaced in a forked child. No mutex guards it, because a fork may leave one locked.
  std::atomic<std::shared_ptr<Threads>*> threads_{nullptr};
};

/// Tasks that run in the order in which they were added, one after another, on a thread of an executor; but none waits
/// longer than `longest_turn` for the one before it.
///
/// A task that takes longer loses the turn: the next one begins on another thread, and the first thread leaves the
/// sequence when its task is over. So quick tasks share one thread and one handoff, and a sequence has no more threads
/// than tasks that take long, and one. No thread watches over that: it is for the thread that waits for the tasks
/// anyway, which calls hand_on().
///
/// Tasks must not throw. A sequence belongs to the process in which it was made. Thread-safe, but for hand_on() and
/// destruction.
class QUIPU_EXPORT TaskSequence {
 public:
  using Clock = std::chrono::steady_clock;
  using Task = std::function<void()>;

  /// Thousands of times what starting a thread costs, and little to those who wait for seconds.
  static constexpr std::chrono::milliseconds longest_turn{100};

  /// A task whose turn comes at the deadline or later is dropped. Throws std::bad_alloc.
  explicit TaskSequence(Executor& executor, Clock::time_point deadline = Clock::time_point::max())
      : threads_(executor.threads()), deadline_(deadline) {}
  TaskSequence(const TaskSequence&) = delete;
  TaskSequence& operator=(const TaskSequence&) = delete;

  /// It does not begin before the next call of hand_on(), unless a thread is inside the sequence. Throws
  /// std::bad_alloc.
  void add(Task task);

  /// Lets a thread begin with the tasks, or go on with them if one takes too long. Returns when it is to be called
  /// again: never (time_point::max()) if no task waits. For one thread at a time.
  ///
  /// If no thread can be started, this one runs the next task, and is to call it again at once.
  ///
  /// `keeper` is held while a thread is inside the sequence: it keeps the sequence and what its tasks use. It may be
  /// null if these are kept until the executor was joined.
  [[nodiscard]] Clock::time_point hand_on(const std::shared_ptr<void>& keeper) noexcept;

  /// Drops the tasks that have not begun.
  void clear() noexcept;

 private:
  friend class Executor;

  /// For the thread that was given the turn.
  void run() noexcept;
  void run_next(std::unique_lock<std::mutex>& lock) noexcept;

  const std::shared_ptr<Executor::Threads> threads_;
  const Clock::time_point deadline_;

  // The mutex guards what follows, and is not held while a task runs.
  //
  // One thread at most has the turn, from when the executor is asked for it (`has_thread_`) until it finds no task
  // left. It takes the first task, runs it, and takes the next one. A thread knows its turn by the number that it found
  // when it came. Adding one takes the turn from it, which is done only while it is inside a task; when it comes back,
  // it finds another number and leaves everything else alone.
  std::mutex mutex_;
  std::list<Task> tasks_;  // that have not begun; an empty list needs no memory, a deque does
  std::uint64_t turn_ = 0;
  bool has_thread_ = false;
  std::optional<Clock::time_point> begun_{};  // the task of this turn; nothing until the thread has come
};

}  // namespace quipu::detail

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/executor.hpp"
#include "base/fork.hpp"
#include "quipu/health.hpp"

namespace quipu {

/// Calls checks when they are due, and keeps their last outcomes.
///
/// A scheduler thread adds each check to a task sequence when it is due, hands the turn in the sequence on if a check
/// takes long, and asks calls to stop that are over their deadline. If the system has no other thread to give, it calls
/// the checks itself.
///
/// Thread-safe, but for end() and destruction. A forked child has none of the threads, and finds the mutex as it was in
/// its parent: there nothing is touched.
class Health::Monitor {
 public:
  explicit Monitor(HealthOptions options);
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  [[nodiscard]] bool is_of_this_process() const noexcept { return process_.is_current(); }

  // As those of Health.
  void add(HealthCheck check);
  bool remove(const std::string& name);
  [[nodiscard]] HealthReport report() const;
  HealthReport check_now(std::chrono::milliseconds limit);

  /// Asks the calls under way to stop and waits for them. After that there are no components.
  void end() noexcept;

  [[nodiscard]] const HealthOptions& options() const noexcept { return options_; }

 private:
  struct Component;
  using ComponentPtr = std::shared_ptr<Component>;
  using Clock = std::chrono::steady_clock;

  void schedule() noexcept;
  void call(const ComponentPtr& component) noexcept;

  // With the lock held.
  [[nodiscard]] bool has(const ComponentPtr& component) const noexcept;
  void add_task(const ComponentPtr& component) noexcept;
  void add_task_of_telling() noexcept;
  static void stop(std::unique_lock<std::mutex>& lock, std::stop_source source) noexcept;
  void note_change(Component& component) noexcept;
  void tell_changes(std::unique_lock<std::mutex>& lock) noexcept;

  HealthOptions options_;
  const detail::ProcessGeneration process_;
  const Clock::time_point began_ = Clock::now();
  // One thread is kept for the next check that is due.
  detail::Executor executor_{"quipu-health", 1};
  detail::TaskSequence tasks_{executor_};

  // The mutex guards what follows and the components, and is not held while a check or on_change is called, or a check
  // is asked to stop.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ComponentPtr> components_;
  std::thread scheduler_;  // since the first component was added
  bool is_ending_ = false;
  std::uint64_t changes_ = 0;  // of statuses, so far
  bool is_telling_ = false;    // a thread is inside on_change, and will tell what changes meanwhile
};

}  // namespace quipu

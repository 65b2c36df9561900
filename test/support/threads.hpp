#pragma once

#include <atomic>
#include <thread>
#include <vector>

/// Runs threads until the end of the scope.
class Threads {
 public:
  Threads() = default;
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { stop(); }

  /// Calls `step` again and again. Returns when the thread has begun.
  template <class Step>
  void repeat(Step step) {
    std::atomic<bool> has_begun{false};
    threads_.emplace_back([this, step, &has_begun]() mutable {
      has_begun = true;
      while (!is_over_.load(std::memory_order_relaxed)) step();
    });
    while (!has_begun) std::this_thread::yield();
  }
  /// Calls `work` once.
  template <class Work>
  void once(Work work) {
    threads_.emplace_back(work);
  }

  void join() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  void stop() {
    is_over_ = true;
    join();
  }

 private:
  std::atomic<bool> is_over_{false};
  std::vector<std::thread> threads_;
};

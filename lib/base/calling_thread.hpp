#pragma once

#include <atomic>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// A thread, as one that may be inside calls of functions that the program gave: collectors, callbacks and checks.
///
/// Whoever ends such a function waits for the threads that are inside it. A call may itself end others, so threads
/// could wait for each other in a circle. They do not: a thread that waits inside a call is marked before it looks for
/// whom, and such a thread does not wait for those that are marked. Of a circle, the thread that was marked last finds
/// the next one marked. A thread that is inside no call is in no circle, so it waits for all.
///
/// Thread-safe.
class QUIPU_EXPORT CallingThread {
 public:
  /// The calling thread. Valid until it ends.
  [[nodiscard]] static CallingThread& current() noexcept;

  /// A call on the current thread.
  class Call {
   public:
    Call() noexcept { ++thread_.calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { --thread_.calls_; }

   private:
    CallingThread& thread_ = current();
  };

  /// The time in which the current thread waits for others to leave calls.
  class Wait {
   public:
    Wait() noexcept : is_inside_call_(thread_.calls_ > 0) {
      if (is_inside_call_) thread_.is_waiting_.store(true, std::memory_order_seq_cst);  // with the load
    }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (is_inside_call_) thread_.is_waiting_.store(false, std::memory_order_relaxed);
    }

    /// Whether to wait for another thread, which is inside a call.
    [[nodiscard]] bool is_for(const CallingThread& other) const noexcept {
      if (&other == &thread_) return false;
      return !is_inside_call_ || !other.is_waiting_.load(std::memory_order_seq_cst);  // with the store
    }

   private:
    CallingThread& thread_ = current();
    const bool is_inside_call_;
  };

 private:
  int calls_ = 0;  // of the thread's own
  // Sequentially consistent where a thread begins to wait: of two that mark themselves and then look at each other, one
  // at least sees the other's mark.
  std::atomic<bool> is_waiting_{false};
};

}  // namespace quipu::detail

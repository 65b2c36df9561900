#pragma once

// How tests wait for other threads, and make them wait.

#include <atomic>
#include <chrono>
#include <stop_token>
#include <thread>

/// Whether a condition comes true in a minute. Sanitizers make some things take seconds.
template <class Condition>
bool soon(Condition condition) {
  using namespace std::chrono_literals;
  using Clock = std::chrono::steady_clock;
  for (const auto deadline = Clock::now() + 1min; Clock::now() < deadline; std::this_thread::sleep_for(1ms)) {
    if (condition()) return true;
  }
  return false;
}

/// Where threads wait until it is opened, or they are asked to stop. It has no lock, so that a forked child can use it.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { open(); }

  void open() { is_open_ = true; }
  void pass(const std::stop_token& stop = {}) {
    using namespace std::chrono_literals;
    ++entered_;
    while (!is_open_ && !stop.stop_requested()) std::this_thread::sleep_for(1ms);
    ++passed_;
  }
  [[nodiscard]] int entered() const { return entered_; }
  [[nodiscard]] int passed() const { return passed_; }
  [[nodiscard]] int waiting() const { return entered_ - passed_; }

 private:
  std::atomic<bool> is_open_{false};
  std::atomic<int> entered_{0};
  std::atomic<int> passed_{0};
};

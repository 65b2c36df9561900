#pragma once

#include <chrono>
#include <thread>

namespace quipu::detail {

/// Waits for another thread to get on. First it yields; then it sleeps, as the other one may have a lower priority.
class Patience {
 public:
  void wait() {
    if (++tries_ < 64) return std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }

 private:
  int tries_ = 0;
};

}  // namespace quipu::detail

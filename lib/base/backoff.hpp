#pragma once

#include <chrono>
#include <thread>

namespace quipu::detail {

/// Waits for another thread to get on. First it yields; then it sleeps, as the other one may have a lower priority.
class Backoff {
 public:
  void wait() {
    if (++waits_ < yields) return std::this_thread::yield();
    std::this_thread::sleep_for(pause);
  }

  /// Whether it has waited for a second or two: the other thread may have ended where no thread should.
  [[nodiscard]] bool is_exhausted() const noexcept { return waits_ >= most_waits; }

 private:
  static constexpr int yields = 64;
  static constexpr std::chrono::microseconds pause{50};
  static constexpr int most_waits = yields + static_cast<int>(std::chrono::seconds(1) / pause);

  int waits_ = 0;
};

}  // namespace quipu::detail

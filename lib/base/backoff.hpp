#pragma once

#include <chrono>
#include <thread>

namespace quipu::detail {

/// Waits for another thread to make progress. It yields at first. Later it sleeps, as the other thread may have a lower
/// priority. Where many threads want to run, a yield takes as long as all of them together, so it sleeps after one that
/// took longer than a sleep.
class Backoff {
 public:
  void wait() {
    if (++waits_ >= yields) return std::this_thread::sleep_for(pause);
    const auto begin = std::chrono::steady_clock::now();
    std::this_thread::yield();
    if (std::chrono::steady_clock::now() - begin > pause) waits_ = yields;
  }

  /// Whether it has waited for a second or two. The other thread has then probably ended at a point where it must not.
  [[nodiscard]] bool is_exhausted() const noexcept { return waits_ >= most_waits; }

 private:
  static constexpr int yields = 64;
  static constexpr std::chrono::microseconds pause{50};
  static constexpr int most_waits = yields + static_cast<int>(std::chrono::seconds(1) / pause);

  int waits_ = 0;
};

}  // namespace quipu::detail

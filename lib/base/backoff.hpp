#pragma once

#include <chrono>
#include <thread>

namespace quipu::detail {

/// Waits for another thread to make progress. It spins at first, for a microsecond or two. Later it sleeps, as the
/// other thread is not running then. It does not yield: where many threads want to run, that takes as long as all of
/// them together.
class Backoff {
 public:
  void wait() {
    if (++waits_ >= spins) return std::this_thread::sleep_for(pause);
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }

  /// Whether it has spun for a while, and sleeps from now on.
  [[nodiscard]] bool is_sleeping() const noexcept { return waits_ >= spins; }
  /// Whether it has waited for a second or two. The other thread has then probably ended at a point where it must not.
  [[nodiscard]] bool is_exhausted() const noexcept { return waits_ >= most_waits; }

 private:
  static constexpr int spins = 64;
  static constexpr std::chrono::microseconds pause{50};
  static constexpr int most_waits = spins + static_cast<int>(std::chrono::seconds(1) / pause);

  int waits_ = 0;
};

}  // namespace quipu::detail

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "quipu/collector.hpp"
#include "quipu/statsd.hpp"
#include "recorder/statsd_socket.hpp"

namespace quipu::statsd {

/// Why a line will never be sent.
enum class Drop : std::uint8_t { forked, not_finite, too_long, too_many, unsent };

/// Counts what became of recordings. A registry may show it, and may keep it longer than the recorder lives.
/// Thread-safe. All counts are relaxed: nobody needs them to agree with each other.
class Stats final : public Collector {
 public:
  void count_sent(std::size_t bytes) noexcept {
    datagrams_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void count(Failure why) noexcept { failures_[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed); }
  void count(Drop why, std::size_t lines = 1) noexcept {
    drops_[static_cast<std::size_t>(why)].fetch_add(lines, std::memory_order_relaxed);
  }

  [[nodiscard]] StatsdStats totals() const noexcept;

  [[nodiscard]] std::vector<FamilyDescription> describe() const override;
  void collect(Samples& samples) override;

 private:
  std::atomic<std::uint64_t> datagrams_{0};
  std::atomic<std::uint64_t> bytes_{0};
  std::array<std::atomic<std::uint64_t>, 3> failures_{};  // by Failure
  std::array<std::atomic<std::uint64_t>, 5> drops_{};     // by Drop
};

}  // namespace quipu::statsd

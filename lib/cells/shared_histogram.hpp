#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "quipu/detail/cells/cell_memory.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"

namespace quipu::detail {

/// A histogram that any number of threads write to. It holds what is observed without a thread cell.
///
/// There are two halves, and writers add to the hot one. A reader makes the other half hot, waits until the writers
/// inside the old half have left it, and then has the old half to itself. It moves the contents to the hot one.
///
/// Each reading begins an *epoch*. The lowest bit of its number says which half is hot. `started_` holds the epoch and
/// how many observations began in it. So one atomic addition both chooses the half and announces the writer in it: no
/// writer is in a half unannounced. `ended` of a half holds the epoch in which it became hot, and how many observations
/// of that epoch have ended. A half that has become cold is quiet when the two are equal.
///
/// A writer may never come to the end of its observation: it was left in the parent of a fork, or its thread ended. A
/// reader does not wait for it longer than Backoff allows, and only for a moment in its first reading after a fork. It
/// then takes the half as it is. As each epoch counts from 0, no later reading waits for that writer again. A writer
/// that was only late finds another epoch in the half, and does not count its end. Its additions are counted in
/// whichever half it makes them; from then on, readers also look for such additions in the half that was cold. A
/// reading that comes between them may show its observation in the buckets and not in the sum, and the next one shows
/// it in both.
class SharedHistogram {
 public:
  /// Throws std::bad_alloc.
  explicit SharedHistogram(std::size_t buckets);
  SharedHistogram(const SharedHistogram&) = delete;
  SharedHistogram& operator=(const SharedHistogram&) = delete;

  /// In memory of acquire_memory(). Null if memory ran out.
  [[nodiscard]] static SharedHistogram* make(std::size_t buckets) noexcept;
  static void destroy(SharedHistogram* histogram) noexcept;

  /// Adds `count` to the bucket. Thread-safe, lock-free.
  void observe(std::size_t bucket, double sum, std::uint64_t count = 1) noexcept {
    const std::uint64_t ticket = begin();
    add(ticket, bucket, sum, count);
    end(ticket);
  }
  /// Adds buckets and sum of one moment. Thread-safe; readers exclude each other. Not interrupted by a fork.
  void add_to(HistogramReading& into);
  /// Takes off what was read: all buckets, modulo 2^64, and a sum of two parts, of which the first was here. Whoever
  /// sees this sees what was read before it, as readers take the lock too.
  void take_off(std::span<const std::uint64_t> counts, double shared_sum, double sum_of_threads);
  /// The observations, without waiting for anything. May be wrong while there is a reader.
  [[nodiscard]] std::uint64_t count() const noexcept;

  // The parts of an observation.
  [[nodiscard]] std::uint64_t begin() noexcept;
  void add(std::uint64_t ticket, std::size_t bucket, double sum, std::uint64_t count = 1) noexcept;
  void end(std::uint64_t ticket) noexcept;

 private:
  struct Half;
  /// Adds what it moves to `into`, if that is given.
  static void move(Half& from, Half& to, HistogramReading* into) noexcept;

  struct Half {
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> sum{0};  // the bits of a double
    std::vector<std::atomic<std::uint64_t>, CellAllocator<std::atomic<std::uint64_t>>> buckets;
  };
  /// The upper 16 bits of `started_` and `ended` are the epoch. So a writer may be 65,535 readings late, and there may
  /// be 2^48 observations from one reading to the next.
  static constexpr int epoch_shift = 48;
  [[nodiscard]] static constexpr std::uint64_t epoch_of(std::uint64_t ticket) noexcept { return ticket >> epoch_shift; }
  [[nodiscard]] Half& half_of(std::uint64_t ticket) noexcept { return halves_[epoch_of(ticket) & 1]; }

  std::atomic<std::uint64_t> started_{0};
  Half halves_[2];
  std::mutex reader_;         // guards what follows
  std::uint32_t forks_;       // before the last reading
  bool is_one_late_ = false;  // whether a reader ever went on without a writer
};

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "quipu/detail/cells/cell_memory.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"

namespace quipu::detail {

/// A histogram that any number of threads write to. It holds what is observed without a thread cell.
///
/// There are two halves, and writers add to the hot one. A reader makes the other half hot, waits until the writers
/// inside the old half have left it, and then has the old half to itself.
///
/// `started_` counts the observations that have begun, and its top bit says which half is hot. So one atomic addition
/// both chooses the half and announces the writer in it: no writer is in a half unannounced. Each half counts the
/// observations that have ended in it. A reader moves the contents of the cold half, with that count, to the hot one.
/// So between two readings the hot half accounts for all observations, and after the next flip it is quiet when its
/// count equals the number of observations started before the flip.
class SharedHistogram {
 public:
  /// Throws std::bad_alloc.
  explicit SharedHistogram(std::size_t buckets);
  SharedHistogram(const SharedHistogram&) = delete;
  SharedHistogram& operator=(const SharedHistogram&) = delete;

  /// In memory of acquire_memory(). Null if memory ran out.
  [[nodiscard]] static SharedHistogram* make(std::size_t buckets) noexcept;
  static void destroy(SharedHistogram* histogram) noexcept;

  /// Thread-safe, lock-free.
  void observe(std::size_t bucket, double value) noexcept;
  /// Adds buckets and sum of one moment. Thread-safe; readers exclude each other.
  void add_to(HistogramSnapshot& into);

 private:
  struct Half {
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> sum{0};  // the bits of a double
    std::vector<std::atomic<std::uint64_t>, CellAllocator<std::atomic<std::uint64_t>>> buckets;
  };

  std::atomic<std::uint64_t> started_{0};
  Half halves_[2];
  std::mutex reader_;
};

}  // namespace quipu::detail

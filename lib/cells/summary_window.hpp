#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/snapshot.hpp"

namespace quipu::detail {

/// The sliding window of a summary.
///
/// Recording knows nothing of it: a summary counts in a native histogram, from its beginning on. Its readers keep some
/// of their readings. What was observed in the window is the difference between the latest reading and a kept one, at
/// which the window begins.
///
/// With `age_buckets` n, the window begins at the newest kept reading that is at least (n-1)/n of `max_age` old. The
/// beginning of the series counts as a reading. A reading is kept if 1/n of `max_age` has passed since the last one
/// that was. So the window is between (n-1)/n of `max_age` and all of it, as in other clients, if the summary is read n
/// times in that time or more often. If it is read less often, the window begins earlier: it is never shorter, and no
/// observation is in none. It does not matter who reads, or how many do: to read takes nothing away from others.
///
/// After a reset of the family the window begins there: a difference to a reading before it is all that was observed
/// since (see NativeHistogramSnapshot::since).
///
/// Invariants, which the lock of the histogram's readers keeps:
///
///  1. A reading is read and kept in one critical section. So the kept readings are in the order of time, and none has
///     a count that is higher than in a later one, or in the latest reading.
///  2. Kept readings are 1/n of `max_age` apart, or more. Those that follow the first were made less than (n-1)/n of
///     `max_age` before the latest reading, or are that one. So there are at most n + 1.
class SummaryWindow {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  SummaryWindow(std::shared_ptr<const SummarySpec> spec, TimePoint begin);

  /// What was observed in the window that ends with this reading, which is later than all before. `now` is the time of
  /// the reading, or somewhat earlier. Throws std::bad_alloc; the window is then as before.
  [[nodiscard]] NativeHistogramSnapshot advance(const NativeHistogramSnapshot& reading, TimePoint now);

 private:
  struct Kept {
    TimePoint time;
    NativeHistogramSnapshot reading;
  };

  const std::shared_ptr<const SummarySpec> spec_;
  std::vector<Kept> kept_;  // never empty
};

}  // namespace quipu::detail

#pragma once

#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "quipu/detail/cells/cell_memory.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"
#include "quipu/detail/cells/native_layout.hpp"
#include "quipu/sample.hpp"
#include "quipu/snapshot.hpp"

/// Recording and reading native histograms. Their buckets are made when a value needs them, and become coarser when
/// there would be too many.
///
/// Nothing is ever moved from one thread cell to another. Instead there are generations. A *generation* has a
/// resolution, a map from buckets to counters, and a slot and tag, as a series has, by which each thread finds these
/// counters in its slab. To observe is to find the counter in the map, and then to do what every histogram does
/// (observe() in histogram_cells.hpp). So here, too, readers see buckets, sum and count of one moment. A change that
/// does not fit the current generation (a coarser resolution, more counters, a reset) makes a new generation the
/// current one.
///
/// With classic bounds, a bucket of the map is a native bucket together with a classic one. So one addition serves both
/// views, and they cannot disagree.
///
/// Invariants:
///
///  1. The resolution of a generation never changes. A bucket that has a counter in a generation keeps it. Buckets are
///     added only to the current generation.
///  2. A thread observes under a guard, in the generation that it found to be current under that guard. So after a
///     generation has ceased to be current and quiesce() has returned true, it is final: nobody adds to it.
///  3. Each observation is in one counter of one generation. The histogram is the sum of `base_` and of all generations
///     of the epoch in the list, from `oldest_` to the current one. Readers move final generations from the front of
///     the list into the base, and recycle their cells. Where quiesce() never returns true, the list only grows, and
///     there are no resets.
///  4. Within an epoch, resolutions become coarser along the list. A reset begins a new epoch. Observations of an older
///     epoch do not count any more.
///  5. `populated_` holds the native buckets of the epoch, those of the base and of all generations, in the current
///     resolution. There are at most `max_buckets`, unless nothing is left that could make them fewer.
namespace quipu::detail {

/// The checked options of a summary; see SummaryOptions.
struct SummarySpec {
  std::vector<double> quantiles;  // increasing
  std::chrono::nanoseconds max_age;
  std::uint32_t age_buckets;

  friend bool operator==(const SummarySpec&, const SummarySpec&) = default;
};

/// The checked options of a native histogram, or of the one that a summary counts in; see NativeHistogramOptions.
struct NativeSpec {
  NativeResolution initial{};
  double max_zero_threshold = 0;
  std::uint32_t max_buckets = 160;
  std::chrono::nanoseconds min_reset_interval{0};
  std::shared_ptr<const SummarySpec> summary{};  // null for a histogram; a summary is not reset

  friend bool operator==(const NativeSpec& a, const NativeSpec& b) noexcept {
    const bool is_one_summary =
        a.summary == nullptr || b.summary == nullptr ? a.summary == b.summary : *a.summary == *b.summary;
    return a.initial == b.initial && a.max_zero_threshold == b.max_zero_threshold && a.max_buckets == b.max_buckets &&
           a.min_reset_interval == b.min_reset_interval && is_one_summary;
  }
};

/// What observing may make grow is not in memory of operator new, which a program may replace, and observe in.
using NativeKeys = std::vector<NativeKey, CellAllocator<NativeKey>>;

/// One generation. Members are written before it is published, and do not change unless said otherwise.
///
/// The map is a hash table with open addressing, at most half full, and lies in memory behind this object. An entry is
/// 0, or a key in the upper half and the number of its counter in the lower half. A key is never 0.
struct alignas(64) NativeGeneration {
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  // Used by each observation:
  NativeLayout layout;
  const BucketLayout* classic;  // null if there are no classic bounds
  CellRef cells;
  const BucketLayout* counters;  // has a bucket for each counter
  std::uint32_t hash_shift;
  std::uint32_t mask;

  Cell cell;  // where `cells` points
  NativeResolution resolution;
  std::uint64_t epoch;
  WallTime created;                  // when the epoch began
  NativeGeneration* newer{nullptr};  // in the list; guarded by `native_lock` while this is the last generation
  NativeKeys keys;                   // by counter; guarded by `native_lock` while this is the current generation

  [[nodiscard]] std::atomic<std::uint64_t>* entries() noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1);
  }

  [[nodiscard]] NativeKey key(double value) const noexcept {
    const NativeKey native = layout.key(value);
    return classic == nullptr ? native : native | static_cast<NativeKey>(classic->index(value));
  }
  /// Where the search for a key begins. An index stands eight bits up in the key, so it is multiplied by 0x9E3779 ·
  /// 2^8. That is the golden ratio of 2^32, which spreads adjacent indices evenly.
  [[nodiscard]] std::uint32_t home(NativeKey key) const noexcept { return (key * 0x5A9E'3779u) >> hash_shift; }
  /// The number of the key's counter, or `none`.
  [[nodiscard]] std::uint32_t find(NativeKey key) noexcept {
    for (std::uint32_t i = home(key);; i = (i + 1) & mask) {
      // Acquire: pairs with the release in add(). A reader that has seen a count, and locks afterwards, finds its key.
      const std::uint64_t entry = entries()[i].load(std::memory_order_acquire);
      if (entry >> 32 == key) return static_cast<std::uint32_t>(entry);
      if (entry == 0) return none;
    }
  }
};

class SummaryWindow;

/// A native histogram. The `bits` of its series' cell point to it from the beginning of the series until the series is
/// recycled. Readers share its ownership, as they cannot hold a guard while they wait for the guards of other threads.
class QUIPU_EXPORT NativeCells {
 public:
  /// `classic` is null if there are no classic bounds. Throws std::bad_alloc.
  NativeCells(const NativeSpec& spec, const BucketLayout* classic);
  NativeCells(const NativeCells&) = delete;
  NativeCells& operator=(const NativeCells&) = delete;

  /// To be called under a guard, which keeps the generation in place. Acquire: pairs with the release in publish().
  [[nodiscard]] NativeGeneration& current() noexcept { return *current_.load(std::memory_order_acquire); }
  /// 0 if there are no classic bounds.
  [[nodiscard]] std::size_t classic_bucket(double value) const noexcept {
    return classic_ == nullptr ? 0 : classic_->index(value);
  }
  // To be called under a guard.

  /// Observes a value whose bucket has no counter yet.
  void observe_slowly(double value) noexcept;
  void observe_many(double value, std::uint64_t count) noexcept;
  /// Not to be called under a guard. Takes a lock, and waits for guards. `patience` as for read_histogram(). Throws
  /// std::bad_alloc.
  void read(NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience);
  /// The same for a summary; see SummaryWindow.
  void read_summary(SummarySnapshot& into, std::chrono::nanoseconds& patience,
                    std::chrono::steady_clock::time_point now);
  /// Begins again at 0. What is observed meanwhile may be lost. Does nothing where quiesce() returns false. Takes a
  /// lock. False if memory ran out.
  [[nodiscard]] bool begin_again() noexcept;

  /// The constructor makes the first owner. Relaxed: the caller holds a guard or is an owner, so this object stays.
  void share() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
  /// Destroys this object if the caller is the last owner.
  void release() noexcept;

 private:
  /// Counts by key, in the order of keys, and the sum of the observed values.
  struct Counts {
    std::uint64_t epoch = 0;
    NativeResolution resolution{};
    std::vector<std::pair<NativeKey, std::uint64_t>> by_key{};
    double sum = 0;

    void make_coarser(const NativeResolution& to) noexcept;
    /// `part` is this resolution or a coarser one, and becomes the resolution of the result. Throws std::bad_alloc.
    void add(const NativeResolution& part, std::span<const NativeKey> keys, const HistogramReading& counted);
    void merge() noexcept;
    /// Needs `into.counts` to have all classic buckets, at 0. Throws std::bad_alloc.
    void show(NativeHistogramSnapshot& into) const;
  };
  using Clock = std::chrono::steady_clock;

  ~NativeCells();

  // To be called with `native_lock` held.
  [[nodiscard]] bool add(NativeGeneration& seen, NativeKey key) noexcept;
  [[nodiscard]] bool reduce() noexcept;
  [[nodiscard]] bool reset() noexcept;
  [[nodiscard]] bool publish(const NativeResolution& resolution, std::uint32_t counters, std::uint64_t epoch) noexcept;
  [[nodiscard]] bool can_reset() const noexcept;

  // To be called with `reading_` held.
  void read_all(NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience);
  void fold(NativeGeneration& final_one, std::uint64_t epoch, std::chrono::nanoseconds& patience);

  const NativeSpec spec_;
  const BucketLayout* const classic_;
  std::atomic<NativeGeneration*> current_;  // stored with `native_lock` held
  std::atomic<std::uint32_t> owners_{1};

  // Guarded by `native_lock`, which all native histograms share.
  NativeKeys populated_;       // in the order of keys; without classic buckets, and without the zero bucket
  bool is_reset_due_ = false;  // at the first reading after the minimum interval
  bool was_read_ = false;      // since the last reset
  Clock::time_point last_reset_;

  std::mutex reading_;  // guards the members below; held while quiesce() is called, so never taken under a guard
  NativeGeneration* oldest_;
  Counts base_;
  std::unique_ptr<SummaryWindow> window_;  // null for a histogram
};

inline void observe_native(CellRef to, double value) noexcept {
  const Guard guard;
  if (!to.is_live()) [[unlikely]] {
    return;
  }
  // Relaxed: the pointer is stored before the series can be found. The guard keeps what it points to in place.
  auto& histogram = *std::bit_cast<NativeCells*>(to.cell->bits.load(std::memory_order_relaxed));
  NativeGeneration& current = histogram.current();
  const std::uint32_t counter = current.find(current.key(value));
  if (counter == NativeGeneration::none) [[unlikely]] {
    return histogram.observe_slowly(value);
  }
  observe(current.cells, *current.counters, counter, value);
}

/// The same `count` times.
QUIPU_EXPORT void observe_native_many(CellRef to, double value, std::uint64_t count) noexcept;

/// The place of a value's exemplar. There is one for each classic bucket, or only one if there are no classic bounds.
QUIPU_EXPORT [[nodiscard]] std::size_t native_place(CellRef series, double value) noexcept;

/// Nothing for a removed series. Not to be called under a guard. `patience` as for read_histogram(). Throws
/// std::bad_alloc.
QUIPU_EXPORT void read_native(CellRef from, NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience);
inline void read_native(CellRef from, NativeHistogramSnapshot& into) {
  std::chrono::nanoseconds patience = reading_patience;
  read_native(from, into, patience);
}

/// The same for a summary. `now` is when it is read. Nothing, and no quantiles, for a removed series.
QUIPU_EXPORT void read_summary(CellRef from, SummarySnapshot& into, std::chrono::nanoseconds& patience,
                               std::chrono::steady_clock::time_point now);
inline void read_summary(CellRef from, SummarySnapshot& into) {
  std::chrono::nanoseconds patience = reading_patience;
  read_summary(from, into, patience, std::chrono::steady_clock::now());
}
/// Resets a histogram. What is observed meanwhile may be lost. Does nothing where quiesce() returns false. Waits as
/// read_native(). Throws std::bad_alloc.
void reset_native(CellRef histogram, std::chrono::nanoseconds& patience);

/// As count_observations().
[[nodiscard]] std::uint64_t count_native_observations(CellRef from) noexcept;

/// Makes a series native. The series has just begun, and cannot be found yet.
QUIPU_EXPORT void begin_native(Cell& cell, NativeCells& histogram) noexcept;
/// Gives up the series' share of the histogram, after the series has ended and quiesce() has returned true.
QUIPU_EXPORT void recycle_native(Cell& cell) noexcept;

}  // namespace quipu::detail

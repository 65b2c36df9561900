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

#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/detail/cells/cells.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/native_layout.hpp"
#include "quipu/sample.hpp"

/// Recording and reading native histograms, whose buckets come as values need them, and become coarser when there would
/// be too many.
///
/// Nothing is ever moved from one thread cell to another. Instead there are generations. A *generation* is a series to
/// the cells (a tag, a slot, and with it a run of counters in the slab of every thread), a resolution, and a map from
/// bucket to counter. To observe is to find the counter in the map, and then what every histogram does (observe() in
/// cells.hpp), so that readers see buckets, sum and count of one moment here too. Whatever does not fit the current
/// generation (a coarser resolution, more counters, a new beginning) makes a new one the current one.
///
/// With classic bounds, a bucket of the map is a native bucket and a classic one. So one addition serves both views,
/// and they cannot disagree.
///
/// What holds at any time:
///
///  1. The resolution of a generation never changes, and a bucket that has a counter in it keeps it. Buckets are added
///     only to the current generation.
///  2. A thread observes under a guard, in the generation that it found to be current under that guard. So once a
///     generation is not current any more and quiesce() has returned true, it is final: nobody adds to it.
///  3. Each observation is in one counter, of one generation. The histogram is `base_` and all generations of the epoch
///     that are in the list, from `oldest_` to the current one. Readers move final generations from the list's front
///     into the base, and give their counters back. Where there is no quiesce(), the list only grows.
///  4. Resolutions become coarser along the list, within an epoch. A reset begins a new epoch; what is of an older one
///     does not count any more.
///  5. `populated_` is the native buckets of the epoch, whether they are in the base or in a generation, in the current
///     resolution. There are no more than `max_buckets` of them, unless nothing is left that could make them fewer.
namespace quipu::detail {

/// What a native histogram was asked to be; see NativeHistogramOptions.
struct NativeSpec {
  NativeResolution initial{};
  double max_zero_threshold = 0;
  std::uint32_t max_buckets = 160;
  std::chrono::nanoseconds min_reset_interval{0};

  friend bool operator==(const NativeSpec&, const NativeSpec&) = default;
};

/// Of one moment: a native histogram, and its classic buckets.
struct NativeSnapshot {
  using Bucket = NativeBuckets::Bucket;

  std::int32_t schema = 0;
  double zero_threshold = 0;
  std::uint64_t zero_count = 0;
  std::vector<Bucket> positive;       // by increasing index; none is empty
  std::vector<Bucket> negative;       // likewise
  std::vector<std::uint64_t> counts;  // classic: for each bound, and +Inf; not cumulative
  double sum = 0;
  /// When the series was made, or reset last.
  WallTime created{};

  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t total = zero_count;
    for (const Bucket& bucket : positive) total += bucket.count;
    for (const Bucket& bucket : negative) total += bucket.count;
    return total;
  }
  /// Refers to this snapshot.
  [[nodiscard]] NativeBuckets buckets() const noexcept {
    return {schema, zero_threshold, zero_count, positive, negative};
  }
};

/// One generation. All but what is said otherwise is written before it is published and does not change.
///
/// The map is a hash table of open addressing, at most half full, right behind. An entry is 0, or a key in the upper
/// half and the number of its counter in the lower one. A key is never 0.
struct alignas(64) NativeGeneration {
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  // For each observation:
  NativeLayout layout;
  const BucketLayout* classic;  // null if there are no bounds
  CellRef cells;
  const BucketLayout* counters;  // of as many buckets as there are counters
  std::uint32_t hash_shift;
  std::uint32_t mask;

  Cell cell;  // where `cells` points
  NativeResolution resolution;
  std::uint64_t epoch;
  WallTime created;                  // when the epoch began
  NativeGeneration* newer{nullptr};  // guarded by the lock, for the last one in the list
  std::vector<NativeKey> keys;       // by counter; guarded by the lock while this is the current generation

  [[nodiscard]] std::atomic<std::uint64_t>* entries() noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1);
  }

  [[nodiscard]] NativeKey key(double value) const noexcept {
    const NativeKey native = layout.key(value);
    return classic == nullptr ? native : native | static_cast<NativeKey>(classic->index(value));
  }
  /// Where the search for a key begins. Indices that follow each other, as those in use do, are spread evenly: the
  /// middle bits of the factor, which is what an index is multiplied by, are those of the golden ratio.
  [[nodiscard]] std::uint32_t home(NativeKey key) const noexcept { return (key * 0x5A9E'3779u) >> hash_shift; }
  /// The number of the key's counter, or `none`.
  [[nodiscard]] std::uint32_t find(NativeKey key) noexcept {
    for (std::uint32_t i = home(key);; i = (i + 1) & mask) {
      // Acquire: pairs with the release in add(). Whoever reads what was counted, and has locked since, knows the key.
      const std::uint64_t entry = entries()[i].load(std::memory_order_acquire);
      if (entry >> 32 == key) return static_cast<std::uint32_t>(entry);
      if (entry == 0) return none;
    }
  }
};

/// A native histogram behind its series' cell, whose `bits` is a pointer to it from the beginning of the series to its
/// recycling. Readers, who cannot hold a guard while they wait for others' guards, share its ownership.
class NativeCells {
 public:
  /// `classic` is null if there are no bounds. Throws std::bad_alloc.
  NativeCells(const NativeSpec& spec, const BucketLayout* classic);
  NativeCells(const NativeCells&) = delete;
  NativeCells& operator=(const NativeCells&) = delete;

  /// Under a guard, so that it stays what it is. Acquire: pairs with the release in publish().
  [[nodiscard]] NativeGeneration& current() noexcept { return *current_.load(std::memory_order_acquire); }
  /// 0 if there are no classic bounds.
  [[nodiscard]] std::size_t classic_bucket(double value) const noexcept {
    return classic_ == nullptr ? 0 : classic_->index(value);
  }
  /// Observes a value whose bucket has no counter yet. Under a guard.
  void observe_slowly(double value) noexcept;
  /// Not under a guard. Throws std::bad_alloc.
  void read(NativeSnapshot& into);

  /// Ownership begins with one.
  void share() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

 private:
  /// Counts by key, in order, and their sum.
  struct Counts {
    std::uint64_t epoch = 0;
    NativeResolution resolution{};
    std::vector<std::pair<NativeKey, std::uint64_t>> by_key{};
    double sum = 0;

    void make_coarser(const NativeResolution& to) noexcept;
    /// `part` is of the same resolution or of a coarser one, which this then has too. Throws std::bad_alloc.
    void add(const NativeResolution& part, std::span<const NativeKey> keys, const HistogramSnapshot& counted);
    void merge() noexcept;
    /// `into.counts` is all 0, and long enough. Throws std::bad_alloc.
    void show(NativeSnapshot& into) const;
  };
  using Clock = std::chrono::steady_clock;

  ~NativeCells();

  // With the lock held.
  [[nodiscard]] bool add(NativeGeneration& seen, NativeKey key) noexcept;
  [[nodiscard]] bool reduce() noexcept;
  [[nodiscard]] bool reset() noexcept;
  [[nodiscard]] bool publish(const NativeResolution& resolution, std::uint32_t counters, std::uint64_t epoch) noexcept;
  [[nodiscard]] bool can_reset() const noexcept;

  void fold(NativeGeneration& final_one, std::uint64_t epoch);

  const NativeSpec spec_;
  const BucketLayout* const classic_;
  std::atomic<NativeGeneration*> current_;  // stored with the lock held
  std::atomic<std::uint32_t> owners_{1};

  // Guarded by the lock, which is one for all native histograms (see lib/native_cells.cpp).
  std::vector<NativeKey> populated_;  // in order, without classic buckets, and without the zero bucket
  bool is_reset_due_ = false;         // at the first reading that may
  bool was_read_ = false;             // since the last reset
  Clock::time_point last_reset_;

  std::mutex reading_;  // guards what follows; held while quiesce() is called, and so never taken under a guard
  NativeGeneration* oldest_;
  Counts base_;
};

/// Under the guard, a live series has its NativeCells, and these their current generation.
inline void observe_native(CellRef to, double value) noexcept {
  const Guard guard;
  if (!to.is_live()) [[unlikely]] {
    return;
  }
  // Relaxed: it is stored before the series can be found.
  auto& histogram = *std::bit_cast<NativeCells*>(to.cell->bits.load(std::memory_order_relaxed));
  NativeGeneration& current = histogram.current();
  const std::uint32_t counter = current.find(current.key(value));
  if (counter == NativeGeneration::none) [[unlikely]] {
    return histogram.observe_slowly(value);
  }
  observe(current.cells, *current.counters, counter, value);
}

/// Where the exemplar of a value is kept: one for each classic bucket, or one in all if there are no classic bounds.
[[nodiscard]] std::size_t native_place(CellRef series, double value) noexcept;

/// False, and nothing, for a series that was removed. Throws std::bad_alloc. Not to be called under a guard.
bool read_native(CellRef from, NativeSnapshot& into);

/// Makes a series native that has just begun, and cannot be found yet.
void begin_native(Cell& cell, NativeCells& histogram) noexcept;
/// Lets go of what the series held, after it has ended and quiesce() has returned true.
void recycle_native(Cell& cell) noexcept;

}  // namespace quipu::detail

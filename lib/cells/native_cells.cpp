#include "quipu/detail/cells/native_cells.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <new>

#include "cells/fork_exclusion.hpp"
#include "cells/guards.hpp"
#include "cells/locks.hpp"
#include "cells/summary_window.hpp"

namespace quipu::detail {

namespace {

/// How many counters a generation may have. Together with the cell before them, they fill a block of cells without a
/// rest. The first size is enough for most histograms. A generation that needs more is followed by one of the next
/// size.
constexpr std::array<std::uint32_t, 5> sizes{30, 62, 126, 254, 510};
static_assert(histogram_cells(sizes.front()) == 16 && histogram_cells(sizes.back()) == cells_per_block);

/// The layouts that are passed to observe(), which asks a layout only for its number of buckets.
constexpr auto counters_of_size = [] {
  std::array<BucketLayout, sizes.size()> layouts{};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layouts[i] = no_bounds;
    layouts[i].count = sizes[i] - 1;
  }
  return layouts;
}();

constexpr std::int32_t coarsest = -4;

NativeKey native_part(NativeKey key) noexcept { return key & ~native_classic; }

/// Some of the keys may become the same.
void make_coarser(NativeKeys& keys, const NativeResolution& from, const NativeResolution& to) noexcept {
  for (NativeKey& key : keys) key = coarser(key, from, to);
  std::erase_if(keys, is_native_zero);
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
}

std::size_t bytes_of_generation(std::size_t entries) noexcept {
  return sizeof(NativeGeneration) + entries * sizeof(std::uint64_t);
}

/// A generation without buckets. Null if memory ran out.
NativeGeneration* make_generation(const NativeResolution& resolution, const BucketLayout* classic,
                                  std::uint32_t counters, std::uint64_t epoch, WallTime created) noexcept {
  const auto size = std::ranges::lower_bound(sizes, counters) - sizes.begin();
  const std::size_t entries = std::bit_ceil(std::size_t{2} * sizes[static_cast<std::size_t>(size)]);
  void* memory = acquire_memory(bytes_of_generation(entries));
  if (memory == nullptr) return nullptr;
  auto* made = new (memory) NativeGeneration{
      .layout = native_layout(resolution),
      .classic = classic,
      .cells = {},
      .counters = &counters_of_size[static_cast<std::size_t>(size)],
      .hash_shift = static_cast<std::uint32_t>(std::countl_zero(static_cast<std::uint32_t>(entries - 1))),
      .mask = static_cast<std::uint32_t>(entries - 1),
      .cell = {},
      .resolution = resolution,
      .epoch = epoch,
      .created = created,
      .keys = {}};
  new (made->entries()) std::atomic<std::uint64_t>[ entries ]();
  try {
    made->keys.reserve(made->counters->buckets());
  } catch (...) {
    std::destroy_at(made);
    release_memory(memory, bytes_of_generation(entries));
    return nullptr;
  }
  made->cells = begin_series(made->cell, histogram_cells(made->counters->buckets()), 0);
  return made;
}

/// Destroys a generation in which nobody observes any more.
void recycle(NativeGeneration* generation) noexcept {
  end_series(generation->cell);
  recycle_histogram(generation->cell);
  recycle_series(generation->cells.slot, histogram_cells(generation->counters->buckets()));
  const std::size_t bytes = bytes_of_generation(std::size_t{generation->mask} + 1);
  std::destroy_at(generation);
  release_memory(generation, bytes);
}

}  // namespace

NativeCells::NativeCells(const NativeSpec& spec, const BucketLayout* classic)
    : spec_(spec), classic_(classic), last_reset_(Clock::now()) {
  oldest_ = make_generation(spec.initial, classic, sizes.front(), 0, std::chrono::system_clock::now());
  if (oldest_ == nullptr) throw std::bad_alloc();
  base_.resolution = spec.initial;
  current_.store(oldest_, std::memory_order_relaxed);
  if (spec.summary != nullptr) window_ = std::make_unique<SummaryWindow>(spec.summary, last_reset_);
}

NativeCells::~NativeCells() {
  while (oldest_ != nullptr) recycle(std::exchange(oldest_, oldest_->newer));
}

void NativeCells::release() noexcept {
  // Acquire and release: pairs with itself. All that other owners did happens before the destruction.
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void NativeCells::observe_slowly(double value) noexcept { observe_many(value, 1); }

void NativeCells::observe_many(double value, std::uint64_t count) noexcept {
  for (;;) {
    NativeGeneration& seen = current();
    const NativeKey key = seen.key(value);
    const std::uint32_t counter = seen.find(key);
    if (counter != NativeGeneration::none) {
      return detail::observe_many(seen.cells, *seen.counters, counter, value, count);
    }
    const std::lock_guard held(native_lock);
    if (!add(seen, key)) return;
  }
}

/// Adds a counter for the key to the generation `seen`, or makes a new generation the current one if the key does not
/// fit. Does nothing if `seen` is not current any more, or has the key by now. The caller then looks again. False if
/// there can be no counter: memory ran out, or the largest size is full.
bool NativeCells::add(NativeGeneration& seen, NativeKey key) noexcept {
  if (&seen != current_.load(std::memory_order_relaxed) || seen.find(key) != NativeGeneration::none) return true;
  const NativeKey native = native_part(key);
  if (!is_native_zero(key) && !std::ranges::binary_search(populated_, native)) {
    try {
      populated_.insert(std::ranges::upper_bound(populated_, native), native);
    } catch (...) {
      return false;
    }
    if (populated_.size() > spec_.max_buckets) {
      if (!reduce()) {
        std::erase(populated_, native);
        return false;
      }
      if (&seen != current_.load(std::memory_order_relaxed)) return true;
    }
  }
  const auto number = static_cast<std::uint32_t>(seen.keys.size());
  const auto size = static_cast<std::uint32_t>(seen.counters->buckets());
  if (number == size) return size < sizes.back() && publish(seen.resolution, size + 1, seen.epoch);
  seen.keys.push_back(key);
  std::uint32_t i = seen.home(key);
  while (seen.entries()[i].load(std::memory_order_relaxed) != 0) i = (i + 1) & seen.mask;
  seen.entries()[i].store(std::uint64_t{key} << 32 | number, std::memory_order_release);  // pairs with find()
  return true;
}

/// Brings the number of populated buckets down to the limit: by a reset, if one is allowed now; else by a wider zero
/// bucket, up to its maximum; else by a lower schema, down to the coarsest. False if memory ran out.
bool NativeCells::reduce() noexcept {
  // Only readers recycle old generations. Without readings, each reset would take more memory.
  if (was_read_ && can_reset()) return reset();
  is_reset_due_ = spec_.min_reset_interval.count() > 0;
  const NativeGeneration& old = *current_.load(std::memory_order_relaxed);
  NativeResolution resolution = old.resolution;
  NativeKeys populated;
  try {
    populated = populated_;
  } catch (...) {
    return false;
  }
  while (populated.size() > spec_.max_buckets) {
    const NativeResolution before = resolution;
    const double closest = native_bound(native_index(populated.front(), before.schema), before.schema);
    if (closest <= spec_.max_zero_threshold) {
      resolution.zero_threshold = closest;
    } else if (before.schema > coarsest) {
      --resolution.schema;
    } else {
      break;
    }
    make_coarser(populated, before, resolution);
  }
  if (resolution == old.resolution) return true;
  if (!publish(resolution, static_cast<std::uint32_t>(old.counters->buckets()), old.epoch)) return false;
  populated_.swap(populated);
  return true;
}

/// Threads may still observe in the epoch that a reset ends. Its last reading shows all of it only after quiesce(), so
/// there are no resets where that does not work.
bool NativeCells::can_reset() const noexcept {
  return spec_.min_reset_interval.count() > 0 && Clock::now() - last_reset_ >= spec_.min_reset_interval &&
         can_quiesce();
}

bool NativeCells::begin_again() noexcept {
  const std::lock_guard held(native_lock);
  return !can_quiesce() || reset();
}

bool NativeCells::reset() noexcept {
  if (!publish(spec_.initial, sizes.front(), current_.load(std::memory_order_relaxed)->epoch + 1)) return false;
  populated_.clear();
  is_reset_due_ = false;
  was_read_ = false;
  last_reset_ = Clock::now();
  return true;
}

/// Makes a new generation the current one. False if memory ran out.
bool NativeCells::publish(const NativeResolution& resolution, std::uint32_t counters, std::uint64_t epoch) noexcept {
  NativeGeneration& old = *current_.load(std::memory_order_relaxed);
  const WallTime created = epoch == old.epoch ? old.created : std::chrono::system_clock::now();
  NativeGeneration* made = make_generation(resolution, classic_, counters, epoch, created);
  if (made == nullptr) return false;
  old.newer = made;
  current_.store(made, std::memory_order_release);  // pairs with current()
  return true;
}

void NativeCells::Counts::merge() noexcept {
  std::ranges::sort(by_key);
  auto last = by_key.begin();
  for (auto next = by_key.begin(); next != by_key.end(); ++next) {
    if (last == next) continue;
    if (last->first == next->first) {
      last->second += next->second;
    } else {
      *++last = *next;
    }
  }
  if (last != by_key.end()) by_key.erase(last + 1, by_key.end());
}

void NativeCells::Counts::make_coarser(const NativeResolution& to) noexcept {
  if (to == resolution) return;
  for (auto& [key, count] : by_key) key = coarser(key, resolution, to);
  resolution = to;
  merge();
}

void NativeCells::Counts::add(const NativeResolution& part, std::span<const NativeKey> keys,
                              const HistogramReading& counted) {
  by_key.reserve(by_key.size() + keys.size());
  make_coarser(part);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (counted.counts[i] > 0) by_key.emplace_back(keys[i], counted.counts[i]);
  }
  sum += counted.sum;
  merge();
}

void NativeCells::Counts::show(NativeHistogramSnapshot& into) const {
  into.schema = resolution.schema;
  into.zero_threshold = resolution.zero_threshold;
  into.zero_count = 0;
  into.positive.clear();
  into.negative.clear();
  into.sum = sum;
  for (const auto& [key, count] : by_key) {
    into.counts[key & native_classic] += count;
    if (is_native_zero(key)) {
      into.zero_count += count;
      continue;
    }
    auto& side = (key & native_sign) == 0 ? into.positive : into.negative;
    const std::int32_t index = native_index(key, resolution.schema);
    if (!side.empty() && side.back().index == index) {
      side.back().count += count;  // the same native bucket with another classic one
    } else {
      side.push_back({index, count});
    }
  }
}

/// Adds a final generation to the base, if it is of the epoch that counts.
void NativeCells::fold(NativeGeneration& final_one, std::uint64_t epoch, std::chrono::nanoseconds& patience) {
  if (final_one.epoch != epoch) return;
  HistogramReading counted;
  read_histogram(final_one.cells, *final_one.counters, counted, patience);
  if (base_.epoch != epoch) base_ = {.epoch = epoch, .resolution = final_one.resolution};
  base_.add(final_one.resolution, final_one.keys, counted);
}

void NativeCells::read(NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience) {
  const ForkExclusion no_fork(ForkExclusion::Begin::after_forks);
  const std::lock_guard reading(reading_);
  read_all(into, patience);
}

void NativeCells::read_summary(SummarySnapshot& into, std::chrono::nanoseconds& patience, Clock::time_point now) {
  const ForkExclusion no_fork(ForkExclusion::Begin::after_forks);
  const std::lock_guard reading(reading_);
  NativeHistogramSnapshot all;
  read_all(all, patience);
  into.count = all.count();
  into.sum = all.sum;
  into.created = all.created;
  into.window = window_->advance(all, now);
  into.quantiles.clear();
  for (const double q : spec_.summary->quantiles) into.quantiles.push_back({q, into.quantile(q)});
}

void NativeCells::read_all(NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience) {
  // The epoch of `last` is shown. If a reset is due, this reading ends that epoch, and so shows all that was counted
  // before the reset.
  NativeGeneration* last = nullptr;
  NativeGeneration* in_use = nullptr;
  {
    const std::lock_guard held(native_lock);
    last = current_.load(std::memory_order_relaxed);
    was_read_ = true;
    if (is_reset_due_ && can_reset()) static_cast<void>(reset());
    in_use = current_.load(std::memory_order_relaxed);
  }
  const std::uint64_t epoch = last->epoch;
  into.created = last->created;
  if (oldest_ != in_use && quiesce()) {
    while (oldest_ != in_use) {
      fold(*oldest_, epoch, patience);
      recycle(std::exchange(oldest_, oldest_->newer));
    }
  }

  Counts all;
  if (base_.epoch == epoch) all = base_;
  const NativeGeneration* newest = nullptr;
  HistogramReading counted;
  std::vector<NativeKey> keys;
  for (NativeGeneration* part = oldest_; part->epoch <= epoch; part = part->newer) {
    if (part->epoch == epoch) {
      newest = part;
      read_histogram(part->cells, *part->counters, counted, patience);
      keys.reserve(part->counters->buckets());
      {
        const std::lock_guard held(native_lock);  // after the counts were read, so that no key of theirs is missing
        keys.assign(part->keys.begin(), part->keys.end());
      }
      all.add(part->resolution, keys, counted);
    }
    if (part == last) break;
  }
  if (newest != nullptr) {
    // Shown in the newest resolution of the epoch, as only that one keeps the limit on the number of buckets.
    const std::lock_guard held(native_lock);
    while (newest->newer != nullptr && newest->newer->epoch == epoch) newest = newest->newer;
  }
  if (newest != nullptr) all.make_coarser(newest->resolution);
  into.bounds.clear();
  if (classic_ != nullptr) into.bounds.assign(classic_->bounds, classic_->bounds + classic_->count);
  into.counts.assign(into.bounds.size() + 1, 0);
  all.show(into);
}

namespace {

/// Shares the ownership of a live series' histogram.
class SharedOwnership {
 public:
  explicit SharedOwnership(CellRef series) noexcept {
    const Guard guard;
    if (!series.is_live()) return;
    histogram_ = std::bit_cast<NativeCells*>(series.cell->bits.load(std::memory_order_relaxed));
    histogram_->share();
  }
  SharedOwnership(const SharedOwnership&) = delete;
  SharedOwnership& operator=(const SharedOwnership&) = delete;
  ~SharedOwnership() {
    if (histogram_ != nullptr) histogram_->release();
  }
  [[nodiscard]] NativeCells* get() const noexcept { return histogram_; }

 private:
  NativeCells* histogram_ = nullptr;
};

}  // namespace

void observe_native_many(CellRef to, double value, std::uint64_t count) noexcept {
  const Guard guard;
  if (!to.is_live()) return;
  // Relaxed, as in observe_native().
  std::bit_cast<NativeCells*>(to.cell->bits.load(std::memory_order_relaxed))->observe_many(value, count);
}

std::size_t native_place(CellRef series, double value) noexcept {
  const Guard guard;
  if (!series.is_live()) return bucket_place(0);
  // Relaxed, as in observe_native().
  const auto* histogram = std::bit_cast<NativeCells*>(series.cell->bits.load(std::memory_order_relaxed));
  return bucket_place(histogram->classic_bucket(value));
}

void read_native(CellRef from, NativeHistogramSnapshot& into, std::chrono::nanoseconds& patience) {
  const SharedOwnership histogram(from);
  if (histogram.get() != nullptr) return histogram.get()->read(into, patience);
  into = {};
  into.counts.assign(1, 0);
}

void read_summary(CellRef from, SummarySnapshot& into, std::chrono::nanoseconds& patience,
                  std::chrono::steady_clock::time_point now) {
  const SharedOwnership summary(from);
  if (summary.get() != nullptr) return summary.get()->read_summary(into, patience, now);
  into = {};
}

void reset_native(CellRef series, std::chrono::nanoseconds& patience) {
  const SharedOwnership histogram(series);
  if (histogram.get() == nullptr) return;
  if (!histogram.get()->begin_again()) throw std::bad_alloc();
  NativeHistogramSnapshot unused;
  histogram.get()->read(unused, patience);  // recycles what the reset has ended
}

std::uint64_t count_native_observations(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  // Relaxed, as in observe_native().
  const CellRef current = std::bit_cast<NativeCells*>(from.cell->bits.load(std::memory_order_relaxed))->current().cells;
  // A new generation counts from 0, and has another tag. There is one only because of an observation or a reset.
  return (std::uint64_t{current.tag} << 32) + count_observations(current);
}

void begin_native(Cell& cell, NativeCells& histogram) noexcept {
  // Relaxed: the series cannot be found yet.
  cell.bits.store(std::bit_cast<std::uint64_t>(&histogram), std::memory_order_relaxed);
}

void recycle_native(Cell& cell) noexcept {
  // Relaxed: the series cannot be found any more.
  std::bit_cast<NativeCells*>(cell.bits.exchange(0, std::memory_order_relaxed))->release();
}

}  // namespace quipu::detail

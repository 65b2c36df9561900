#include "quipu/detail/cells/cells.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <new>
#include <span>

#include "base/backoff.hpp"

namespace quipu::detail {
namespace {

/// How many writes without a thread cell earn a page of them: a thread that touches a series now and then should not
/// take up 4 KiB for it.
constexpr std::uint8_t misses_for_a_page = 8;

/// This thread's cell for the series, if it can have one. Under a guard, as the slot must not change hands meanwhile.
ThreadCell* claim(CellRef series, std::size_t cells, std::uint8_t misses_needed) noexcept {
  if (series.slot == 0 || !acquire_slab()) return nullptr;
  const Guard guard;
  if (!series.is_live()) return nullptr;
  const std::size_t page = series.slot / cells_per_page;
  if (own_slab->pages[page].load(std::memory_order_relaxed) == nullptr) {
    if (own_slab->misses[page] < misses_needed) {
      ++own_slab->misses[page];
      return nullptr;
    }
    ThreadCell* fresh = acquire_page();
    if (fresh == nullptr) return nullptr;
    own_slab->pages[page].store(fresh, std::memory_order_release);  // pairs with cell_of()
  }
  ThreadCell* cell = own_slab->cell(series.slot);
  if (cell->tag.load(std::memory_order_relaxed) != series.tag) {
    cell->count.store(0, std::memory_order_relaxed);
    cell->bits.store(0, std::memory_order_relaxed);
    for (std::atomic<std::uint64_t>& bucket : std::span(cell->buckets(), 2 * (cells - 1))) {
      bucket.store(0, std::memory_order_relaxed);
    }
    cell->tag.store(series.tag, std::memory_order_release);  // pairs with cell_of(): the cell is wiped
  }
  return cell;
}

/// Another thread's cell of the series, or null if it has none.
ThreadCell* cell_of(Slab& slab, CellRef series) noexcept {
  // Acquire, both: pair with claim(), which wipes a page and a cell before it shows them. pages[0] is null.
  ThreadCell* page = slab.pages[series.slot / cells_per_page].load(std::memory_order_acquire);
  if (page == nullptr) return nullptr;
  ThreadCell& cell = page[series.slot % cells_per_page];
  return cell.tag.load(std::memory_order_acquire) == series.tag ? &cell : nullptr;  // pairs with claim()
}

/// Calls visit(slab, cell) for each thread's cell of the series.
template <class Visit>
void for_each_thread(CellRef series, Visit visit) {
  if (series.slot == 0) return;
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    if (ThreadCell* cell = cell_of(*slab, series)) visit(*slab, *cell);
  }
}

void add_shared(std::atomic<std::uint64_t>& real, double step,
                std::memory_order order = std::memory_order_relaxed) noexcept {
  std::uint64_t old = real.load(std::memory_order_relaxed);
  while (!real.compare_exchange_weak(old, std::bit_cast<std::uint64_t>(std::bit_cast<double>(old) + step), order,
                                     std::memory_order_relaxed)) {
  }
}

}  // namespace

// Counters.

void add_whole_slowly(CellRef to, std::uint64_t step) noexcept {
  if (ThreadCell* cell = claim(to, 1, misses_for_a_page)) return add_to(cell->bits, step);
  const Guard guard;
  if (to.is_live()) to.cell->bits.fetch_add(step, std::memory_order_relaxed);
}

void add_real_slowly(CellRef to, double step) noexcept {
  if (ThreadCell* cell = claim(to, 1, misses_for_a_page)) return add_to(cell->bits, step);
  const Guard guard;
  if (to.is_live()) add_shared(to.cell->bits, step);
}

std::uint64_t read_whole(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  std::uint64_t total = from.cell->bits.load(std::memory_order_relaxed);
  for_each_thread(from, [&](Slab&, ThreadCell& cell) { total += cell.bits.load(std::memory_order_relaxed); });
  return total;
}

void read_whole(std::span<const CellRef> from, std::uint64_t* into) noexcept {
  const Guard guard;
  for (std::size_t i = 0; i < from.size(); ++i) {
    into[i] = from[i].is_live() ? from[i].cell->bits.load(std::memory_order_relaxed) : 0;
  }
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (const ThreadCell* cell = cell_of(*slab, from[i])) into[i] += cell->bits.load(std::memory_order_relaxed);
    }
  }
}

double read_real(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  double total = std::bit_cast<double>(from.cell->bits.load(std::memory_order_relaxed));
  for_each_thread(from, [&](Slab&, ThreadCell& cell) {
    total += std::bit_cast<double>(cell.bits.load(std::memory_order_relaxed));
  });
  return total;
}

// Gauges.

void set_gauge_slowly(CellRef to, double value) noexcept {
  static_cast<void>(acquire_slab());
  const Guard guard;
  if (!to.is_live()) return;
  std::atomic<std::uint32_t>& state = to.cell->state;
  std::uint32_t known = GaugeState::counted;
  const bool is_first = state.compare_exchange_strong(known, GaugeState::being_set, std::memory_order_relaxed);
  if (known == GaugeState::being_set) return;  // as if it had come just before the other one
  to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
  // Release: pairs with read_gauge() and is_trackable(). The value is there.
  if (is_first) state.store(GaugeState::set, std::memory_order_release);
}

void add_gauge_slowly(CellRef to, double step) noexcept {
  std::uint64_t whole = 0;
  if (is_trackable(to, step, whole)) {
    if (ThreadCell* cell = claim(to, 1, misses_for_a_page)) return add_to(cell->bits, whole);
  }
  const Guard guard;
  // Release: pairs with read_gauge(), which finds that the state has changed if it sees a step that came after that.
  if (to.is_live()) add_shared(to.cell->bits, step, std::memory_order_release);
}

double read_gauge(CellRef from) noexcept {
  const Guard guard;
  const std::atomic<std::uint32_t>& state = from.cell->state;
  for (Backoff backoff;; backoff.wait()) {
    if (!from.is_live()) return 0;
    const std::uint32_t before = state.load(std::memory_order_acquire);  // pairs with the release in set_gauge_slowly()
    // Acquire: pairs with the release in add_gauge_slowly().
    const double shared = std::bit_cast<double>(from.cell->bits.load(std::memory_order_acquire));
    if (before == GaugeState::set) return shared;
    if (before == GaugeState::being_set) {
      if (backoff.is_exhausted()) return shared;
      continue;
    }
    std::uint64_t tracked = 0;
    for_each_thread(from, [&](Slab&, ThreadCell& cell) { tracked += cell.bits.load(std::memory_order_relaxed); });
    // The acquire of `shared` orders this load after it.
    if (state.load(std::memory_order_relaxed) == GaugeState::counted) {
      return shared + static_cast<double>(static_cast<std::int64_t>(tracked));
    }
  }
}

// Statesets.

void set_states(CellRef to, std::uint64_t bits) noexcept {
  const Guard guard;
  if (to.is_live()) to.cell->bits.store(bits, std::memory_order_relaxed);
}

void switch_states(CellRef to, std::uint64_t bits, bool is_in) noexcept {
  const Guard guard;
  if (!to.is_live()) return;
  if (is_in) {
    to.cell->bits.fetch_or(bits, std::memory_order_relaxed);
  } else {
    to.cell->bits.fetch_and(~bits, std::memory_order_relaxed);
  }
}

std::uint64_t read_states(CellRef from) noexcept {
  const Guard guard;
  return from.is_live() ? from.cell->bits.load(std::memory_order_relaxed) : 0;
}

// Histograms.

namespace {

/// The histogram that threads share, made at the first need. Under a guard, for a live series.
SharedHistogram* shared_histogram(Cell& cell, const BucketLayout& layout) noexcept {
  std::uint64_t bits = cell.bits.load(std::memory_order_acquire);
  if (bits == 0) {
    auto* made = new (std::nothrow) SharedHistogram(layout.cells());
    if (made == nullptr) return nullptr;
    // Release: pairs with the acquire of other threads, which then find it whole.
    if (cell.bits.compare_exchange_strong(bits, std::bit_cast<std::uint64_t>(made), std::memory_order_acq_rel)) {
      return made;
    }
    delete made;
  }
  return std::bit_cast<SharedHistogram*>(bits);
}

/// How often a reader tries by itself before it asks the owner.
constexpr int attempts = 4;
/// The thread cells of one histogram in one slab. Under a guard, so that they stay that histogram's.
class ThreadHistogramReader {
 public:
  ThreadHistogramReader(std::uint32_t slot, std::size_t buckets, Slab& slab, ThreadCell& cell)
      : slot_(slot), buckets_(buckets), slab_(slab), cell_(cell) {}

  /// Adds buckets and sum of one moment.
  void add_to(HistogramSnapshot& into) {
    read();
    for (std::size_t i = 0; i < buckets_; ++i) into.counts[i] += read_[i];
    into.sum += sum_;
  }

 private:
  void read() {
    for (int i = 0; i < attempts; ++i) {
      if (try_cells()) return;
    }
    if (slab_.owner.load(std::memory_order_relaxed) == Slab::Owner::lost) return;  // it stays as it is
    static constinit std::mutex readers;                                           // one request at a time
    const std::lock_guard lock(readers);
    const std::uint64_t request = (std::uint64_t{++slab_.requests} << 32) | slot_;
    slab_.wanted_words.store(buckets_ + 1, std::memory_order_relaxed);
    slab_.wanted.store(request, std::memory_order_release);  // pairs with serve_reader()
    for (Backoff backoff;; backoff.wait()) {
      if (slab_.served.load(std::memory_order_acquire) == request) return take_copy();  // pairs with serve_reader()
      // At the end of its patience it takes the cells as they are: of one observation, the sum may be missing.
      if (try_cells() || backoff.is_exhausted()) break;
    }
    slab_.wanted.store(0, std::memory_order_relaxed);
  }

  bool try_cells() {
    // Acquire, both: pair with the releases in observe(), which stores in the other order.
    const std::uint32_t count = cell_.count.load(std::memory_order_acquire);
    sum_ = std::bit_cast<double>(cell_.bits.load(std::memory_order_acquire));
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < buckets_; ++i) {
      read_[i] = cell_.buckets()[i].load(std::memory_order_relaxed);
      total += read_[i];
    }
    return static_cast<std::uint32_t>(total) == count;
  }

  void take_copy() {
    sum_ = std::bit_cast<double>(slab_.copy[0].load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < buckets_; ++i) read_[i] = slab_.copy[i + 1].load(std::memory_order_relaxed);
  }

  const std::uint32_t slot_;
  const std::size_t buckets_;
  Slab& slab_;
  ThreadCell& cell_;
  std::array<std::uint64_t, 2 * cells_per_page> read_;
  double sum_ = 0;
};

}  // namespace

void observe_slowly(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept {
  if (claim(to, histogram_cells(layout.cells()), 0) != nullptr) return observe(to, layout, bucket, value);
  const Guard guard;
  if (!to.is_live()) return;
  if (SharedHistogram* shared = shared_histogram(*to.cell, layout)) shared->observe(bucket, value);
}

void serve_reader(std::uint32_t slot) noexcept {
  const std::uint64_t request = own_slab->wanted.load(std::memory_order_acquire);  // pairs with the reader's request
  if (static_cast<std::uint32_t>(request) != slot) return;
  ThreadCell* cell = own_slab->cell(slot);
  const std::size_t words = own_slab->wanted_words.load(std::memory_order_relaxed);
  own_slab->copy[0].store(cell->bits.load(std::memory_order_relaxed), std::memory_order_relaxed);
  for (std::size_t i = 1; i < words; ++i) {
    own_slab->copy[i].store(cell->buckets()[i - 1].load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  // First the request is taken back: to serve it again would change the copy under the reader's eyes.
  std::uint64_t expected = request;
  own_slab->wanted.compare_exchange_strong(expected, 0, std::memory_order_relaxed);
  own_slab->served.store(request, std::memory_order_release);  // pairs with the reader's acquire
}

void read_histogram(CellRef from, const BucketLayout& layout, HistogramSnapshot& into) {
  into.counts.assign(layout.cells(), 0);
  into.sum = 0;
  const Guard guard;
  if (!from.is_live()) return;
  // Acquire: pairs with the release in shared_histogram().
  if (auto* shared = std::bit_cast<SharedHistogram*>(from.cell->bits.load(std::memory_order_acquire))) {
    shared->add_to(into);
  }
  for_each_thread(from, [&](Slab& slab, ThreadCell& cell) {
    ThreadHistogramReader(from.slot, layout.cells(), slab, cell).add_to(into);
  });
}

SharedHistogram::SharedHistogram(std::size_t buckets) {
  for (Half& half : halves_) half.buckets = std::vector<std::atomic<std::uint64_t>>(buckets);
}

void SharedHistogram::observe(std::size_t bucket, double value) noexcept {
  // Acquire: pairs with the reader's flip, after which the half it made hot holds all that earlier readings moved.
  const std::uint64_t ticket = started_.fetch_add(1, std::memory_order_acquire);
  Half& half = halves_[ticket >> 63];
  half.buckets[bucket].fetch_add(1, std::memory_order_relaxed);
  add_shared(half.sum, value);
  half.ended.fetch_add(1, std::memory_order_release);  // pairs with the reader's acquire: what is above is in the half
}

void SharedHistogram::add_to(HistogramSnapshot& into) {
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  const std::lock_guard lock(reader_);
  // Release: pairs with the writers' acquire (they see the other half as the last reading left it).
  const std::uint64_t ticket = started_.fetch_add(top, std::memory_order_acq_rel);
  Half& cold = halves_[ticket >> 63];
  Half& hot = halves_[1 - (ticket >> 63)];
  // Acquire: pairs with the release that ends each observation.
  for (Backoff backoff; cold.ended.load(std::memory_order_acquire) != (ticket & ~top); backoff.wait()) {
  }
  for (std::size_t i = 0; i < cold.buckets.size(); ++i) {
    const std::uint64_t count = cold.buckets[i].exchange(0, std::memory_order_relaxed);
    into.counts[i] += count;
    hot.buckets[i].fetch_add(count, std::memory_order_relaxed);
  }
  const double sum = std::bit_cast<double>(cold.sum.exchange(0, std::memory_order_relaxed));
  into.sum += sum;
  add_shared(hot.sum, sum);
  // Release: pairs with the acquire of the next reading.
  hot.ended.fetch_add(cold.ended.exchange(0, std::memory_order_relaxed), std::memory_order_release);
}

// Lives of series.

namespace {

constinit std::atomic<std::uint32_t> last_tag_given{0};

std::uint32_t next_tag() noexcept {
  std::uint32_t tag = 0;
  while (tag == 0) tag = last_tag_given.fetch_add(1, std::memory_order_relaxed) + 1;
  return tag;
}

}  // namespace

std::uint32_t last_tag() noexcept { return last_tag_given.load(std::memory_order_relaxed); }

std::uint32_t seconds_now() noexcept {
  const auto now =
      std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()).time_since_epoch().count();
  return static_cast<std::uint32_t>(
      std::clamp<std::chrono::seconds::rep>(now, 0, std::numeric_limits<std::uint32_t>::max()));
}

CellRef begin_series(Cell& cell, std::size_t cells, std::uint32_t state, std::uint64_t bits) noexcept {
  const CellRef series{&cell, next_tag(), acquire_slot(cells)};
  cell.state.store(state, std::memory_order_relaxed);
  cell.bits.store(bits, std::memory_order_relaxed);
  // Release: pairs with is_live(), and with whoever reads the tag before the rest. The value is there, and its state
  // there.
  cell.tag.store(series.tag, std::memory_order_release);
  return series;
}

// Release: pairs with the acquire in is_live().
void end_series(Cell& cell) noexcept { cell.tag.store(0, std::memory_order_release); }

void recycle_series(Cell& cell, std::uint32_t slot, std::size_t cells, bool is_histogram) noexcept {
  if (is_histogram) {
    delete std::bit_cast<SharedHistogram*>(cell.bits.exchange(0, std::memory_order_relaxed));
  }
  release_slot(slot, cells);
}

}  // namespace quipu::detail

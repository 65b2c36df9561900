#include "quipu/detail/cells/histogram_cells.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <new>
#include <vector>

#include "base/backoff.hpp"
#include "cells/cell_access.hpp"
#include "cells/shared_histogram.hpp"

namespace quipu::detail {
namespace {

/// The histogram that threads without cells share, made when it is first needed. Null if memory ran out. To be called
/// under a guard, for a live series.
SharedHistogram* shared_histogram(Cell& cell, const BucketLayout& layout) noexcept {
  std::uint64_t bits = cell.bits.load(std::memory_order_acquire);  // pairs with the release below
  if (bits == 0) {
    auto* made = SharedHistogram::make(layout.buckets());
    if (made == nullptr) return nullptr;
    // Release: pairs with the acquires of other threads, which then find the histogram complete.
    // Acquire: pairs with that release, if another thread was faster.
    if (cell.bits.compare_exchange_strong(bits, std::bit_cast<std::uint64_t>(made), std::memory_order_acq_rel)) {
      return made;
    }
    SharedHistogram::destroy(made);
  }
  return std::bit_cast<SharedHistogram*>(bits);
}

using Clock = std::chrono::steady_clock;

/// What was read of a histogram's cells in one slab.
struct CellsReading {
  std::uint32_t count = 0;
  std::uint32_t total = 0;  // of the buckets, modulo 2^32
  double sum = 0;
  std::array<std::uint64_t, 2 * cells_per_block> buckets;

  /// Reads the cells. Returns whether buckets, sum and count are of one moment at which the owner was outside of an
  /// observation; see observe().
  bool collect(ThreadCell& cell, std::size_t size) noexcept {
    // Acquire, both: pair with the releases in observe(), which stores in the opposite order.
    count = cell.count.load(std::memory_order_acquire);
    sum = std::bit_cast<double>(cell.bits.load(std::memory_order_acquire));
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < size; ++i) {
      buckets[i] = cell.buckets()[i].load(std::memory_order_relaxed);
      all += buckets[i];
    }
    total = static_cast<std::uint32_t>(all);
    return total == count;
  }

  /// Whether the cells are as they were read. Buckets only grow, so if they are, they all were so at one moment. It may
  /// be a moment inside an observation.
  [[nodiscard]] bool is_still_true(ThreadCell& cell, std::size_t size) const noexcept {
    // Acquire, both: pair with the releases in observe(), as in collect().
    if (cell.count.load(std::memory_order_acquire) != count) return false;
    if (cell.bits.load(std::memory_order_acquire) != std::bit_cast<std::uint64_t>(sum)) return false;
    for (std::size_t i = 0; i < size; ++i) {
      if (cell.buckets()[i].load(std::memory_order_relaxed) != buckets[i]) return false;
    }
    return true;
  }
};

/// One reading of one histogram.
///
/// First all slabs are read under a guard, as the cells of most are at rest: their owners are outside of observations
/// of this histogram. From the others copies are requested, from all of them at once, and waited for.
///
/// To wait takes no guard: it would hold up everyone who removes series or makes them. So the slot may be given to
/// another series meanwhile, and copies be of that one. Slabs and blocks are never freed, so nothing worse can happen.
/// When all is read, it is asked under a guard whether the series is still live. If it is, the slot was its own
/// throughout. For a slot is given to another series only after the first one has ended, and quiesce() has returned
/// true. What this thread reads of the other series was stored after the barrier of that quiesce(). So this thread has
/// executed the barrier before it reads that, and afterwards finds that the series has ended.
///
/// Cells can stay in the middle of an observation for ever: their thread has ended there, or was left behind in the
/// parent of a fork, or a signal handler has recorded in between. Where there is no owner they are read as they are, as
/// soon as two readings are the same. An owner may just not be running. So the cells are read as they are when they
/// have not changed for `at_rest_after`, counted from the first reading that has found them so. The slab remembers it
/// in `unfinished`, so that later readings do not wait again.
class HistogramReader {
 public:
  HistogramReader(CellRef from, const BucketLayout& layout, HistogramReading& into, std::chrono::nanoseconds& patience)
      : from_(from), size_(layout.buckets()), into_(into), patience_(patience) {
    into_.counts.resize(size_);
  }
  HistogramReader(const HistogramReader&) = delete;
  HistogramReader& operator=(const HistogramReader&) = delete;

  void read() {
    read_parts();
    into_.sum = sums_.threads + sums_.shared;
  }
  /// Of the last reading: the sums of what threads observed in their cells, and of what they share. In the order in
  /// which read() adds them up, the result of a reset is exactly 0.
  struct Sums {
    double threads = 0;
    double shared = 0;
  };
  [[nodiscard]] Sums sums() const noexcept { return sums_; }

 private:
  void read_parts() {
    Slab* const slabs = all_slabs();
    while (!read_what_is_at_rest(slabs)) {
      std::size_t count = 0;
      for (Slab* slab = slabs; slab != nullptr; slab = slab->next) ++count;
      waiting_.reserve(count);  // not under a guard: a program may count what it allocates
    }
    if (waiting_.empty()) return;
    wait();
    const Guard guard;
    if (!from_.is_live()) clear();
  }

  /// A slab whose cells were not at rest.
  struct Waiting {
    Slab* slab;
    ThreadCell* cell;
    std::uint64_t request = 0;  // 0 while another reader has the slab
    Clock::time_point since{};  // when the cells were first found as the next two say
    std::uint32_t count = 0;
    std::uint32_t total = 0;
  };
  static constexpr std::chrono::nanoseconds at_rest_after = std::chrono::seconds(1);
  /// How often a reader tries by itself before it asks the owner.
  static constexpr int attempts = 4;

  void clear() noexcept {
    std::ranges::fill(into_.counts, 0);
    sums_ = {};
  }
  void add() noexcept {
    for (std::size_t i = 0; i < size_; ++i) into_.counts[i] += reading_.buckets[i];
    sums_.threads += reading_.sum;
  }

  /// Adds up what is at rest; the others are in `waiting_`. False if there was no room for them.
  bool read_what_is_at_rest(Slab* slabs) noexcept {
    clear();
    waiting_.clear();
    const Guard guard;
    if (!from_.is_live()) return true;
    // Acquire: pairs with the release in shared_histogram().
    if (auto* shared = std::bit_cast<SharedHistogram*>(from_.cell->bits.load(std::memory_order_acquire))) {
      into_.sum = 0;
      shared->add_to(into_);
      sums_.shared = into_.sum;
    }
    if (from_.slot == 0) return true;
    // A slab that is added later has nothing that was recorded before this reading.
    for (Slab* slab = slabs; slab != nullptr; slab = slab->next) {
      ThreadCell* cell = cell_of(*slab, from_);
      if (cell == nullptr) continue;
      if (is_at_rest(*slab, *cell, attempts)) {
        add();
      } else if (waiting_.size() < waiting_.capacity()) {
        waiting_.push_back({slab, cell});
      } else {
        return false;
      }
    }
    return true;
  }

  bool is_at_rest(Slab& slab, ThreadCell& cell, int tries) noexcept {
    for (; tries > 0; --tries) {
      if (reading_.collect(cell, size_)) return true;
    }
    return !has_owner(slab) && reading_.is_still_true(cell, size_);
  }

  /// A read-modify-write, as the next owner's is in acquire_slab(). If it finds no owner, the next owner's comes after
  /// it. So nothing that was read before is of an owner who is inside an observation.
  static bool has_owner(Slab& slab) noexcept {
    bool known = false;
    // Acquire: pairs with the release of the thread that gave the slab back.
    // Release: pairs with the acquire of the next owner, in acquire_slab().
    return !slab.has_owner.compare_exchange_strong(known, false, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  void wait() noexcept {
    const auto begin = Clock::now();
    const auto end = begin + patience_;
    auto now = begin;
    for (Backoff backoff;; backoff.wait(), now = Clock::now()) {
      const auto was_read = [&](Waiting& one) {
        if (!is_read(one, now) && now < end) return false;
        add();
        if (one.request != 0) withdraw(*one.slab);
        return true;
      };
      std::erase_if(waiting_, was_read);
      if (waiting_.empty()) break;
    }
    patience_ -= std::min<std::chrono::nanoseconds>(now - begin, patience_);
  }

  /// Whether what was read is valid. If not, it is what the cells are now.
  bool is_read(Waiting& one, Clock::time_point now) noexcept {
    Slab& slab = *one.slab;
    // Acquire: pairs with serve_reader().
    if (one.request != 0 && slab.served.load(std::memory_order_acquire) == one.request) return take_copy(slab);
    if (is_at_rest(slab, *one.cell, 1)) return true;
    // Acquire: pairs with the release in withdraw().
    if (one.request == 0 && !slab.has_reader.exchange(true, std::memory_order_acquire)) request(one, now);
    if (one.request == 0) return false;
    if (one.count != reading_.count || one.total != reading_.total) look_up(one, now);
    return now - one.since >= at_rest_after && reading_.is_still_true(*one.cell, size_);
  }

  void request(Waiting& one, Clock::time_point now) noexcept {
    const std::uint64_t number = one.slab->requests.fetch_add(1, std::memory_order_relaxed) + 1;
    one.request = number << 32 | from_.slot;
    look_up(one, now);
    one.slab->wanted.store(one.request, std::memory_order_release);  // pairs with serve_reader()
  }

  void withdraw(Slab& slab) noexcept {
    slab.wanted.store(0, std::memory_order_relaxed);
    slab.has_reader.store(false, std::memory_order_release);  // pairs with the exchange of the next reader
  }

  /// Finds out since when the cells are as they were just read, or notes that they are so now.
  void look_up(Waiting& one, Clock::time_point now) noexcept {
    auto& known = one.slab->unfinished;
    auto* met = std::ranges::find(known, from_.tag, &Slab::Unfinished::tag);
    if (met == std::end(known)) {
      met = &known[one.slab->next_unfinished++ % std::size(known)];
      *met = {};
    }
    if (met->tag != from_.tag || met->count != reading_.count || met->total != reading_.total) {
      *met = {from_.tag, reading_.count, reading_.total, now.time_since_epoch().count()};
    }
    one.count = met->count;
    one.total = met->total;
    one.since = Clock::time_point(Clock::duration(met->since));
  }

  bool take_copy(Slab& slab) noexcept {
    reading_.sum = std::bit_cast<double>(slab.copy[0].load(std::memory_order_relaxed));
    for (std::size_t i = 0; i < size_; ++i) reading_.buckets[i] = slab.copy[i + 1].load(std::memory_order_relaxed);
    return true;
  }

  const CellRef from_;
  const std::size_t size_;
  HistogramReading& into_;
  std::chrono::nanoseconds& patience_;
  Sums sums_;
  std::vector<Waiting> waiting_;
  CellsReading reading_;
};

}  // namespace

void observe_many(CellRef to, const BucketLayout& layout, std::size_t bucket, double value,
                  std::uint64_t count) noexcept {
  const double sum = value * static_cast<double>(count);
  ThreadCell* cell = own_cell(to);
  if (cell == nullptr) cell = claim(to, histogram_cells(layout.buckets()), 0);
  if (cell != nullptr) return observe_in(*cell, to, layout, bucket, sum, count);
  const Guard guard;
  if (!to.is_live()) return;
  if (SharedHistogram* shared = shared_histogram(*to.cell, layout)) shared->observe(bucket, sum, count);
}

void observe_slowly(CellRef to, const BucketLayout& layout, std::size_t bucket, double value) noexcept {
  observe_many(to, layout, bucket, value, 1);
}

void serve_reader(std::uint32_t slot, std::size_t words) noexcept {
  Slab& slab = *own_slab;
  std::uint64_t request = slab.wanted.load(std::memory_order_acquire);  // pairs with the reader's request
  if (static_cast<std::uint32_t>(request) != slot) return;
  // The request is withdrawn before the copy is made. So a signal handler that observes meanwhile finds nothing wanted,
  // and leaves the copy alone. Nor does a later observation change the copy while the reader takes it.
  if (!slab.wanted.compare_exchange_strong(request, 0, std::memory_order_relaxed)) return;
  ThreadCell& cell = *slab.cell(slot);
  // The copy is made between two loads of the count. A signal handler of this thread that observes meanwhile changes
  // the count. Both fences keep the compiler from moving the copy out from between them. They pair with each other.
  const std::uint32_t before = cell.count.load(std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  slab.copy[0].store(cell.bits.load(std::memory_order_relaxed), std::memory_order_relaxed);
  std::uint32_t total = 0;
  for (std::size_t i = 1; i < words; ++i) {
    const std::uint64_t count = cell.buckets()[i - 1].load(std::memory_order_relaxed);
    slab.copy[i].store(count, std::memory_order_relaxed);
    total += static_cast<std::uint32_t>(count);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the fence before the copy
  const bool is_undisturbed = cell.count.load(std::memory_order_relaxed) == before;
  if (is_undisturbed && total == before) {
    slab.served.store(request, std::memory_order_release);  // pairs with the reader's acquire
    return;
  }
  // The count is put right (see observe()), and the reader served at the end of the next observation. If this one is in
  // a signal handler that interrupted another one, that has come to its end by then.
  // Release: pairs with the acquire in collect().
  if (is_undisturbed) cell.count.store(total, std::memory_order_release);
  std::uint64_t none = 0;
  slab.wanted.compare_exchange_strong(none, request, std::memory_order_relaxed);
}

void read_histogram(CellRef from, const BucketLayout& layout, HistogramReading& into,
                    std::chrono::nanoseconds& patience) {
  HistogramReader(from, layout, into, patience).read();
}

void reset_histogram(CellRef histogram, const BucketLayout& layout, std::chrono::nanoseconds& patience) {
  HistogramReading observed;
  HistogramReader reader(histogram, layout, observed, patience);
  reader.read();
  const Guard guard;
  if (!histogram.is_live()) return;
  SharedHistogram* shared = shared_histogram(*histogram.cell, layout);
  if (shared == nullptr) throw std::bad_alloc();
  shared->take_off(observed.counts, reader.sums().shared, reader.sums().threads);
}

std::uint64_t count_observations(CellRef from) noexcept {
  const Guard guard;
  if (!from.is_live()) return 0;
  std::uint64_t total = 0;
  // Acquire: pairs with the release in shared_histogram().
  if (const auto* shared = std::bit_cast<SharedHistogram*>(from.cell->bits.load(std::memory_order_acquire))) {
    total = shared->count();
  }
  for_each_thread(from, [&](Slab&, ThreadCell& cell) { total += cell.count.load(std::memory_order_relaxed); });
  return total;
}

void recycle_histogram(Cell& cell) noexcept {
  // Relaxed: quiesce() has ordered all other uses before.
  SharedHistogram::destroy(std::bit_cast<SharedHistogram*>(cell.bits.exchange(0, std::memory_order_relaxed)));
}

}  // namespace quipu::detail

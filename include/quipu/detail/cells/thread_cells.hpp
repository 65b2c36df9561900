#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quipu/detail/base/export.hpp"

/// Cells that only one thread writes. They are what makes recording cost about a nanosecond for any number of threads:
/// a load, an addition and a store, none of them locked.
///
/// Every thread that records owns a slab, which is a directory of blocks of cells. The slot of a series is the position
/// of its cells, the same in every slab. A reader of a series adds up its cells over all slabs.
///
/// A cell carries the tag of the series that it counts for. A handle finds its cell by the slot, and writes only if the
/// tags match. So a slot may be used again by another series: the owner clears its cell when it first writes for the
/// new series, a reader skips cells with other tags, and a handle of the removed series does no harm. Only its owner
/// ever writes to a cell.
///
/// A thread that ends leaves its slab, with all values, to the next thread that begins. Nothing is moved, so nothing is
/// lost. Memory is bounded by the largest number of threads that lived at once. Slabs are never freed.
///
/// A thread gets a block for the series that it writes often, as long as the budget lasts. A thread without the block
/// adds to the cell of the series, which all threads share. So does a thread that has given its slab back.
///
/// Memory orders: the owner's stores to a cell are relaxed, because each cell is a value of its own. The exceptions are
/// the cells of a histogram, which belong together (see observe()), and those of a gauge, of which a reader wants one
/// moment (see gauge_cells.hpp). A reader holds a guard, so a slot does not change hands while it reads. A reader
/// that cannot hold one finds out afterwards whether the slot did (see HistogramReader).
namespace quipu::detail {

/// Of a counter, `bits` is a whole number or a double. Of a gauge, it is a whole number in two's complement, and
/// `count` is the number of its changes modulo 2^32. Of a histogram, it is the sum, a double; `count` is the number of
/// observations modulo 2^32; the cells that follow hold the buckets.
struct ThreadCell {
  std::atomic<std::uint32_t> tag{0};
  std::atomic<std::uint32_t> count{0};
  std::atomic<std::uint64_t> bits{0};

  [[nodiscard]] std::atomic<std::uint64_t>* buckets() noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1);
  }
};
static_assert(sizeof(ThreadCell) == 16);

inline constexpr std::size_t block_bytes = 4096;
inline constexpr std::size_t cells_per_block = block_bytes / sizeof(ThreadCell);
inline constexpr std::size_t max_blocks = 32768;

/// What one thread owns.
struct Slab {
  /// Odd while the thread holds a guard. Greater by 2 after each guard (see Guard).
  std::atomic<std::uint64_t> guards{0};

  // A reader's request for a copy of a histogram's cells; see observe().
  /// The slot of the histogram in the lower half, and in the upper half a number that tells requests apart. 0 for none.
  std::atomic<std::uint64_t> wanted{0};
  std::atomic<std::uint64_t> served{0};  // the last request that was served, both halves
  std::atomic<std::uint64_t> copy[block_bytes / sizeof(std::uint64_t)]{};
  std::atomic<std::uint32_t> requests{0};  // how many there were
  /// The lock of readers. It is held by the one whose request this is, and for as long as it waits. A forked child
  /// frees it: the numbers of requests keep apart those who then believe that they hold it.
  std::atomic<bool> has_reader{false};
  /// A histogram's cells that a reader found in the middle of an observation, and when it did; see read_histogram().
  struct Unfinished {
    std::uint32_t tag;  // 0 if this is unused
    std::uint32_t count;
    std::uint32_t total;  // of the buckets, modulo 2^32
    std::int64_t since;   // of the steady clock
  };
  // Guarded by the lock of readers.
  Unfinished unfinished[8]{};
  std::uint32_t next_unfinished = 0;  // the one that is replaced next

  std::atomic<bool> has_owner{false};  // a thread of this process, and not one that the parent of a fork kept
  Slab* next = nullptr;                // in the list of all slabs; does not change
  Slab* next_free = nullptr;           // guarded by `slabs_lock`

  std::uint8_t misses[max_blocks]{};  // how often the owner found no block here; only the owner uses it
  /// The block with these slots, or null. Only the owner stores. blocks[0] stays null, as slot 0 stands for none.
  std::atomic<ThreadCell*> blocks[max_blocks]{};

  /// The cell of `slot`, or null.
  [[nodiscard]] ThreadCell* cell(std::uint32_t slot) noexcept {
    ThreadCell* block = blocks[slot / cells_per_block].load(std::memory_order_relaxed);
    return block == nullptr ? nullptr : block + slot % cells_per_block;
  }
};

/// What `own_slab` points to while a thread has no slab. Never written.
QUIPU_EXPORT extern Slab no_slab;

/// This thread's slab. In the initial-exec model, reading it is one load from the thread's own segment. In a shared
/// library the default model would be a call to __tls_get_addr.
#if defined(__GNUC__) && defined(__ELF__)
QUIPU_EXPORT [[gnu::tls_model("initial-exec")]]
#endif
QUIPU_EXPORT extern constinit thread_local Slab* own_slab;

[[nodiscard]] inline bool has_slab() noexcept { return own_slab != &no_slab; }

/// Gives this thread a slab if it has none. Returns whether it has one now. It has none if memory or the budget is used
/// up, or it has given its slab back.
QUIPU_EXPORT bool acquire_slab() noexcept;

/// The first of all slabs. The others follow by `next`.
[[nodiscard]] QUIPU_EXPORT Slab* all_slabs() noexcept;

/// A new block for this thread's slab. Null if memory or the budget (see thread_cell_budget.hpp) is used up.
[[nodiscard]] QUIPU_EXPORT ThreadCell* acquire_block() noexcept;

/// The slot of `cells` adjacent cells in every slab, or 0 if none is left or memory ran out. Thread-safe; takes a lock.
[[nodiscard]] QUIPU_EXPORT std::uint32_t acquire_slot(std::size_t cells) noexcept;
QUIPU_EXPORT void release_slot(std::uint32_t slot, std::size_t cells) noexcept;

/// Keeps the memory of series in place. While a thread holds a guard, the memory of each series that it could find when
/// the guard began stays that series' memory, even if the series is removed meanwhile.
///
/// Guards are for the few instructions between finding a series and being done with it. A thread that holds one takes
/// no lock that is held while quiesce() is called. A guard inside another guard changes nothing.
///
/// A guard writes only to the thread's own slab, without a fence. A thread that wants to reuse memory first makes it
/// impossible to find, and then calls quiesce(). That makes every running thread execute a full barrier
/// (membarrier(2)). After the barrier there are two cases. Either the guard of a thread is seen, and waited for, or
/// the thread's loads see that the memory cannot be found any more. A thread without a slab counts its guard in one of
/// two counters instead (lib/cells/guards.cpp).
///
/// A thread that records without a pause is outside a guard only for an instant, which a waiting thread may never see.
/// So guards are numbered, and a thread that waits for a guard waits until it finds another number.
class Guard {
 public:
  Guard() noexcept : slab_(own_slab) {
    if (slab_ != &no_slab) [[likely]] {
      before_ = slab_->guards.load(std::memory_order_relaxed);
      // Release: pairs with the loads in quiesce(). The new number says that the previous guard has ended.
      slab_->guards.store(before_ | 1, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the barrier of quiesce()
    } else {
      before_ = begin_without_slab();
    }
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    if (slab_ != &no_slab) [[likely]] {
      // Release: pairs with the loads in quiesce(). All that was done under the guard happens before its return.
      slab_->guards.store((before_ | 1) + (~before_ & 1), std::memory_order_release);
    } else {
      end_without_slab(before_);
    }
  }

 private:
  /// Returns the number of the counter that counts the guard.
  QUIPU_EXPORT [[nodiscard]] static std::uint64_t begin_without_slab() noexcept;
  QUIPU_EXPORT static void end_without_slab(std::uint64_t counter) noexcept;

  Slab* const slab_;
  std::uint64_t before_ = 0;  // the number before this guard; without a slab, that of the counter
};

/// Returns true when every guard has ended that another thread held at the call. Returns false at once where the system
/// has no such barrier; then no memory may ever be reused. Not to be called under a guard.
QUIPU_EXPORT [[nodiscard]] bool quiesce() noexcept;

}  // namespace quipu::detail

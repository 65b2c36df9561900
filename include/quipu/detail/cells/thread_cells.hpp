#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

/// The cells that only one thread writes, which is what makes recording cost about a nanosecond for any number of
/// threads: a load, an addition and a store, none of them locked.
///
/// Every thread that records owns a slab. A slab is a directory of pages of cells, and the slot of a series says which
/// cell of which page is its own in every slab. Whoever reads a series adds up its cells over all slabs.
///
/// A cell carries the tag of the series that it counts for. A handle finds its cell by the slot and writes only if the
/// tags match, so a slot may be used again by another series: the owner wipes its cell when it first writes for the new
/// one, a reader skips cells with other tags, and a handle of the removed series cannot do harm. Nobody but its owner
/// ever writes to a cell.
///
/// A thread that ends leaves its slab, values and all, to the next thread that begins. Nothing is moved, so nothing is
/// lost; memory is bounded by the largest number of threads that lived at once. Slabs are never freed.
///
/// A thread gets a page for the series that it writes often, as long as the budget lasts. Otherwise, and in what a
/// thread does after its thread-locals were destroyed, it adds to the cell of the series, which all threads share.
///
/// Memory orders: the owner's stores to a cell are relaxed, as each is a value of its own, but for histograms (see
/// observe()). A reader reads under a guard, so a slot does not change hands while it reads.
namespace quipu::detail {

/// For a counter, `bits` is a whole number, or a double; for a gauge, a whole number, of two's complement.
/// For a histogram, it is the sum, a double, `count` is the number of observations (mod 2^32), and the cells after it
/// are the buckets.
struct ThreadCell {
  std::atomic<std::uint32_t> tag{0};
  std::atomic<std::uint32_t> count{0};
  std::atomic<std::uint64_t> bits{0};

  [[nodiscard]] std::atomic<std::uint64_t>* buckets() noexcept {
    return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1);
  }
};
static_assert(sizeof(ThreadCell) == 16);

inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t cells_per_page = page_bytes / sizeof(ThreadCell);
inline constexpr std::size_t max_pages = 32768;

/// What one thread owns.
struct Slab {
  /// Odd while the thread is inside guards; greater by 2 after them (see Guard).
  std::atomic<std::uint64_t> guards{0};

  /// The slot of a histogram whose cells a reader wants copied, and in the upper half a number that tells requests
  /// apart; 0 for none. See read_histogram().
  std::atomic<std::uint64_t> wanted{0};
  std::atomic<std::uint64_t> served{0};        // the last request that was, in full
  std::atomic<std::uint64_t> wanted_words{0};  // how many words to copy: the sum and the buckets
  std::uint32_t requests = 0;                  // guarded by the readers' lock
  std::atomic<std::uint64_t> copy[page_bytes / sizeof(std::uint64_t)]{};

  enum class Owner : std::uint8_t { thread, none, lost };  // lost: owned by a thread that a fork left behind
  std::atomic<Owner> owner{Owner::none};
  Slab* next = nullptr;       // in the list of all slabs, fixed when published
  Slab* next_free = nullptr;  // guarded by the slabs' lock

  std::uint8_t misses[max_pages]{};  // how often the owner found no page here; the owner's alone
  /// The page of these slots, or null. Only the owner stores. pages[0] stays null: slot 0 is no slot.
  std::atomic<ThreadCell*> pages[max_pages]{};

  /// The cell of `slot`, or null.
  [[nodiscard]] ThreadCell* cell(std::uint32_t slot) noexcept {
    ThreadCell* page = pages[slot / cells_per_page].load(std::memory_order_relaxed);
    return page == nullptr ? nullptr : page + slot % cells_per_page;
  }
};

/// What `own_slab` is while a thread has no slab. Never written.
extern Slab no_slab;

/// In the initial-exec model it is one load from the thread's own segment, in a shared library too, where the default
/// would be a call to __tls_get_addr.
#if defined(__GNUC__) && defined(__ELF__)
[[gnu::tls_model("initial-exec")]]
#endif
extern constinit thread_local Slab* own_slab;

[[nodiscard]] inline bool has_slab() noexcept { return own_slab != &no_slab; }

/// Gives this thread a slab if it has none yet. Whether it has one: not when memory or the budget is used up, and not
/// after its thread-locals were destroyed.
bool acquire_slab() noexcept;

/// The first of all slabs; the others follow by `next`.
[[nodiscard]] Slab* all_slabs() noexcept;

/// A new page for this thread's slab, or null when the budget (see memory.hpp) or memory is used up.
[[nodiscard]] ThreadCell* acquire_page() noexcept;

/// A run of `cells` cells in every slab, or 0 when there are none left. Thread-safe; takes a lock.
[[nodiscard]] std::uint32_t acquire_slot(std::size_t cells) noexcept;
void release_slot(std::uint32_t slot, std::size_t cells) noexcept;

/// While a thread holds a guard, no series that it could find when the guard began is taken apart: its memory is still
/// that series', even when it is removed meanwhile. Guards are for the few instructions between finding a series and
/// being done with it. Whoever holds one takes no lock that is held while quiesce() is called.
///
/// The thread writes to its own slab only, without a fence. Whoever wants to take something apart first makes it
/// unfindable and then calls quiesce(), which makes every running thread execute a full barrier (membarrier(2)). After
/// that either the guard of a thread is seen, and waited for, or what the thread loads is what was left after the
/// removal. A thread without a slab announces itself in a shared counter instead.
///
/// A thread that records without a pause is outside a guard for an instant only, where nobody may see it. So guards are
/// numbered: whoever waits for one waits until it finds another number. A guard inside another one changes nothing.
class Guard {
 public:
  Guard() noexcept : slab_(own_slab) {
    if (slab_ != &no_slab) [[likely]] {
      before_ = slab_->guards.load(std::memory_order_relaxed);
      // Release: pairs with the loads in quiesce(); this number says that the guard before has ended.
      slab_->guards.store(before_ | 1, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the barrier of quiesce()
    } else {
      without_slab.fetch_add(1, std::memory_order_seq_cst);  // pairs with the load in quiesce(), likewise seq_cst
    }
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    // Release, both: pair with the loads in quiesce(), which then has everything done under the guard behind it.
    if (slab_ != &no_slab) [[likely]] {
      slab_->guards.store((before_ | 1) + (~before_ & 1), std::memory_order_release);
    } else {
      without_slab.fetch_sub(1, std::memory_order_release);  // pairs with the load in quiesce()
    }
  }

  /// How many guards are held by threads without a slab.
  static std::atomic<std::uint64_t> without_slab;

 private:
  Slab* const slab_;
  std::uint64_t before_ = 0;
};

/// Returns when every guard has ended that another thread held when it was called. False, at once, where the system has
/// no such barrier: then nothing may be taken apart, ever. Not to be called under a guard.
[[nodiscard]] bool quiesce() noexcept;

}  // namespace quipu::detail

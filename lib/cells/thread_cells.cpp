#include "quipu/detail/cells/thread_cells.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "base/backoff.hpp"
#include "cells/fork_handlers.hpp"
#include "cells/locks.hpp"
#include "quipu/thread_cell_budget.hpp"

#ifdef __linux__
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace quipu::detail {

constinit std::mutex slabs_lock;
constinit Slab no_slab;
constinit thread_local Slab* own_slab = &no_slab;
constinit std::atomic<std::uint64_t> Guard::without_slab{0};

namespace {

/// A slab's directory is mostly untouched memory; this is what a thread needs of it before its first page.
constexpr std::size_t slab_bytes = 4 * page_bytes;
constexpr std::size_t default_budget = std::size_t{64} << 20;

// All constant-initialized and trivially destroyed, so that recording works before and after every other object.
constinit std::atomic<Slab*> first_slab{nullptr};
constinit std::atomic<Slab*> free_slabs{nullptr};  // stored with `slabs_lock` held
constinit std::atomic<std::size_t> budget{default_budget};
constinit std::atomic<std::size_t> bytes_in_use{0};

/// Whether there is room in the budget. Asked first, because a thread without room asks at each recording: then it
/// neither takes the lock nor writes to what all threads share.
bool has_room(std::size_t bytes) noexcept {
  return bytes_in_use.load(std::memory_order_relaxed) + bytes <= budget.load(std::memory_order_relaxed);
}

bool spend(std::size_t bytes) noexcept {
  if (bytes_in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes <= budget.load(std::memory_order_relaxed)) {
    return true;
  }
  bytes_in_use.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

/// Zeroed memory that is not resident until it is touched, or null.
void* map(std::size_t bytes) noexcept {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

/// Gives the slab back when the thread ends. Trivially constructed, so that only a thread that has a slab pays for it.
class SlabLease {
 public:
  SlabLease() = default;
  SlabLease(const SlabLease&) = delete;
  SlabLease& operator=(const SlabLease&) = delete;
  ~SlabLease() {
    Slab* slab = std::exchange(own_slab, &no_slab);
    has_ended = true;
    if (slab == &no_slab) return;
    // A thread that was ended in the middle of a guard left it behind.
    const std::uint64_t guards = slab->guards.load(std::memory_order_relaxed);
    slab->guards.store(guards + guards % 2, std::memory_order_release);  // pairs with quiesce()
    slab->owner.store(Slab::Owner::none, std::memory_order_relaxed);
    const std::lock_guard held(slabs_lock);
    slab->next_free = free_slabs.load(std::memory_order_relaxed);
    free_slabs.store(slab, std::memory_order_relaxed);
  }
  void begin() noexcept {}

  static constinit thread_local bool has_ended;
};

constinit thread_local bool SlabLease::has_ended = false;
thread_local SlabLease lease;

Slab* new_slab() noexcept {
  static_assert(std::is_trivially_destructible_v<Slab>);
  if (!spend(slab_bytes)) return nullptr;
  void* memory = map(sizeof(Slab));
  if (memory == nullptr) {
    bytes_in_use.fetch_sub(slab_bytes, std::memory_order_relaxed);
    return nullptr;
  }
  // Zeros are what all members begin with; writing them would make the whole directory resident.
  auto* slab = static_cast<Slab*>(memory);
  slab->next = first_slab.load(std::memory_order_relaxed);
  first_slab.store(slab, std::memory_order_release);  // pairs with all_slabs()
  return slab;
}

}  // namespace

Slab* all_slabs() noexcept { return first_slab.load(std::memory_order_acquire); }

bool acquire_slab() noexcept {
  if (has_slab()) return true;
  if (SlabLease::has_ended) return false;
  if (free_slabs.load(std::memory_order_relaxed) == nullptr && !has_room(slab_bytes)) return false;
  handle_forks();
  lease.begin();  // from here on the lease's destructor will run
  const std::lock_guard held(slabs_lock);
  Slab* slab = free_slabs.load(std::memory_order_relaxed);
  if (slab != nullptr) {
    free_slabs.store(slab->next_free, std::memory_order_relaxed);
  } else {
    slab = new_slab();
    if (slab == nullptr) return false;
  }
  slab->owner.store(Slab::Owner::thread, std::memory_order_relaxed);
  own_slab = slab;
  return true;
}

ThreadCell* acquire_page() noexcept {
  if (!has_room(page_bytes) || !spend(page_bytes)) return nullptr;
  // Pages come from the system a few at a time and are never given back.
  static constinit char* rest = nullptr;
  static constinit std::size_t left = 0;
  constexpr std::size_t chunk = 16 * page_bytes;
  const std::lock_guard held(slabs_lock);
  if (left == 0) {
    rest = static_cast<char*>(map(chunk));
    if (rest == nullptr) {
      bytes_in_use.fetch_sub(page_bytes, std::memory_order_relaxed);
      return nullptr;
    }
    left = chunk;
  }
  left -= page_bytes;
  return reinterpret_cast<ThreadCell*>(std::exchange(rest, rest + page_bytes));
}

namespace {

/// The slots of one size: a page of the directory holds slots of one size only.
struct SlotClass {
  std::vector<std::uint32_t> free;
  std::uint32_t next = 0;
  std::uint32_t end = 0;
};

constinit std::uint32_t next_page = 1;  // guarded by `slabs_lock`

SlotClass& slot_class(std::size_t cells) {
  static auto& classes = *new std::vector<SlotClass>(cells_per_page + 1);
  return classes[cells];
}

}  // namespace

std::uint32_t acquire_slot(std::size_t cells) noexcept {
  if (cells > cells_per_page) return 0;
  const std::lock_guard held(slabs_lock);
  SlotClass& slots = slot_class(cells);
  if (!slots.free.empty()) {
    const std::uint32_t slot = slots.free.back();
    slots.free.pop_back();
    return slot;
  }
  if (slots.next + cells > slots.end) {
    if (next_page == max_pages) return 0;
    slots.next = next_page++ * static_cast<std::uint32_t>(cells_per_page);
    slots.end = slots.next + static_cast<std::uint32_t>(cells_per_page);
  }
  return std::exchange(slots.next, slots.next + static_cast<std::uint32_t>(cells));
}

void release_slot(std::uint32_t slot, std::size_t cells) noexcept {
  if (slot == 0) return;
  const std::lock_guard held(slabs_lock);
  slot_class(cells).free.push_back(slot);
}

namespace {

/// Makes every other running thread of the process execute a full barrier.
bool barrier_everywhere() noexcept {
#ifdef __linux__
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) return true;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
         syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
#else
  return false;
#endif
}

}  // namespace

bool quiesce() noexcept {
  if (!barrier_everywhere()) return false;
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    // Acquire, both: pair with the end of the guard, and with the beginning of the next.
    const std::uint64_t held = slab->guards.load(std::memory_order_acquire);
    if (held % 2 == 0) continue;
    for (Backoff backoff; slab->guards.load(std::memory_order_acquire) == held; backoff.wait()) {
    }
  }
  // Seq_cst: pairs with the addition, likewise seq_cst, that begins the guard of a thread without a slab.
  for (Backoff backoff; Guard::without_slab.load(std::memory_order_seq_cst) != 0; backoff.wait()) {
  }
  return true;
}

}  // namespace quipu::detail

namespace quipu {

void set_thread_cell_budget(std::size_t bytes) noexcept { detail::budget.store(bytes, std::memory_order_relaxed); }
std::size_t thread_cell_bytes() noexcept { return detail::bytes_in_use.load(std::memory_order_relaxed); }

}  // namespace quipu

#include "quipu/detail/cells/thread_cells.hpp"

#include <pthread.h>

#include <array>
#include <mutex>
#include <type_traits>
#include <utility>

#include "cells/locks.hpp"
#include "cells/map_memory.hpp"
#include "quipu/detail/cells/cell_memory.hpp"
#include "quipu/thread_cell_budget.hpp"

namespace quipu::detail {

constinit Slab no_slab;
constinit thread_local Slab* own_slab = &no_slab;

namespace {

/// What a slab takes of the budget. Its directory is mostly untouched memory, which is not resident.
constexpr std::size_t slab_bytes = 4 * block_bytes;
constexpr std::size_t default_budget = std::size_t{64} << 20;

// Constant-initialized and trivially destroyed, so that recording works before and after the life of any other object.
constinit std::atomic<Slab*> first_slab{nullptr};
constinit std::atomic<Slab*> free_slabs{nullptr};  // stored with `slabs_lock` held
constinit std::atomic<std::size_t> budget{default_budget};
constinit std::atomic<std::size_t> bytes_in_use{0};

/// Whether the budget has room. It is asked first, because a thread without room asks at each recording: it then
/// neither takes the lock nor writes to memory that all threads share.
bool has_room(std::size_t bytes) noexcept {
  return bytes_in_use.load(std::memory_order_relaxed) + bytes <= budget.load(std::memory_order_relaxed);
}

/// Takes `bytes` from the budget, if it has room.
bool spend(std::size_t bytes) noexcept {
  if (bytes_in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes <= budget.load(std::memory_order_relaxed)) {
    return true;
  }
  bytes_in_use.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

/// Gives the slab back when the thread ends: its destructor is called for each thread that has set a value. A key, and
/// not a thread-local with a destructor: those are destroyed first, and the destructors of the program's own keys may
/// record for the first time afterwards. They are called in several rounds, and what is set in one is destroyed in the
/// next. A thread that first records in the last round keeps its slab: the values count, but no other thread gets it.
pthread_key_t leases;
constinit std::atomic<bool> has_leases{false};  // relaxed: set before any thread can look

/// From now on the thread has no slab. Otherwise destructors of keys that record in each round would leave a slab with
/// a thread that has ended.
constinit thread_local bool has_given_back = false;

void give_back(void*) noexcept {
  Slab* slab = std::exchange(own_slab, &no_slab);
  has_given_back = true;
  if (slab == &no_slab) return;
  // If the thread ended in the middle of a guard, the guard ends here.
  const std::uint64_t guards = slab->guards.load(std::memory_order_relaxed);
  slab->guards.store(guards + guards % 2, std::memory_order_release);  // pairs with quiesce()
  // Release: pairs with the reader's acquire. The cells are final until another thread has the slab.
  slab->has_owner.store(false, std::memory_order_release);
  const std::lock_guard held(slabs_lock);
  slab->next_free = free_slabs.load(std::memory_order_relaxed);
  free_slabs.store(slab, std::memory_order_relaxed);
}

// 101 is the first priority that is not reserved: before any other initialization, and after any other destruction.
[[gnu::constructor(101)]] void make_leases() noexcept {
  has_leases.store(pthread_key_create(&leases, give_back) == 0, std::memory_order_relaxed);
}
[[gnu::destructor(101)]] void end_leases() noexcept {
  if (has_leases.exchange(false, std::memory_order_relaxed)) pthread_key_delete(leases);
}

Slab* new_slab() noexcept {
  static_assert(std::is_trivially_destructible_v<Slab>);
  if (!spend(slab_bytes)) return nullptr;
  void* memory = map_memory(sizeof(Slab));
  if (memory == nullptr) {
    bytes_in_use.fetch_sub(slab_bytes, std::memory_order_relaxed);
    return nullptr;
  }
  // The memory is zeroed, as all members are initially. Writing the zeros would make the whole directory resident.
  auto* slab = static_cast<Slab*>(memory);
  slab->next = first_slab.load(std::memory_order_relaxed);
  first_slab.store(slab, std::memory_order_release);  // pairs with all_slabs()
  return slab;
}

}  // namespace

Slab* all_slabs() noexcept { return first_slab.load(std::memory_order_acquire); }  // pairs with new_slab()

bool acquire_slab() noexcept {
  if (has_slab()) return true;
  if (has_given_back || !has_leases.load(std::memory_order_relaxed)) return false;
  if (free_slabs.load(std::memory_order_relaxed) == nullptr && !has_room(slab_bytes)) return false;
  if (pthread_setspecific(leases, &no_slab) != 0) return false;
  if (has_slab()) return true;  // given to it meanwhile, if the program counts what pthread_setspecific() allocates
  const std::lock_guard held(slabs_lock);
  Slab* slab = free_slabs.load(std::memory_order_relaxed);
  if (slab != nullptr) {
    free_slabs.store(slab->next_free, std::memory_order_relaxed);
  } else {
    slab = new_slab();
    if (slab == nullptr) return false;
  }
  // A read-modify-write that acquires: pairs with the release of a reader that finds no owner. What this thread records
  // comes after what that reader has read.
  slab->has_owner.exchange(true, std::memory_order_acquire);
  own_slab = slab;
  return true;
}

ThreadCell* acquire_block() noexcept {
  if (!has_room(block_bytes) || !spend(block_bytes)) return nullptr;
  // Blocks come from the system a few at a time, and are never given back.
  static constinit char* rest = nullptr;
  static constinit std::size_t left = 0;
  constexpr std::size_t chunk = 16 * block_bytes;
  const std::lock_guard held(slabs_lock);
  if (left == 0) {
    rest = static_cast<char*>(map_memory(chunk));
    if (rest == nullptr) {
      bytes_in_use.fetch_sub(block_bytes, std::memory_order_relaxed);
      return nullptr;
    }
    left = chunk;
  }
  left -= block_bytes;
  return reinterpret_cast<ThreadCell*>(std::exchange(rest, rest + block_bytes));
}

namespace {

/// The slots of one size. A block holds slots of one size only.
struct SlotClass {
  std::uint32_t free = 0;  // the first of those that were released, or 0
  std::uint32_t next = 0;
  std::uint32_t end = 0;
};

// Guarded by `slabs_lock`:
constinit std::uint32_t next_block = 1;
constinit std::array<SlotClass, cells_per_block + 1> slot_classes{};
/// For each slot of a block, in order: the free slot that follows it in the list. Made with the block's first slot, so
/// that releasing a slot needs no memory.
constinit std::array<std::uint32_t*, max_blocks> following_slots{};

std::uint32_t& following(std::uint32_t slot, std::size_t cells) noexcept {
  return following_slots[slot / cells_per_block][slot % cells_per_block / cells];
}

}  // namespace

std::uint32_t acquire_slot(std::size_t cells) noexcept {
  if (cells > cells_per_block) return 0;
  const std::lock_guard held(slabs_lock);
  SlotClass& slots = slot_classes[cells];
  if (slots.free != 0) return std::exchange(slots.free, following(slots.free, cells));
  if (slots.next + cells > slots.end) {
    if (next_block == max_blocks) return 0;
    void* links = acquire_memory(cells_per_block / cells * sizeof(std::uint32_t));
    if (links == nullptr) return 0;
    following_slots[next_block] = static_cast<std::uint32_t*>(links);
    slots.next = next_block++ * static_cast<std::uint32_t>(cells_per_block);
    slots.end = slots.next + static_cast<std::uint32_t>(cells_per_block);
  }
  return std::exchange(slots.next, slots.next + static_cast<std::uint32_t>(cells));
}

void release_slot(std::uint32_t slot, std::size_t cells) noexcept {
  if (slot == 0) return;
  const std::lock_guard held(slabs_lock);
  following(slot, cells) = std::exchange(slot_classes[cells].free, slot);
}

}  // namespace quipu::detail

namespace quipu {

void set_thread_cell_budget(std::size_t bytes) noexcept { detail::budget.store(bytes, std::memory_order_relaxed); }
std::size_t thread_cell_bytes() noexcept { return detail::bytes_in_use.load(std::memory_order_relaxed); }

}  // namespace quipu

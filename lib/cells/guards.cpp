#include "cells/guards.hpp"

#include <array>
#include <atomic>
#include <cstdint>

#include "base/backoff.hpp"
#include "quipu/detail/cells/thread_cells.hpp"

#ifdef __linux__
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace quipu::detail {
namespace {

/// The guards of threads without a slab.
///
/// A guard is in one counter from its beginning to its end. A counter that is seen at 0 has no guard that began before.
/// So when each counter of the pair has been seen at 0, at whatever moments after the call of quiesce(), every guard
/// has ended that was held at the call.
///
/// One counter would not do: where threads record without a pause it may never be at 0. New guards go to the counter
/// that `current` names. Whoever waits for the other one waits only for guards that began before `current` changed, and
/// for those of the few threads that had loaded it by then. So a period, which waits for one counter and then for the
/// other, makes the other one current each time. It begins with the one that is not in use, which is mostly empty.
struct alignas(64) GuardCounter {
  std::atomic<std::uint64_t> guards{0};
};

/// A forked child takes the next pair, as the counters of its parent also count guards that never end in the child. The
/// thread that forked may still be on its way into a guard, or out of it, with the number of a counter of before. The
/// pairs are enough for handlers that fork while a handler of the parent does the same, and so on.
constexpr std::uint32_t counters_of_all_pairs = 32;
constinit std::array<GuardCounter, counters_of_all_pairs> counters{};

/// The number of the counter for new guards. Relaxed throughout: the counters do not depend on it.
constinit std::atomic<std::uint32_t> current{0};

std::uint32_t pair_in_use() noexcept { return current.load(std::memory_order_relaxed) & ~1u; }

/// A read-modify-write, as each guard's addition is. So a guard comes before it, and is seen, or after it. Then the
/// guard finds all that this thread has done so far. Acquire and release: pairs with the additions and subtractions.
bool is_empty(std::uint32_t counter) noexcept {
  return counters[counter].guards.fetch_add(0, std::memory_order_acq_rel) == 0;
}

/// Periods are numbered. One thread at a time makes a period. Those that wait for it meanwhile need none of their own
/// when a period has ended that began after their call.
constinit std::atomic<bool> is_period_under_way{false};
constinit std::atomic<std::uint32_t> periods_begun{0};
constinit std::atomic<std::uint32_t> last_ended{0};

void wait_for_guards_without_slab() noexcept {
  const std::uint32_t pair = pair_in_use();
  if (is_empty(pair) && is_empty(pair + 1)) return;
  // Release: pairs with the addition that begins a period. That period knows all that this thread has done so far.
  const std::uint32_t before = periods_begun.fetch_add(0, std::memory_order_release);
  // Acquire: pairs with the release at the end.
  for (Backoff backoff; is_period_under_way.exchange(true, std::memory_order_acquire); backoff.wait()) {
    // Acquire: pairs with the release that ends a period.
    if (static_cast<std::int32_t>(last_ended.load(std::memory_order_acquire) - before) > 0) return;
  }
  // Acquire: pairs with the addition of 0 above.
  const std::uint32_t period = periods_begun.fetch_add(1, std::memory_order_acq_rel) + 1;
  const std::uint32_t used = current.load(std::memory_order_relaxed);
  for (const std::uint32_t counter : {used ^ 1, used}) {
    if (is_empty(counter)) continue;
    std::uint32_t known = counter;
    current.compare_exchange_strong(known, counter ^ 1, std::memory_order_relaxed);
    // The pair is another one in a child that a signal handler forks here. It has no other threads' guards.
    for (Backoff backoff; !is_empty(counter) && pair_in_use() == (counter & ~1u); backoff.wait()) {
    }
  }
  last_ended.store(period, std::memory_order_release);          // pairs with the load of those that wait
  is_period_under_way.store(false, std::memory_order_release);  // pairs with the exchange
}

#ifdef __linux__
bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

/// When the library is loaded: in a process of many busy threads, the system takes seconds for this.
[[gnu::constructor(101)]] void register_for_barriers() noexcept {
  static_cast<void>(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
}
#endif

/// Makes every other running thread of the process execute a full barrier.
bool barrier_everywhere() noexcept {
#ifdef __linux__
  return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
         (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
#else
  return false;
#endif
}

}  // namespace

std::uint64_t Guard::begin_without_slab() noexcept {
  const std::uint32_t counter = current.load(std::memory_order_relaxed);
  // Acquire: pairs with is_empty(). What was made impossible to find before is not found.
  counters[counter].guards.fetch_add(1, std::memory_order_acquire);
  return counter;
}

void Guard::end_without_slab(std::uint64_t counter) noexcept {
  // Release: pairs with is_empty(). All that was done under the guard happens before the return of quiesce().
  counters[counter].guards.fetch_sub(1, std::memory_order_release);
}

void begin_guards_of_child() noexcept {
  const std::uint32_t pair = (pair_in_use() + 2) % counters_of_all_pairs;
  for (std::uint32_t counter : {pair, pair + 1}) counters[counter].guards.store(0, std::memory_order_relaxed);
  current.store(pair, std::memory_order_relaxed);
  is_period_under_way.store(false, std::memory_order_relaxed);
}

bool can_quiesce() noexcept { return barrier_everywhere(); }

bool quiesce() noexcept {
  if (!barrier_everywhere()) return false;
  for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
    // Acquire, both: pair with the releases that end this guard and begin the next one.
    const std::uint64_t held = slab->guards.load(std::memory_order_acquire);
    if (held % 2 == 0) continue;
    for (Backoff backoff; slab->guards.load(std::memory_order_acquire) == held; backoff.wait()) {
    }
  }
  wait_for_guards_without_slab();
  return true;
}

}  // namespace quipu::detail

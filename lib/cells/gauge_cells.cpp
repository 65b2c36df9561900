#include "quipu/detail/cells/gauge_cells.hpp"

#include <array>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>

#include "base/backoff.hpp"
#include "cells/cell_access.hpp"
#include "cells/fork_exclusion.hpp"

namespace quipu::detail {
namespace {

/// The shared sum of a gauge that is not set.
std::atomic<std::uint64_t>& shared_sum(Cell& gauge, std::uint32_t state) noexcept {
  return reinterpret_cast<std::atomic<std::uint64_t>*>(&gauge)[state & ~GaugeState::shared];
}

/// What a reader has seen of a thread's cell, which may not exist.
class Look {
 public:
  Look() = default;
  Look(Slab& slab, CellRef gauge) noexcept : cell_(cell_of(slab, gauge)) {
    if (cell_ == nullptr) return;
    // Acquire, both: pair with the releases in add_to_gauge().
    change_ = cell_->count.load(std::memory_order_acquire);
    whole_ = cell_->bits.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t whole() const noexcept { return cell_ == nullptr ? 0 : whole_; }

  /// The second look: whether the cell has not changed.
  [[nodiscard]] bool holds(Slab& slab, CellRef gauge) const noexcept {
    if (cell_ == nullptr) return Look(slab, gauge).is_untouched();
    // Acquire, both: pair with the releases in add_to_gauge(), in the opposite order.
    return cell_->bits.load(std::memory_order_acquire) == whole_ &&
           cell_->count.load(std::memory_order_acquire) == change_;
  }

 private:
  [[nodiscard]] bool is_untouched() const noexcept { return cell_ == nullptr || (whole_ == 0 && change_ == 0); }

  // Initialized only as far as they are used: a reader has room for many.
  const ThreadCell* cell_;
  std::uint64_t whole_;
  std::uint32_t change_;
};

/// Reads a gauge that is not set. To be used under a guard.
class SumReader {
 public:
  SumReader(CellRef gauge, std::atomic<std::uint64_t>& sum) noexcept : gauge_(gauge), sum_(sum) {}

  /// Whether value() is of one moment.
  [[nodiscard]] bool try_cells() noexcept {
    tracked_ = 0;
    Slab* const first = gauge_.slot == 0 ? nullptr : all_slabs();
    return look_twice(first) && (first == nullptr || first == all_slabs());
  }
  /// Of the first looks of the last try, which are complete in any case.
  [[nodiscard]] double value() const noexcept { return shared_ + tracked(); }

  /// Takes the value off the shared sum.
  void take_off() const noexcept {
    std::uint64_t old = sum_.load(std::memory_order_relaxed);
    // In this order, so that the gauge is exactly 0 if nothing was added since.
    const auto rest = [this](double shared) { return (shared - shared_) - tracked(); };
    // Release: pairs with the acquire in look_twice(), as in add_gauge_slowly().
    while (!sum_.compare_exchange_weak(old, std::bit_cast<std::uint64_t>(rest(std::bit_cast<double>(old))),
                                       std::memory_order_release, std::memory_order_relaxed)) {
    }
  }

 private:
  [[nodiscard]] double tracked() const noexcept { return static_cast<double>(static_cast<std::int64_t>(tracked_)); }

  /// Looks at the cells of a slab and those after it. There may be any number of them, so they are taken in parts, each
  /// of which is looked at before and after all that follow.
  bool look_twice(Slab* const first) noexcept {
    std::array<Look, 64> seen;
    std::size_t count = 0;
    Slab* slab = first;
    for (; slab != nullptr && count < seen.size(); slab = slab->next) {
      seen[count] = Look(*slab, gauge_);
      tracked_ += seen[count++].whole();
    }
    if (slab != nullptr) {
      if (!look_twice(slab)) return false;
    } else {
      // Acquire: pairs with the release in add_gauge_slowly().
      shared_ = std::bit_cast<double>(sum_.load(std::memory_order_acquire));
    }
    slab = first;
    for (std::size_t i = 0; i < count; ++i, slab = slab->next) {
      if (!seen[i].holds(*slab, gauge_)) return false;
    }
    return true;
  }

  const CellRef gauge_;
  std::atomic<std::uint64_t>& sum_;
  std::uint64_t tracked_ = 0;
  double shared_ = 0;
};

/// Reads a gauge that is not set while its thread cells are at rest: until they are, it is `shared`. To be called under
/// a guard, with the readers' lock.
void read_at_rest(std::atomic<std::uint32_t>& state, SumReader& reader) noexcept {
  // Relaxed, all: the flag says nothing about other memory. A set stays a set.
  std::uint32_t known = state.load(std::memory_order_relaxed);
  while (!GaugeState::is_set(known) &&
         !state.compare_exchange_weak(known, known | GaugeState::shared, std::memory_order_relaxed)) {
  }
  // A thread makes at most the step that it has begun. It may have been descheduled there, and is not waited for then.
  for (Backoff backoff; !reader.try_cells() && !backoff.is_exhausted(); backoff.wait()) {
  }
  state.fetch_and(~GaugeState::shared, std::memory_order_relaxed);
}

constinit std::mutex readers;  // so that none takes away the flag of another one

/// Calls use(reader) under a guard: for a gauge that is set with null, for another one with a reader that has its value
/// of one moment. Does nothing for a removed series.
template <class Use>
void read_and(CellRef gauge, Use use) noexcept {
  constexpr int attempts = 4;
  const auto read = [&](auto is_read) -> bool {
    const Guard guard;
    if (!gauge.is_live()) return true;
    std::atomic<std::uint32_t>& state = gauge.cell->state;
    const std::uint32_t seen = state.load(std::memory_order_acquire);  // pairs with set_gauge_slowly()
    if (GaugeState::is_set(seen)) {
      use(static_cast<const SumReader*>(nullptr));
      return true;
    }
    SumReader reader(gauge, shared_sum(*gauge.cell, seen));
    if (!is_read(state, reader)) return false;
    use(&std::as_const(reader));
    return true;
  };
  const bool is_of_one_moment = read([](auto&, SumReader& reader) {
    for (int i = 0; i < attempts; ++i) {
      if (reader.try_cells()) return true;
    }
    return false;
  });
  if (is_of_one_moment) return;
  // The child of a fork finds neither the lock taken nor the flag.
  const ForkExclusion no_fork(ForkExclusion::Begin::after_forks);
  const std::lock_guard lock(readers);
  static_cast<void>(read([](auto& state, SumReader& reader) {
    read_at_rest(state, reader);
    return true;
  }));
}

}  // namespace

CellRef begin_gauge(Cell& cell, std::uint32_t sum_at) noexcept {
  new (&shared_sum(cell, sum_at)) std::atomic<std::uint64_t>(0);
  return begin_series(cell, 1, sum_at);
}

void set_gauge_slowly(CellRef to, double value) noexcept {
  static_cast<void>(acquire_slab());
  const Guard guard;
  if (!to.is_live()) return;
  // Acquire: pairs with the release below, as in set_gauge().
  const bool is_set = to.cell->state.load(std::memory_order_acquire) == GaugeState::set;
  to.cell->bits.store(std::bit_cast<std::uint64_t>(value), std::memory_order_relaxed);
  // Release: pairs with all acquire loads of the state. Whoever sees that the gauge is set sees the value.
  if (!is_set) to.cell->state.store(GaugeState::set, std::memory_order_release);
}

void add_gauge_slowly(CellRef to, double step) noexcept {
  std::uint64_t whole = 0;
  if (is_trackable(to, step, whole)) {
    if (ThreadCell* cell = claim(to, 1, misses_for_a_block)) return add_to_gauge(*cell, whole);
  }
  const Guard guard;
  if (!to.is_live()) return;
  const std::uint32_t state = to.cell->state.load(std::memory_order_acquire);  // pairs with set_gauge_slowly()
  if (GaugeState::is_set(state)) {
    add_shared(to.cell->bits, step);
    // Release: pairs with all acquire loads of the state, as in set_gauge_slowly().
    if (state == GaugeState::set_and_idle) to.cell->state.store(GaugeState::set, std::memory_order_release);
    return;
  }
  // Release: pairs with the acquire in SumReader::look_twice().
  add_shared(shared_sum(*to.cell, state), step, std::memory_order_release);
}

double read_gauge(CellRef from) noexcept {
  double value = 0;
  read_and(from, [&](const SumReader* sum) {
    value = sum != nullptr ? sum->value() : std::bit_cast<double>(from.cell->bits.load(std::memory_order_relaxed));
  });
  return value;
}

void reset_gauge(CellRef gauge) noexcept {
  read_and(gauge, [&](const SumReader* sum) {
    if (sum != nullptr) return sum->take_off();
    gauge.cell->bits.store(std::bit_cast<std::uint64_t>(0.0), std::memory_order_relaxed);
  });
}

GaugeLook look_at_gauge(CellRef gauge) noexcept {
  const Guard guard;
  if (!gauge.is_live()) return {};
  std::uint32_t seen = gauge.cell->state.load(std::memory_order_acquire);  // pairs with set_gauge_slowly()
  if (GaugeState::is_set(seen)) {
    seen = GaugeState::set;
    // Relaxed: a read-modify-write, which leaves what was released with the state to those who acquire it.
    const bool is_written =
        gauge.cell->state.compare_exchange_strong(seen, GaugeState::set_and_idle, std::memory_order_relaxed);
    return {is_written, gauge.cell->bits.load(std::memory_order_relaxed)};
  }
  SumReader reader(gauge, shared_sum(*gauge.cell, seen));
  if (!reader.try_cells() || reader.value() != 0) return {.is_in_use = true, .changes = 0};
  GaugeLook look{};
  for_each_thread(gauge, [&](Slab&, ThreadCell& cell) { look.changes += cell.count.load(std::memory_order_relaxed); });
  return look;
}

}  // namespace quipu::detail

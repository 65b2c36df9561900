#include "quipu/detail/cells/cell.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

namespace quipu::detail {
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
  // Release: pairs with is_live(), and with a reader that loads the tag before the rest. Both find state and bits.
  cell.tag.store(series.tag, std::memory_order_release);
  return series;
}

// Release: pairs with the acquire in is_live().
void end_series(Cell& cell) noexcept { cell.tag.store(0, std::memory_order_release); }

void recycle_series(std::uint32_t slot, std::size_t cells) noexcept { release_slot(slot, cells); }

}  // namespace quipu::detail

#include "quipu/detail/cells/bucket_layout.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace quipu::detail {
namespace {

struct OwnedNanoseconds : NanosecondLayout {
  std::vector<Entry> table_storage;
  std::vector<std::int64_t> bounds_storage;
};

struct OwnedLayout : BucketLayout {
  std::vector<double> bounds_storage;
  std::vector<Entry> table_storage;
  OwnedNanoseconds nanoseconds_storage;
};

/// An entry takes 16 bytes, so the largest table is 32 KiB.
constexpr std::uint64_t max_table_size = 2048;

/// -0, which is ordered before 0, belongs with it.
std::uint64_t cell_of(double bound, std::uint32_t shift) { return BucketLayout::ordered(bound + 0.0) >> shift; }

struct Shape {
  std::uint32_t shift;
  std::uint64_t first_cell;
  std::uint64_t size;
  std::uint32_t comparisons;
};

/// The table that has cells of 2^shift. It begins with the cell below that of the second bound (the first bound is
/// alone there with everything smaller) and ends with the cell above that of the last.
Shape shape_of(std::span<const double> bounds, std::uint32_t shift) {
  if (bounds.empty()) return {shift, 0, 1, 1};
  const auto cell = [shift](double bound) { return cell_of(bound, shift); };
  const std::uint64_t second = cell(bounds[bounds.size() > 1 ? 1 : 0]);
  const std::uint64_t first = std::max(cell(bounds[0]), second - (second > 0));
  std::uint32_t most = 0;
  std::uint32_t here = 0;
  std::uint64_t current = first;
  for (const double bound : bounds) {
    here = std::max(cell(bound), first) == current ? here + 1 : 1;
    current = std::max(cell(bound), first);
    most = std::max(most, here);
  }
  return {shift, first, cell(bounds.back()) - first + 2, most};
}

/// The fewest comparisons, then the smallest table.
Shape best_shape(std::span<const double> bounds) {
  Shape best = shape_of(bounds, 63);
  for (std::uint32_t shift = 62; shift > 0 && best.comparisons > 1; --shift) {
    const Shape shape = shape_of(bounds, shift);
    if (shape.size > max_table_size) break;
    if (shape.comparisons < best.comparisons) best = shape;
  }
  return best;
}

/// The largest number of nanoseconds that is not above `seconds` when it is divided by 1e9 and rounded. -1 if there is
/// none, as negative ones are not looked up.
std::int64_t most_nanoseconds(double seconds) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const auto in_seconds = [](std::int64_t count) {
    return std::chrono::duration<double>(std::chrono::nanoseconds(count)).count();
  };
  if (seconds < 0) return -1;
  if (seconds >= in_seconds(most)) return most;
  auto count = static_cast<std::int64_t>(std::min(seconds * 1e9, 9.2e18));
  while (in_seconds(count) > seconds) --count;
  while (in_seconds(count + 1) <= seconds) ++count;
  return count;
}

OwnedNanoseconds make_nanoseconds(std::span<const double> seconds) {
  OwnedNanoseconds layout;
  for (const double bound : seconds) layout.bounds_storage.push_back(most_nanoseconds(bound));
  const std::vector<std::int64_t> bounds = layout.bounds_storage;
  layout.bounds_storage.push_back(std::numeric_limits<std::int64_t>::max());

  constexpr std::uint32_t most_detail = 5;
  std::vector<std::uint32_t> in_cell;
  for (layout.detail = 0;; ++layout.detail) {
    in_cell.assign(std::size_t{64} << layout.detail, 0);
    for (const std::int64_t bound : bounds) {
      if (bound >= 0) ++in_cell[NanosecondLayout::cell(bound, layout.detail)];
    }
    layout.comparisons = std::max(1u, std::ranges::max(in_cell));
    if (layout.comparisons == 1 || layout.detail == most_detail) break;
  }

  auto below = static_cast<std::size_t>(std::ranges::count(bounds, -1));
  for (const std::uint32_t bounds_here : in_cell) {
    layout.table_storage.push_back({layout.bounds_storage[below], below});
    below += bounds_here;
  }
  layout.table = layout.table_storage.data();
  layout.bounds = layout.bounds_storage.data();
  return layout;
}

std::unique_ptr<OwnedLayout> make_layout(std::span<const double> bounds) {
  auto layout = std::make_unique<OwnedLayout>();
  const Shape shape = best_shape(bounds);
  layout->bounds_storage.assign(bounds.begin(), bounds.end());
  layout->bounds_storage.push_back(std::numeric_limits<double>::infinity());
  std::size_t below = 0;
  for (std::uint64_t entry = 0; entry < shape.size; ++entry) {
    while (entry > 0 && below < bounds.size() && cell_of(bounds[below], shape.shift) < shape.first_cell + entry) {
      ++below;
    }
    layout->table_storage.push_back({layout->bounds_storage[below], below});
  }
  layout->bounds = layout->bounds_storage.data();
  layout->table = layout->table_storage.data();
  layout->first_cell = static_cast<std::int64_t>(shape.first_cell);
  layout->last_entry = static_cast<std::int64_t>(shape.size) - 1;
  layout->count = static_cast<std::uint32_t>(bounds.size());
  layout->shift = shape.shift;
  layout->comparisons = shape.comparisons;
  layout->nanoseconds_storage = make_nanoseconds(bounds);
  layout->nanoseconds = &layout->nanoseconds_storage;
  return layout;
}

}  // namespace

const BucketLayout& bucket_layout(std::span<const double> bounds) {
  // Never destroyed: instruments in other static objects may outlive any object of ours.
  static auto& mutex = *new std::mutex;
  static auto& layouts = *new std::map<std::vector<double>, std::unique_ptr<OwnedLayout>>;
  const std::lock_guard lock(mutex);
  auto& layout = layouts[{bounds.begin(), bounds.end()}];
  if (!layout) layout = make_layout(bounds);
  return *layout;
}

}  // namespace quipu::detail

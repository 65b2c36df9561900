#include "quipu/buckets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "quipu/detail/cells/bucket_layout.hpp"
#include "quipu/error.hpp"

namespace quipu {
namespace {

std::vector<double> checked(std::vector<double> bounds) {
  if (!bounds.empty() && bounds.back() == std::numeric_limits<double>::infinity()) bounds.pop_back();
  if (bounds.size() > Buckets::max_count) {
    throw RegistrationError(
        fmt::format("buckets: {} bounds, but a histogram has at most {}", bounds.size(), Buckets::max_count));
  }
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (!std::isfinite(bounds[i])) {
      throw RegistrationError(fmt::format("buckets: bound {} is {}; bounds are finite numbers", i, bounds[i]));
    }
    if (i > 0 && bounds[i] <= bounds[i - 1]) {
      throw RegistrationError(fmt::format("buckets: bound {} ({}) is not above bound {} ({}); bounds increase strictly",
                                          i, bounds[i], i - 1, bounds[i - 1]));
    }
    bounds[i] += 0.0;  // -0 becomes 0, which is how it is written
  }
  return bounds;
}

std::vector<double> in_seconds(std::initializer_list<Seconds> bounds) {
  std::vector<double> seconds;
  seconds.reserve(bounds.size());
  for (const Seconds bound : bounds) seconds.push_back(bound.count());
  return seconds;
}

void require(bool holds, std::string_view call, std::string_view rule) {
  if (!holds) throw RegistrationError(fmt::format("buckets: {} needs {}", call, rule));
}

void require_count(std::string_view call, int count, int least) {
  require(count >= least && count <= static_cast<int>(Buckets::max_count), call,
          fmt::format("a count from {} to {}", least, Buckets::max_count));
}

}  // namespace

Buckets::Buckets(std::initializer_list<double> bounds) : bounds_(checked(bounds)) {}
Buckets::Buckets(std::initializer_list<Seconds> bounds) : bounds_(checked(in_seconds(bounds))) {}
Buckets::Buckets(std::vector<double> bounds) : bounds_(checked(std::move(bounds))) {}

namespace buckets {

Buckets defaults() { return {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}; }

Buckets linear(double start, double width, int count) {
  const std::string call = fmt::format("linear(start {}, width {}, count {})", start, width, count);
  require_count(call, count, 1);
  require(width > 0, call, "a width above 0");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) bounds.push_back(start + width * i);
  require(std::isfinite(bounds.back()), call, "finite bounds");
  return Buckets(std::move(bounds));
}

Buckets linear(Seconds start, Seconds width, int count) { return linear(start.count(), width.count(), count); }

Buckets exponential(double start, double factor, int count) {
  const std::string call = fmt::format("exponential(start {}, factor {}, count {})", start, factor, count);
  require_count(call, count, 1);
  require(start > 0, call, "a start above 0");
  require(factor > 1, call, "a factor above 1");
  std::vector<double> bounds;
  for (double bound = start; static_cast<int>(bounds.size()) < count; bound *= factor) bounds.push_back(bound);
  require(std::isfinite(bounds.back()), call, "finite bounds");
  return Buckets(std::move(bounds));
}

Buckets exponential(Seconds start, double factor, int count) { return exponential(start.count(), factor, count); }

Buckets exponential_range(double min, double max, int count) {
  const std::string call = fmt::format("exponential_range(min {}, max {}, count {})", min, max, count);
  require_count(call, count, 2);
  require(min > 0, call, "a min above 0");
  require(max > min && std::isfinite(max), call, "a finite max above min");
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) {
    const double part = static_cast<double>(i) / (count - 1);
    bounds.push_back(std::pow(min, 1 - part) * std::pow(max, part));  // max / min could be infinite
  }
  bounds.front() = min;
  bounds.back() = max;
  return Buckets(std::move(bounds));
}

Buckets exponential_range(Seconds min, Seconds max, int count) {
  return exponential_range(min.count(), max.count(), count);
}

}  // namespace buckets

namespace detail {
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
  const auto in_seconds = [](std::int64_t count) { return Seconds(std::chrono::nanoseconds(count)).count(); };
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

}  // namespace detail
}  // namespace quipu

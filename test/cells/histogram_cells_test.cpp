// What the cells of histograms hold when an observation does not go as usual.

#include "quipu/detail/cells/histogram_cells.hpp"

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "catch.hpp"
#include "cells/shared_histogram.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "support/process.hpp"

namespace {

using namespace quipu::detail;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Counts = std::vector<std::uint64_t>;

constexpr std::uint64_t untouched = 0xDEAD;

HistogramReading read(SharedHistogram& histogram, std::size_t buckets) {
  HistogramReading snapshot{Counts(buckets), 0};
  histogram.add_to(snapshot);
  return snapshot;
}

/// Asks this thread for a copy of its cells, as a reader does.
std::uint64_t ask_for(CellRef histogram) {
  const std::uint64_t request = std::uint64_t{++own_slab->requests} << 32 | histogram.slot;
  for (auto& word : own_slab->copy) word = untouched;
  own_slab->wanted = request;
  return request;
}

}  // namespace

TEST_CASE("a forked child does not wait for an observation that its parent has not ended, nor does its end do harm") {
  SharedHistogram histogram(2);
  histogram.observe(0, 3);
  const std::uint64_t first = histogram.begin();
  const std::uint64_t second = histogram.begin();
  histogram.add(second, 1, 10);
  CHECK(in_child([&] {
    const auto begin = Clock::now();
    const auto has = [&](const Counts& counts, double sum) {
      const auto snapshot = read(histogram, 2);
      return snapshot.counts == counts && snapshot.sum == sum;
    };
    bool ok = has({1, 1}, 13) && has({1, 1}, 13);
    // They come to their ends after all: one of them after a reading, the other one after several.
    histogram.end(second);
    ok = ok && has({1, 1}, 13);
    histogram.add(first, 0, 3);
    histogram.end(first);
    ok = ok && has({2, 1}, 16);
    for (int i = 0; i < 5; ++i) {
      histogram.observe(1, 10);
      ok = ok && has({2, 2 + static_cast<std::uint64_t>(i)}, 26 + 10 * i);
    }
    return ok && Clock::now() - begin < 900ms;  // a reader that waits for somebody gives up after a second
  }));
  histogram.add(first, 0, 3);
  histogram.end(first);
  histogram.end(second);
  CHECK(read(histogram, 2).counts == Counts{2, 1});
  CHECK(read(histogram, 2).sum == 16);
}

TEST_CASE("a thread copies only its cells of the histogram that it observes in for a reader") {
  static Cell cell;
  const CellRef series = begin_series(cell, histogram_cells(no_bounds.buckets()), 0);
  observe(series, no_bounds, 0, 2);
  const std::uint64_t request = ask_for(series);
  observe(series, no_bounds, 0, 3);
  CHECK(own_slab->served == request);
  CHECK(own_slab->wanted == 0);
  CHECK(own_slab->copy[0] == std::bit_cast<std::uint64_t>(5.0));
  CHECK(own_slab->copy[1] == 2);
  bool is_rest_untouched = true;
  for (std::size_t i = 2; i < std::size(own_slab->copy); ++i) {
    is_rest_untouched = is_rest_untouched && own_slab->copy[i] == untouched;
  }
  CHECK(is_rest_untouched);
}

TEST_CASE("a thread whose count a signal handler made wrong puts it right before it serves a reader") {
  static Cell cell;
  const CellRef series = begin_series(cell, histogram_cells(no_bounds.buckets()), 0);
  for (int i = 0; i < 10; ++i) observe(series, no_bounds, 0, 1);
  ThreadCell& own = *own_cell(series);
  own.count = 7;
  const std::uint64_t request = ask_for(series);
  observe(series, no_bounds, 0, 1);
  CHECK(own.count == 11);
  CHECK(own_slab->served != request);
  CHECK(own_slab->wanted == request);
  observe(series, no_bounds, 0, 1);
  CHECK(own.count == 12);
  CHECK(own_slab->served == request);
  CHECK(own_slab->wanted == 0);
  CHECK(own_slab->copy[1] == 12);
  HistogramReading snapshot;
  read_histogram(series, no_bounds, snapshot);
  CHECK(snapshot.counts == Counts{12});
  CHECK(snapshot.sum == 12);
}

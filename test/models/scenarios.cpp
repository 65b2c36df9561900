// What the threads of a program may do to the same cells at once. Each scenario is as small as it can be, as all its
// executions are explored; see README.md.

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cells/cell_access.hpp"
#include "cells/shared_histogram.hpp"
#include "explorer.hpp"
#include "quipu/detail/cells/counter_cells.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/gauge_cells.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"
#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/thread_cell_budget.hpp"

using namespace quipu::detail;
using explorer::end_thread;
using explorer::in_parallel;
using explorer::require;

namespace {

/// A cell of a block that this thread has already.
void touch(CellRef series, std::size_t cells = 1) { static_cast<void>(claim(series, cells, 0)); }

/// Threads that begin from now on get no slab.
void leave_no_slabs() { quipu::set_thread_cell_budget(0); }

/// Two bounds, so three buckets.
const BucketLayout& two_bounds() {
  static const BucketLayout layout = [] {
    BucketLayout made = no_bounds;
    made.count = 2;
    return made;
  }();
  return layout;
}

}  // namespace

// Slabs.

SCENARIO("a slab goes from a thread that ends to one that begins, while a third reads") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  in_parallel({
      {[&] {
         add_whole(series, 1);
         end_thread();
       },
       [&] { touch(series); }},
      {[&] {
        touch(series);
        add_whole(series, 2);
      }},
      {[&] {
        first = read_whole(series);
        second = read_whole(series);
      }},
  });
  require(first <= second && second <= 3, "a reading is of what was counted, and does not go down");
  require(read_whole(series) == 3, "nothing is lost");
}

SCENARIO("two threads begin at once, and take the slab of one that has ended and a new one") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  const auto record = [&] {
    touch(series);
    add_whole(series, 1);
  };
  in_parallel({{record}, {record}, {[] {}, [&] { record(), end_thread(); }}});
  require(read_whole(series) == 3, "nothing is lost");
}

SCENARIO("a thread that synchronises with one that recorded reads what it recorded") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  std::atomic<bool> is_done{false};
  std::uint64_t read = 0;
  bool was_done = false;
  in_parallel({
      {[&] {
        touch(series);
        add_whole(series, 1);
        is_done.store(true, std::memory_order_release);
      }},
      {[&] {
        was_done = is_done.load(std::memory_order_acquire);
        read = read_whole(series);
      }},
  });
  require(!was_done || read == 1, "what happened before the reading is in it");
}

SCENARIO("a counter is reset while a thread records and another one reads") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  std::uint64_t read = 0;
  in_parallel({
      {[&] { add_whole(series, 1); }, [&] { touch(series), add_whole(series, 1); }},
      {[&] { reset_whole(series); }},
      {[&] { read = read_whole(series); }},
  });
  require(read <= 2, "a reading is of what was counted");
  require(read_whole(series) <= 1, "what was counted before is taken off, once");
}

// Slots and tags.

namespace {

/// Removes the series and makes another one, which takes its cell and its slot.
CellRef replace(CellRef series) {
  end_series(*series.cell);
  require(quiesce(), "there is a barrier");
  recycle_series(series.slot, 1);
  release_cell(*series.cell, sizeof(Cell));
  return begin_series(acquire_cell(sizeof(Cell)), 1, 0);
}

}  // namespace

SCENARIO("a slot is used again while a handle of the removed series records") {
  const CellRef old = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  CellRef fresh{};
  in_parallel({
      {[&] { add_whole(old, 16); }, [&] { touch(old); }},
      {[&] {
         add_whole(old, 16);
         touch(old);
       },
       [&] { acquire_slab(); }},
      {[&] {
        fresh = replace(old);
        touch(fresh);
        add_whole(fresh, 1);
      }},
  });
  require(fresh.cell == old.cell && fresh.slot == old.slot, "cell and slot are used again");
  require(read_whole(fresh) == 1, "what the old handle records is in no other series");
}

SCENARIO("a thread reads and records to a series that has the slot of a removed one") {
  const CellRef old = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  CellRef fresh{};
  std::atomic<bool> is_published{false};
  std::uint64_t read = 0;
  bool has_recorded = false;
  const auto before = [&] { touch(old), add_whole(old, 16); };
  in_parallel({
      {[&] {
         fresh = replace(old);
         is_published.store(true, std::memory_order_release);
         touch(fresh);
         add_whole(fresh, 1);
       },
       before},
      {[&] {
         has_recorded = is_published.load(std::memory_order_acquire);
         if (!has_recorded) return;
         touch(fresh);
         add_whole(fresh, 2);
       },
       before},
      {[&] {
        if (is_published.load(std::memory_order_acquire)) read = read_whole(fresh);
      }},
  });
  require(read <= 3, "a reading has nothing of the removed series");
  require(read_whole(fresh) == (has_recorded ? 3 : 1), "nothing is lost, and nothing is of the removed series");
}

SCENARIO("a thread without a slab records to a removed series whose cell is used again") {
  leave_no_slabs();
  const CellRef old = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  CellRef fresh{};
  in_parallel({
      {[&] { add_whole(old, 16); }},
      {[&] {
        fresh = replace(old);
        add_whole(fresh, 1);
      }},
  });
  require(read_whole(fresh) == 1, "what the old handle records is in no other series");
}

SCENARIO("a thread without a slab reads a removed series whose cell is used again") {
  leave_no_slabs();
  const CellRef old = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  add_whole(old, 16);
  std::uint64_t read = 0;
  in_parallel({
      {[&] { add_whole(replace(old), 1); }},
      {[&] { read = read_whole(old); }},
  });
  require(read == 0 || read == 16, "a reading has nothing of another series");
}

// Guards.

namespace {

struct Found {
  std::uint64_t value = 7;
};

/// Looks at what may be removed.
void look(std::atomic<Found*>& published) {
  const Guard guard;
  if (const Found* found = published.load(std::memory_order_acquire)) require(found->value == 7, "it is as it was");
}

void remove(std::atomic<Found*>& published) {
  Found* removed = published.exchange(nullptr, std::memory_order_relaxed);
  if (!quiesce()) return;
  removed->value = 0;
  delete removed;
}

}  // namespace

SCENARIO("what a guard found stays until the guard ends, and the next guard is not waited for") {
  std::atomic<Found*> published{new Found};
  in_parallel({
      {[&] {
         look(published);
         look(published);
       },
       [] { acquire_slab(); }},
      {[&] { remove(published); }},
  });
}

SCENARIO("a guard inside of another one does not end it") {
  std::atomic<Found*> published{new Found};
  in_parallel({
      {[&] {
         const Guard outer;
         { const Guard inner; }
         look(published);
       },
       [] { acquire_slab(); }},
      {[&] { look(published); }, [] { acquire_slab(); }},
      {[&] { remove(published); }},
  });
}

SCENARIO("what a guard of a thread without a slab found stays until the guard ends") {
  leave_no_slabs();
  std::atomic<Found*> published{new Found};
  in_parallel({
      {[&] {
        look(published);
        look(published);
      }},
      {[&] { remove(published); }},
      {[&] { look(published); }},
  });
}

SCENARIO("two threads wait for the guards at once") {
  leave_no_slabs();
  std::atomic<Found*> first{new Found};
  std::atomic<Found*> second{new Found};
  in_parallel({
      {[&] {
        const Guard guard;
        if (const Found* found = second.load(std::memory_order_acquire)) require(found->value == 7, "it is as it was");
      }},
      {[&] { remove(first); }},
      {[&] { remove(second); }},
  });
}

SCENARIO("guards end with their thread") {
  std::atomic<Found*> published{new Found};
  in_parallel({
      {[&] {
         look(published);
         end_thread();
       },
       [] { acquire_slab(); }},
      {[&] {
        acquire_slab();
        look(published);
      }},
      {[&] { remove(published); }},
  });
}

// Histograms.

namespace {

/// A series of a histogram, with observations of 1 in bucket 0 and of 8 in bucket 1.
struct Histogram {
  const BucketLayout& layout = two_bounds();
  CellRef series = begin_series(acquire_cell(sizeof(Cell)), histogram_cells(layout.buckets()), 0);
  HistogramReading read;

  void touch() const { ::touch(series, histogram_cells(layout.buckets())); }
  void observe_one() const { observe(series, layout, 0, 1); }
  void observe_eight() const { observe(series, layout, 1, 8); }

  void check(std::uint64_t most) {
    if (read.counts.empty()) read_histogram(series, layout, read);
    require(read.sum == static_cast<double>(read.counts[0] + 8 * read.counts[1]), "buckets and sum are of one moment");
    require(read.count() <= most, "nothing is counted twice");
    read_histogram(series, layout, read);
    require(read.count() == most, "nothing is lost");
    require(read.sum == static_cast<double>(read.counts[0] + 8 * read.counts[1]), "buckets and sum are of one moment");
  }
};

}  // namespace

SCENARIO("a histogram is read while its thread observes") {
  Histogram histogram;
  in_parallel({
      {[&] {
         histogram.observe_one();
         histogram.observe_eight();
       },
       [&] { histogram.touch(); }},
      {[&] { read_histogram(histogram.series, histogram.layout, histogram.read); }},
  });
  histogram.check(2);
}

SCENARIO("a histogram is reset while its thread observes") {
  Histogram histogram;
  in_parallel({
      {[&] { histogram.observe_one(); }, [&] { histogram.touch(), histogram.observe_eight(); }},
      {[&] {
        std::chrono::nanoseconds patience = reading_patience;
        reset_histogram(histogram.series, histogram.layout, patience);
      }},
  });
  read_histogram(histogram.series, histogram.layout, histogram.read);
  const auto& [counts, sum] = histogram.read;
  require(counts[0] <= 1 && counts[1] == 0, "what was observed before is taken off, once");
  require(sum == static_cast<double>(counts[0]), "buckets and sum are of one moment");
}

SCENARIO("a histogram is reset while another thread reads it") {
  Histogram histogram;
  in_parallel({
      {[&] {
         std::chrono::nanoseconds patience = reading_patience;
         reset_histogram(histogram.series, histogram.layout, patience);
       },
       [&] { histogram.touch(), histogram.observe_eight(); }},
      {[&] { read_histogram(histogram.series, histogram.layout, histogram.read); }},
  });
  const auto& [counts, sum] = histogram.read;
  require(counts[0] == 0 && counts[1] <= 1, "nothing is taken off that was not there");
  require(sum == 8 * static_cast<double>(counts[1]), "buckets and sum are of one moment");
}

SCENARIO("a thread observes in the slab of one that has ended while a third reads") {
  Histogram histogram;
  std::atomic<bool> has_ended{false};
  const Slab* first = nullptr;
  const Slab* second = nullptr;
  in_parallel({
      {[&] {
         histogram.observe_one();
         first = own_slab;
         end_thread();
         has_ended.store(true, std::memory_order_release);
       },
       [&] { histogram.touch(); }},
      {[&] {
        while (!has_ended.load(std::memory_order_acquire)) std::this_thread::yield();
        acquire_slab();
        second = own_slab;
        histogram.observe_eight();
      }},
      {[&] { read_histogram(histogram.series, histogram.layout, histogram.read); }},
  });
  require(first == second, "the slab is used again");
  histogram.check(2);
}

SCENARIO("a histogram takes the slot of a removed one while it is read") {
  Histogram histogram;
  const CellRef old = histogram.series;
  HistogramReading read_old;
  in_parallel({
      {[&] {
         end_series(*old.cell);
         require(quiesce(), "there is a barrier");
         recycle_histogram(*old.cell);
         recycle_series(old.slot, histogram_cells(histogram.layout.buckets()));
         histogram.series = begin_series(acquire_cell(sizeof(Cell)), histogram_cells(histogram.layout.buckets()), 0);
         histogram.observe_eight();
       },
       [&] {
         histogram.touch();
         histogram.observe_one();
       }},
      {[&] { read_histogram(old, histogram.layout, read_old); }},
  });
  require(read_old.counts[1] == 0 && read_old.sum == static_cast<double>(read_old.counts[0]),
          "a reading has nothing of another series");
  read_histogram(histogram.series, histogram.layout, histogram.read);
  require(histogram.series.slot == old.slot, "the slot is used again");
  require(histogram.read.counts[0] == 0 && histogram.read.counts[1] == 1 && histogram.read.sum == 8,
          "the new series has nothing of the old one");
}

SCENARIO("two readers of one histogram ask its thread for a copy") {
  Histogram histogram;
  HistogramReading other;
  in_parallel({
      {[&] { histogram.observe_one(); }, [&] { histogram.touch(); }},
      {[&] { read_histogram(histogram.series, histogram.layout, histogram.read); }, [] { acquire_slab(); }},
      {[&] { read_histogram(histogram.series, histogram.layout, other); }, [] { acquire_slab(); }},
  });
  require(other.sum == static_cast<double>(other.counts[0]), "buckets and sum are of one moment");
  histogram.check(1);
}

SCENARIO("a thread without cells observes while one reads") {
  leave_no_slabs();
  Histogram histogram;
  histogram.observe_one();
  in_parallel({
      {[&] { histogram.observe_eight(); }},
      {[&] { read_histogram(histogram.series, histogram.layout, histogram.read); }},
  });
  histogram.check(2);
}

SCENARIO("two threads observe in the histogram that they share while a third reads it") {
  SharedHistogram& shared = *SharedHistogram::make(2);
  std::array<HistogramReading, 3> readings;
  for (auto& reading : readings) reading.counts.resize(2);
  in_parallel({
      {[&] { shared.observe(0, 1); }},
      {[&] { shared.observe(1, 8); }},
      {[&] {
        shared.add_to(readings[0]);
        shared.add_to(readings[1]);
      }},
  });
  shared.add_to(readings[2]);
  for (const HistogramReading& read : readings) {
    require(read.sum == static_cast<double>(read.counts[0] + 8 * read.counts[1]), "buckets and sum are of one moment");
  }
  require(readings[0].count() <= readings[1].count(), "nothing that was read is lost");
  require(readings[2].counts == std::vector<std::uint64_t>{1, 1}, "nothing is lost, nor counted twice");
}

SCENARIO("the first observations without cells make the histogram that threads share") {
  leave_no_slabs();
  Histogram histogram;
  in_parallel({{[&] { histogram.observe_one(); }}, {[&] { histogram.observe_eight(); }}});
  histogram.check(2);
}

// Gauges.

namespace {

/// Series of one label, whose values are chosen so that all begin in the same place of a table of eight.
struct Table {
  explicit Table(CellKind kind = CellKind::whole) {
    const LabelColumn text{LabelType::text, {}};
    table.emplace(kind, std::vector{text}, &no_bounds, 0,
                  SeriesLimits{.series = 100, .label_value = 100, .budget = std::make_shared<SeriesBudget>(100)}, 0,
                  std::nullopt);
    for (char name = 'a'; collisions.size() < 3; ++name) {
      if ((hash_of(random_seed(), std::string_view(&name, 1)) & 7) == 0) collisions.push_back(name);
    }
  }
  CellRef create(char name) {
    LabelKey key;
    key.put(std::string_view(&name, 1));
    return table->find_or_create(key);
  }
  bool remove(char name) {
    LabelKey key;
    key.put(std::string_view(&name, 1));
    return table->remove(key);
  }
  [[nodiscard]] CellRef find(char name) const { return table->find(std::string_view(&name, 1)); }

  std::vector<char> collisions;
  std::optional<SeriesTable> table;
};

struct Gauge {
  Table gauges{CellKind::gauge};
  CellRef series = gauges.create('x');

  void touch() const { ::touch(series); }
  void add(double step) const { add_gauge(series, step); }
  void set(double value) const { set_gauge(series, value); }
  [[nodiscard]] double read() const { return read_gauge(series); }
};

}  // namespace

SCENARIO("a gauge is set for the first time while threads add to it and read it") {
  Gauge gauge;
  double first = 0;
  double second = 0;
  in_parallel({
      {[&] { gauge.add(1); }, [&] { gauge.touch(); }},
      {[&] { gauge.set(100); }},
      {[&] {
        first = gauge.read();
        second = gauge.read();
      }},
  });
  for (const double read : {first, second}) {
    require(read == 0 || read == 1 || read == 100 || read == 101, "a reading is a value that the gauge had");
  }
  require(first < 100 || second >= 100, "after the first set no reading is of a time before it");
  const double last = gauge.read();
  require(last == 100 || last == 101, "the set is not lost");
}

SCENARIO("a thread adds to a gauge and sets it for the first time, while another one reads it") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] {
         gauge.add(1);
         gauge.set(100);
         gauge.add(1);
       },
       [&] { gauge.touch(); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 0 || read == 1 || read == 100 || read == 101, "a reading is a value that the gauge had");
  require(gauge.read() == 101, "nothing is lost");
}

SCENARIO("a gauge that was added to is set while another thread reads it") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] { gauge.set(100); }, [&] { gauge.touch(), gauge.add(1); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 1 || read == 100, "a reading is a value that the gauge had");
}

SCENARIO("two threads set a gauge for the first time at once") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] { gauge.set(100); }, [&] { gauge.touch(), gauge.add(1); }},
      {[&] { gauge.set(200); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 1 || read == 100 || read == 200, "a reading is a value that the gauge had");
  const double last = gauge.read();
  require(last == 100 || last == 200, "the last set holds");
}

SCENARIO("a gauge is read while one thread adds to it, and another one takes away after that") {
  Gauge gauge;
  std::atomic<bool> is_added{false};
  double read = 0;
  // The first thread's slab is the oldest, which readers come to last.
  in_parallel({
      {[&] {
         if (is_added.load(std::memory_order_acquire)) gauge.add(-1);
       },
       [&] { gauge.touch(); }},
      {[&] {
         gauge.add(1);
         is_added.store(true, std::memory_order_release);
       },
       [&] { gauge.touch(); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 0 || read == 1, "a reading is a value that the gauge had");
}

SCENARIO("a gauge is reset while a thread adds to it and another one reads") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] { gauge.add(1); }, [&] { gauge.touch(), gauge.add(1); }},
      {[&] { reset_gauge(gauge.series); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 0 || read == 1 || read == 2, "a reading is a value that the gauge had");
  const double last = gauge.read();
  require(last == 0 || last == 1, "what was added before is taken off, once");
}

SCENARIO("a gauge is reset while a thread sets it for the first time") {
  Gauge gauge;
  in_parallel({
      {[&] { gauge.set(100); }, [&] { gauge.touch(), gauge.add(1); }},
      {[&] { reset_gauge(gauge.series); }},
  });
  const double last = gauge.read();
  require(last == 0 || last == 100, "one of them wins");
}

SCENARIO("a look at a gauge finds that it was set to the same value") {
  Gauge gauge;
  GaugeLook look{};
  in_parallel({
      {[&] { gauge.set(100); },
       [&] {
         gauge.touch();
         gauge.set(100);
         static_cast<void>(look_at_gauge(gauge.series));
         require(!look_at_gauge(gauge.series).is_in_use, "nothing was recorded in between");
       }},
      {[&] { look = look_at_gauge(gauge.series); }},
  });
  require(look.is_in_use || look_at_gauge(gauge.series).is_in_use, "a look finds what was recorded");
  require(gauge.read() == 100, "nothing is lost");
}

SCENARIO("looks at a gauge that was set lose nothing that is added") {
  Gauge gauge;
  GaugeLook look{};
  double read = 0;
  in_parallel({
      {[&] { gauge.add(1); },
       [&] {
         gauge.touch();
         gauge.set(100);
         static_cast<void>(look_at_gauge(gauge.series));
       }},
      {[&] {
        look = look_at_gauge(gauge.series);
        read = gauge.read();
      }},
  });
  require(read == 100 || read == 101, "a reading is a value that the gauge had");
  require(look.is_in_use || look_at_gauge(gauge.series).is_in_use, "a look finds what was recorded");
  require(gauge.read() == 101, "nothing is lost");
}

SCENARIO("a gauge is read while steps go to a thread's cell and to what threads share") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] {
         gauge.add(1);
         gauge.add(0.5);
         gauge.add(-1);
       },
       [&] { gauge.touch(); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 0 || read == 1 || read == 1.5 || read == 0.5, "a reading is a value that the gauge had");
  require(gauge.read() == 0.5, "nothing is lost");
}

SCENARIO("a gauge is read while a thread's cell and what threads share go up and come back") {
  Gauge gauge;
  double read = 0;
  in_parallel({
      {[&] {
         gauge.add(1);
         gauge.add(0.5);
         gauge.add(-0.5);
         gauge.add(-1);
       },
       [&] { gauge.touch(); }},
      {[&] { read = gauge.read(); }},
  });
  require(read == 0 || read == 1 || read == 1.5, "a reading is a value that the gauge had");
}

// Series by their labels.

SCENARIO("a series is found, or not yet, while it is made, and removed, and another one takes its memory") {
  Table series;
  const auto [a, b] = std::pair(series.collisions[0], series.collisions[1]);
  CellRef of_a = series.create(a);
  CellRef of_b{};
  CellRef found_a{};
  CellRef found_b{};
  in_parallel({
      {[&] {
        series.remove(a);
        of_b = series.create(b);
      }},
      {[&] {
         found_a = series.find(a);
         found_b = series.find(b);
       },
       [] { acquire_slab(); }},
  });
  require(of_b.cell == of_a.cell, "the memory is used again");
  require(found_a == CellRef{} || found_a == of_a, "what is found is the series, or nothing");
  require(found_b == CellRef{} || found_b == of_b, "what is found is the series, or nothing");
  require(series.find(a) == CellRef{} && series.find(b) == of_b, "afterwards each is found, or not");
}

SCENARIO("a series is found by a thread without a slab while another one takes its memory") {
  leave_no_slabs();
  Table series;
  const auto [a, b] = std::pair(series.collisions[0], series.collisions[1]);
  const CellRef of_a = series.create(a);
  CellRef of_b{};
  CellRef found{};
  in_parallel({
      {[&] {
        series.remove(a);
        of_b = series.create(b);
      }},
      {[&] { found = series.find(a); }},
  });
  require(found == CellRef{} || found == of_a, "what is found is the series, or nothing");
}

SCENARIO("a series moves up in the table while threads look for it") {
  Table series;
  const auto [a, b, c] = std::tuple(series.collisions[0], series.collisions[1], series.collisions[2]);
  series.create(a);
  const CellRef of_b = series.create(b);
  const CellRef of_c = series.create(c);
  CellRef found_b{};
  CellRef found_c{};
  CellRef made_b{};
  in_parallel({
      {[&] { series.remove(a); }},
      {[&] {
         found_b = series.find(b);
         found_c = series.find(c);
         made_b = found_b == CellRef{} ? series.create(b) : found_b;
       },
       [] { acquire_slab(); }},
  });
  require(found_b == CellRef{} || found_b == of_b, "what is found is the series, or nothing");
  require(found_c == CellRef{} || found_c == of_c, "what is found is the series, or nothing");
  require(made_b == of_b, "no series is made twice");
  require(series.find(a) == CellRef{} && series.find(b) == of_b && series.find(c) == of_c, "each is found, or not");
}

SCENARIO("the series of a page are gone through while one is removed and another one takes its memory") {
  Table series;
  const auto [a, b] = std::pair(series.collisions[0], series.collisions[1]);
  const CellRef of_a = series.create(a);
  CellRef of_b{};
  std::vector<std::pair<CellRef, std::string>> shown;
  in_parallel({
      {[&] {
        series.remove(a);
        of_b = series.create(b);
      }},
      {[&] {
         SeriesTable::Walk walk(*series.table);
         for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
           for (const auto& item : batch) shown.emplace_back(item.series.ref, KeyCursor(item.key).text());
         }
       },
       [] { acquire_slab(); }},
  });
  require(shown.size() <= 1, "a place is shown once");
  for (const auto& [ref, text] : shown) {
    require((ref == of_a && text == std::string(1, a)) || (ref == of_b && text == std::string(1, b)),
            "a series is shown with its own label value");
  }
}

SCENARIO("the table grows while threads look for series") {
  Table series;
  std::vector<CellRef> made;
  for (const char name : {'1', '2', '3', '4'}) made.push_back(series.create(name));
  CellRef fifth{};
  CellRef found_first{};
  CellRef found_fifth{};
  in_parallel({
      {[&] { fifth = series.create('5'); }},
      {[&] {
         found_first = series.find('1');
         found_fifth = series.find('5');
       },
       [] { acquire_slab(); }},
  });
  require(found_first == made[0], "a series that is there is found, in the old table or the new one");
  require(found_fifth == CellRef{} || found_fifth == fifth, "what is found is the series, or nothing");
}

SCENARIO("two threads make one series") {
  Table series;
  CellRef one{};
  CellRef other{};
  in_parallel({
      {[&] { one = series.create('x'); }, [] { acquire_slab(); }},
      {[&] {
         other = series.find('x');
         if (other == CellRef{}) other = series.create('x');
       },
       [] { acquire_slab(); }},
  });
  require(one == other, "it is one series");
}

// Native histograms.

namespace {

/// One that is made coarser for a second bucket, unless it may have more.
struct Native {
  explicit Native(std::uint32_t max_buckets = 1, std::chrono::nanoseconds min_reset_interval = {}) {
    NativeSpec spec;
    spec.initial.schema = 0;
    spec.max_buckets = max_buckets;
    spec.min_reset_interval = min_reset_interval;
    Cell& cell = acquire_cell(sizeof(Cell));
    series = begin_series(cell, 1, 0);
    begin_native(cell, *new NativeCells(spec, nullptr));
  }
  void observe(double value) const { observe_native(series, value); }
  void read() { read_native(series, snapshot); }

  CellRef series;
  quipu::NativeHistogramSnapshot snapshot;
};

}  // namespace

SCENARIO("a native histogram becomes coarser while another thread observes") {
  Native native;
  in_parallel({
      {[&] { native.observe(1); }, [&] { native.observe(1); }},
      {[&] { native.observe(16); }, [] { acquire_slab(); }},
  });
  native.read();
  require(native.snapshot.count() == 3 && native.snapshot.sum == 18, "nothing is lost");
  native.read();
  require(native.snapshot.count() == 3 && native.snapshot.sum == 18, "nothing is lost");
}

SCENARIO("a native histogram becomes coarser while it is read") {
  Native native;
  in_parallel({
      {[&] { native.observe(16); }, [&] { native.observe(1); }},
      {[&] { native.read(); }},
  });
  require(native.snapshot.count() == 1 || native.snapshot.count() == 2, "nothing is lost, nor counted twice");
  require(native.snapshot.sum == (native.snapshot.count() == 1 ? 1 : 17), "buckets and sum are of one moment");
  native.read();
  require(native.snapshot.count() == 2 && native.snapshot.sum == 17, "nothing is lost");
}

SCENARIO("an old generation is folded while a thread may observe in it") {
  Native native;
  in_parallel({
      {[&] { native.observe(1); }, [&] { native.observe(1); }},
      {[&] {
         native.observe(16);
         native.read();
       },
       [] { acquire_slab(); }},
  });
  require(native.snapshot.count() == 2 || native.snapshot.count() == 3, "nothing is lost, nor counted twice");
  native.read();
  require(native.snapshot.count() == 3 && native.snapshot.sum == 18, "nothing is lost");
}

SCENARIO("a bucket is added to a native histogram while another thread observes in it") {
  Native native(2);
  in_parallel({
      {[&] { native.observe(16); }, [&] { native.observe(1); }},
      {[&] { native.observe(16); }, [] { acquire_slab(); }},
  });
  native.read();
  require(native.snapshot.count() == 3 && native.snapshot.sum == 33, "nothing is lost");
}

SCENARIO("a bucket is added to a native histogram while it is read") {
  Native native(2);
  in_parallel({
      {[&] { native.observe(16); }, [&] { native.observe(1); }},
      {[&] { native.read(); }},
  });
  require(native.snapshot.sum == (native.snapshot.count() == 1 ? 1 : 17), "buckets and sum are of one moment");
}

SCENARIO("a native histogram is reset by a reading while a thread observes") {
  Native native(1, std::chrono::minutes(1));
  native.observe(1);
  native.observe(16);
  in_parallel({
      {[&] { native.observe(1); }, [] { acquire_slab(); }},
      {[&] { native.read(); }},
  });
  require(native.snapshot.count() == 2 || native.snapshot.count() == 3, "what was counted before a reset is shown");
  const std::uint64_t before = native.snapshot.count();
  native.read();
  require(before + native.snapshot.count() <= 3, "nothing is counted twice");
}

SCENARIO("a native histogram is removed while a thread observes") {
  Native native;
  in_parallel({
      {[&] { native.observe(1); }, [&] { native.observe(1); }},
      {[&] {
        end_series(*native.series.cell);
        require(quiesce(), "there is a barrier");
        recycle_native(*native.series.cell);
      }},
  });
}

SCENARIO("a native histogram is removed while a thread reads") {
  Native native;
  native.observe(1);
  in_parallel({
      {[&] { native.read(); }, [] { acquire_slab(); }},
      {[&] {
        end_series(*native.series.cell);
        require(quiesce(), "there is a barrier");
        recycle_native(*native.series.cell);
      }},
  });
  require(native.snapshot.count() <= 1, "nothing is counted twice");
}

// Exemplars.

namespace {

/// An exemplar of value 1 or 2, which its label repeats.
bool is_whole(const ExemplarCopy& read) {
  const std::string_view label = read.view.labels[0].value;
  return (read.view.value == 1 && label == "one") || (read.view.value == 2 && label == "two");
}

}  // namespace

SCENARIO("an exemplar is whole while a thread replaces it and one reads it") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  ExemplarCopy copy;
  bool is_there = false;
  in_parallel({
      {[&] {
         attach(series, counter_place, 2, quipu::Exemplar{{"id", "two"}});
       },
       [&] {
         attach(series, counter_place, 1, quipu::Exemplar{{"id", "one"}});
       }},
      {[&] { is_there = read_exemplar(series, counter_place, copy); }},
  });
  require(is_there && is_whole(copy), "an exemplar is whole");
}

SCENARIO("the first exemplar of a series is read while it is kept") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  ExemplarCopy copy;
  bool is_there = false;
  in_parallel({
      {[&] {
         attach(series, counter_place, 1, quipu::Exemplar{{"id", "one"}});
       },
       [] { acquire_slab(); }},
      {[&] { is_there = read_exemplar(series, counter_place, copy); }, [] { acquire_slab(); }},
  });
  require(!is_there || is_whole(copy), "an exemplar is whole");
}

SCENARIO("the first exemplars of a series are kept at once") {
  const CellRef series = begin_series(acquire_cell(sizeof(Cell)), 1, 0);
  in_parallel({
      {[&] {
         attach(series, counter_place, 1, quipu::Exemplar{{"id", "one"}});
       },
       [] { acquire_slab(); }},
      {[&] {
         attach(series, counter_place, 2, quipu::Exemplar{{"id", "two"}});
       },
       [] { acquire_slab(); }},
  });
  ExemplarCopy copy;
  require(read_exemplar(series, counter_place, copy) && is_whole(copy), "an exemplar is whole");
}

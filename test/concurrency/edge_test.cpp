#include <quipu/quipu.hpp>
#include <quipu/thread_cell_budget.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"

// What threads that end, processes that fork, and memory that runs short do to the counts.

namespace {

/// Counts when its thread ends, at the latest moment that the language offers.
struct CountsAtTheEnd {
  quipu::Counter counter;
  quipu::Histogram histogram;
  ~CountsAtTheEnd() {
    counter.inc();
    histogram.observe(1);
  }
};

}  // namespace

TEST_CASE("threads that come and go lose nothing and leave no memory behind") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto histogram = registry.histogram({.name = "h"});
  constexpr int threads = 4000;
  constexpr int at_once = 4;
  const std::size_t before = quipu::thread_cell_bytes();
  for (int started = 0; started < threads; started += at_once) {
    std::vector<std::thread> running;
    for (int i = 0; i < at_once; ++i) {
      running.emplace_back([&] {
        for (int n = 0; n < 100; ++n) counter.inc();
        histogram.observe(2);
      });
    }
    for (std::thread& thread : running) thread.join();
  }
  CHECK(counter.value() == threads * 100);
  CHECK(histogram.snapshot().count() == threads);
  CHECK(histogram.snapshot().sum == threads * 2.0);
  // A slab and two pages for each of those that lived at once.
  CHECK(quipu::thread_cell_bytes() <= before + at_once * std::size_t{6 * 4096});
}

TEST_CASE("what thread-locals count while they are destroyed is on the page") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto histogram = registry.histogram({.name = "h"});
  constexpr std::uint64_t threads = 50;
  for (std::uint64_t i = 0; i < threads; ++i) {
    std::thread([&, counts_first = i % 2 == 0] {
      // Destroyed after the library's own thread-local if it is made before, and before it if it is made after.
      if (counts_first) counter.inc();
      thread_local CountsAtTheEnd late{counter, histogram};
      if (!counts_first) late.counter.inc();
    }).join();
  }
  CHECK(counter.value() == 2 * threads);
  CHECK(histogram.snapshot().count() == threads);
  CHECK(histogram.snapshot().sum == static_cast<double>(threads));
}

TEST_CASE("a forked child goes on from its parent's values, and neither counts for the other") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto histogram = registry.histogram({.name = "h"});
  const auto gauge = registry.gauge({.name = "g"});
  for (int i = 0; i < 100; ++i) counter.inc();
  histogram.observe(1);
  std::thread([&] {
    for (int i = 0; i < 100; ++i) counter.inc();
    histogram.observe(1);
    gauge.inc();
  }).join();

  // One that is alive at the fork, and which the child does not have.
  std::atomic<bool> has_counted{false};
  std::atomic<bool> may_end{false};
  std::thread alive([&] {
    for (int i = 0; i < 100; ++i) counter.inc();
    histogram.observe(1);
    gauge.inc();
    has_counted = true;
    has_counted.notify_one();
    may_end.wait(false);
  });
  has_counted.wait(false);
  CHECK(in_child([&] {
    bool ok = counter.value() == 300 && histogram.snapshot().count() == 3 && gauge.value() == 2;
    for (int i = 0; i < 100; ++i) counter.inc();
    histogram.observe(1);
    gauge.dec();
    const auto count_more = [&] {
      for (int i = 0; i < 100; ++i) counter.inc();
      histogram.observe(1);
    };
    if (is_thread_sanitized) {
      count_more();
    } else {
      std::thread(count_more).join();
    }
    ok = ok && counter.value() == 500 && histogram.snapshot().count() == 5 && gauge.value() == 1;
    return ok && quipu::render(registry).body.find("x_total 500\n") != std::string::npos;
  }));
  CHECK(counter.value() == 300);
  CHECK(histogram.snapshot().count() == 3);
  may_end = true;
  may_end.notify_one();
  alive.join();
}

TEST_CASE("a fork in the middle of other threads' observations does not stop the child's scrapes") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "h"});
  std::atomic<bool> is_over{false};
  std::thread busy([&] {
    while (!is_over.load(std::memory_order_relaxed)) histogram.observe(1);
  });
  bool all_well = true;
  for (int i = 0; i < 20; ++i) {
    all_well = all_well && in_child([&] {
                 const auto snapshot = histogram.snapshot();
                 // The thread may have been left between a bucket and the sum.
                 return static_cast<double>(snapshot.count()) - snapshot.sum <= 1;
               });
  }
  is_over = true;
  busy.join();
  CHECK(all_well);
}

TEST_CASE("300 threads and 100,000 series stay inside the budget, and every count is right") {
  static constexpr std::size_t budget = std::size_t{8} << 20;
  static constexpr int threads = 300;
  static constexpr int series = 100'000;
  static constexpr int rounds = 2;
  // In a child, as the budget is the process' own.
  CHECK(in_child([&] {
    const auto registry = page::empty_registry();
    const auto family = registry.counter<int>({.name = "x_total", .max_series = series}, {"n"});
    std::vector<quipu::Counter> counters;
    for (int i = 0; i < series; ++i) counters.push_back(family(i));
    quipu::set_thread_cell_budget(budget);
    const std::size_t before = quipu::thread_cell_bytes();
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::thread> running;
      for (int i = 0; i < threads; ++i) {
        running.emplace_back([&, i] {
          // Every thread writes a tenth of the series, and one of them often.
          for (int n = i % 10; n < series; n += 10) counters[static_cast<std::size_t>(n)].inc();
          for (int n = 0; n < 100; ++n) counters[0].inc();
        });
      }
      for (std::thread& thread : running) thread.join();
    }
    if (quipu::thread_cell_bytes() > std::max(budget, before)) return false;
    constexpr std::uint64_t each = rounds * threads / 10;
    if (counters[0].value() != each + rounds * threads * 100) return false;
    for (std::size_t i = 1; i < counters.size(); ++i) {
      if (counters[i].value() != each) return false;
    }
    return true;
  }));
}

TEST_CASE("without any budget everything is counted all the same") {
  CHECK(in_child([&] {
    quipu::set_thread_cell_budget(0);
    const auto registry = page::empty_registry();
    const auto counter = registry.counter({.name = "x_total"});
    const auto seconds = registry.fractional_counter({.name = "s_total"});
    const auto histogram = registry.histogram({.name = "h", .buckets = {1, 2}});
    const auto gauge = registry.gauge({.name = "g"});
    std::vector<std::thread> running;
    std::atomic<int> ended{0};
    for (int i = 0; i < 4; ++i) {
      running.emplace_back([&] {
        for (int n = 0; n < 50'000; ++n) {
          counter.inc();
          seconds.inc(0.5);
          histogram.observe(1.5);
          gauge.inc();
          gauge.dec(0.5);
        }
        ++ended;
      });
    }
    bool is_torn = false;
    while (ended < 4) {
      const auto snapshot = histogram.snapshot();
      is_torn = is_torn || snapshot.sum != 1.5 * static_cast<double>(snapshot.count());
    }
    for (std::thread& thread : running) thread.join();
    return !is_torn && counter.value() == 200'000 && seconds.value() == 100'000 && gauge.value() == 100'000 &&
           histogram.snapshot().counts == std::vector<std::uint64_t>{0, 200'000, 0};
  }));
}

TEST_CASE("a handle of a removed series never counts for the series that has its place now") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter<int>({.name = "x_total"}, {"n"});
  const auto histograms = registry.histogram<int>({.name = "h", .buckets = {1}}, {"n"});
  const auto gauges = registry.gauge<int>({.name = "g"}, {"n"});
  constexpr int stale_threads = 2;
  constexpr int rounds = 300;
  std::atomic<int> current{0};
  std::atomic<bool> is_over{false};
  // These go on recording through handles whose series are long gone.
  std::vector<std::thread> stale;
  for (int i = 0; i < stale_threads; ++i) {
    stale.emplace_back([&] {
      while (!is_over.load(std::memory_order_relaxed)) {
        const int n = current.load(std::memory_order_relaxed);
        const auto counter = counters(-1 - n % 10);
        const auto histogram = histograms(-1 - n % 10);
        const auto gauge = gauges(-1 - n % 10);
        for (int k = 0; k < 200; ++k) {
          counter.inc();
          histogram.observe(0.5);
          gauge.set(-1);
        }
      }
    });
  }
  int wrong = 0;
  for (int n = 0; n < rounds; ++n) {
    current = n;
    const auto remove_negative = [](quipu::Labels labels) { return labels[0].value.starts_with('-'); };
    counters.remove_if(remove_negative);
    histograms.remove_if(remove_negative);
    gauges.remove_if(remove_negative);
    // New series in the places of the removed ones, written by this thread alone.
    const auto counter = counters(n);
    const auto histogram = histograms(n);
    const auto gauge = gauges(n);
    gauge.set(5);
    for (int k = 0; k < 20; ++k) {
      counter.inc();
      histogram.observe(2);
    }
    std::this_thread::yield();
    wrong += counter.value() != 20;
    wrong += histogram.snapshot().counts != std::vector<std::uint64_t>{0, 20} || histogram.snapshot().sum != 40;
    wrong += gauge.value() != 5;
    counters.remove(n);
    histograms.remove(n);
    gauges.remove(n);
  }
  is_over = true;
  for (std::thread& thread : stale) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("series that come and go do not make the memory grow") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter({.name = "x_total"}, {"peer"});
  const auto histograms = registry.histogram({.name = "h"}, {"peer"});
  const auto churn = [&](int from, int to) {
    for (int n = from; n < to; ++n) {
      const std::string peer = "a peer with a longish name, number " + std::to_string(n);
      for (int k = 0; k < 20; ++k) counters(peer).inc();
      histograms(peer).observe(1);
      if (n % 50 == 49) {
        counters.clear();
        histograms.clear();
      }
    }
  };
  churn(0, 1000);
  const std::size_t cells = quipu::thread_cell_bytes();
  const std::size_t resident = resident_bytes();
  churn(1000, 100'000);
  CHECK(quipu::thread_cell_bytes() == cells);
  // 10 MB of series, were they kept.
  if (!is_address_sanitized) CHECK(resident_bytes() < resident + (std::size_t{4} << 20));
}

TEST_CASE("a scrape that is held up makes no thread wait that records, or makes or removes series") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter<int>({.name = "a_total"}, {"n"});
  const auto histogram = registry.histogram({.name = "b"});
  for (int n = 0; n < 1000; ++n) counters(n).inc();

  struct HeldUp : quipu::Visitor {
    void family(const quipu::FamilyView&) override {}
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
    void sample(const quipu::Sample&) override {
      is_inside = true;
      is_inside.notify_all();
      may_go_on.wait(false);
    }
    std::atomic<bool> is_inside{false};
    std::atomic<bool> may_go_on{false};
  } visitor;
  std::thread scrape([&] { registry.collect(visitor); });
  visitor.is_inside.wait(false);

  std::thread([&] {
    for (int n = 0; n < 2000; ++n) {
      counters(n).inc();
      histogram.observe(1);
    }
    counters.remove(0);
    counters.clear();
    static_cast<void>(registry.gauge({.name = "c"}));
  }).join();
  CHECK(counters.size() == 0);
  CHECK(histogram.snapshot().count() == 2000);

  visitor.may_go_on = true;
  visitor.may_go_on.notify_all();
  scrape.join();
}

TEST_CASE("a gauge that was only added to can be set, and added to again") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "g"});
  for (int i = 0; i < 100; ++i) gauge.inc();
  std::thread([&] {
    for (int i = 0; i < 100; ++i) gauge.dec(3);
    gauge.add(0.5);
  }).join();
  CHECK(gauge.value() == -199.5);
  gauge.set(7);
  CHECK(gauge.value() == 7);
  gauge.inc();
  std::thread([&] { gauge.sub(10); }).join();
  CHECK(gauge.value() == -2);
  gauge.set(1e300);
  CHECK(gauge.value() == 1e300);
}

namespace {

struct GaugeCell {
  quipu::detail::Cell cell;
  std::atomic<std::uint64_t> sum{0};
};
constexpr std::uint32_t sum_at = offsetof(GaugeCell, sum) / sizeof(std::uint64_t);

}  // namespace

TEST_CASE("a reader that comes while a gauge is set for the first time sees the whole of it") {
  using namespace quipu::detail;
  static GaugeCell cell;
  const CellRef gauge = begin_gauge(cell.cell, sum_at);
  for (int i = 0; i < 100; ++i) add_gauge(gauge, 1);
  add_gauge(gauge, 0.5);
  CHECK(read_gauge(gauge) == 100.5);

  // A thread that is setting it has got this far. It may never come to the end of it, so nobody waits.
  cell.cell.bits = std::bit_cast<std::uint64_t>(7.0);
  CHECK(read_gauge(gauge) == 100.5);
  add_gauge(gauge, 1);
  std::thread([&] { add_gauge(gauge, 1); }).join();
  CHECK(read_gauge(gauge) == 102.5);
  cell.cell.state = GaugeState::set;
  CHECK(read_gauge(gauge) == 7);
  add_gauge(gauge, 1);
  CHECK(read_gauge(gauge) == 8);
}

TEST_CASE("a gauge whose first set never came to its end can be set") {
  using namespace quipu::detail;
  static GaugeCell cell;
  const CellRef gauge = begin_gauge(cell.cell, sum_at);
  for (int i = 0; i < 100; ++i) add_gauge(gauge, 1);
  cell.cell.bits = std::bit_cast<std::uint64_t>(7.0);
  set_gauge(gauge, 5);
  CHECK(read_gauge(gauge) == 5);
  set_gauge(gauge, 6);
  add_gauge(gauge, 1);
  CHECK(read_gauge(gauge) == 7);
}

TEST_CASE("a gauge counts the same whether its steps go to thread cells or to what threads share") {
  using namespace quipu::detail;
  static GaugeCell cell;
  const CellRef gauge = begin_gauge(cell.cell, sum_at);
  for (int i = 0; i < 100; ++i) add_gauge(gauge, 1);
  cell.cell.state = sum_at | GaugeState::shared;
  for (int i = 0; i < 100; ++i) add_gauge(gauge, 2);
  CHECK(read_gauge(gauge) == 300);
  cell.cell.state = sum_at;
  for (int i = 0; i < 100; ++i) add_gauge(gauge, -3);
  CHECK(read_gauge(gauge) == 0);
  cell.cell.state = sum_at | GaugeState::shared;
  set_gauge(gauge, 5);
  CHECK(read_gauge(gauge) == 5);
}

TEST_CASE("steps of a gauge that are not whole, or huge, are not rounded") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "g"});
  for (int i = 0; i < 20; ++i) gauge.add(0.25);
  CHECK(gauge.value() == 5);
  gauge.add(1e300);
  CHECK(gauge.value() == 1e300);
  gauge.sub(1e300);
  gauge.add(-1e15);
  gauge.add(1e15);
  CHECK(gauge.value() == 0);
}

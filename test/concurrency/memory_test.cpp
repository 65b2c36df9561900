// What becomes of the memory of series and threads when it is short, when threads stop at a bad moment, and when the
// system helps less than usual. What is the process' own is changed in a child.

#include <pthread.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <quipu/quipu.hpp>
#include <quipu/thread_cell_budget.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"
#include "support/waiting.hpp"

TEST_CASE("series come and go while threads without cells record and never pause") {
  if (is_thread_sanitized) return;  // it stops a forked child that starts a thread
  CHECK(in_child([] {
    quipu::set_thread_cell_budget(0);
    const auto registry = page::empty_registry();
    const auto counter = registry.counter({.name = "a_total"});
    const auto family = registry.counter<int>({.name = "b_total"}, {"n"});
    Threads busy;
    for (int t = 0; t < 16; ++t) {
      busy.repeat([=] {
        for (int i = 0; i < 100; ++i) counter.inc();
      });
    }
    bool is_well = true;
    for (int n = 0; n < 20; ++n) family(n).inc();  // its table grows
    for (int n = 0; n < 20; ++n) is_well = is_well && family(n).value() == 1 && (n % 4 > 0 || family.remove(n));
    family.clear();
    return is_well && page::body(registry).find("a_total") != std::string::npos;
  }));
}

TEST_CASE("memory is reused while there is always a guard of some thread without a slab") {
  if (is_thread_sanitized) return;  // it stops a forked child that starts a thread
  using quipu::detail::Guard;
  CHECK(in_child([] {
    quipu::set_thread_cell_budget(0);
    // Two threads hold a guard each. The one whose turn it is ends its guard, and begins another one.
    std::atomic<int> turn{0};
    std::array<std::optional<Guard>, 2> guards;
    Threads busy;
    for (int i = 0; i < 2; ++i) {
      busy.repeat([&, i] {
        auto& guard = guards[static_cast<std::size_t>(i)];
        if (!guard) guard.emplace();
        if (turn != i) return std::this_thread::yield();
        guard.reset();
        guard.emplace();
        turn = 1 - i;
      });
    }
    return quipu::detail::quiesce();
  }));
}

namespace {

using namespace std::chrono_literals;
using quipu::detail::all_slabs;
using quipu::detail::begin_series;
using quipu::detail::bucket_layout;
using quipu::detail::BucketLayout;
using quipu::detail::Cell;
using quipu::detail::CellRef;
using quipu::detail::HistogramReading;
using quipu::detail::own_cell;
using quipu::detail::Slab;

/// A histogram without a registry, of two buckets.
struct RawHistogram {
  const double bounds[1] = {1};
  const BucketLayout& layout = bucket_layout(bounds);
  Cell& cell = quipu::detail::acquire_cell(sizeof(Cell));
  CellRef ref = begin_series(cell, quipu::detail::histogram_cells(2), 0);

  void observe(double value) const { quipu::detail::observe(ref, layout, layout.index(value), value); }
  /// Does what a thread has done that is interrupted in the middle of its second observation.
  void begin_observation() const {
    observe(1);
    quipu::detail::add_to(own_cell(ref)->buckets()[0], std::uint64_t{1});
  }
  void end_observation() const {
    quipu::detail::add_to(own_cell(ref)->bits, 1.0);
    ++own_cell(ref)->count;
  }
  void end() {
    quipu::detail::end_series(cell);
    REQUIRE(quipu::detail::quiesce());
    quipu::detail::recycle_series(ref.slot, quipu::detail::histogram_cells(2));
  }
  [[nodiscard]] std::size_t requests() const {
    std::size_t found = 0;
    for (Slab* slab = all_slabs(); slab != nullptr; slab = slab->next) {
      found += static_cast<std::uint32_t>(slab->wanted.load()) == ref.slot;
    }
    return found;
  }
};

}  // namespace

TEST_CASE("who reuses memory does not wait for a reading that waits for a thread inside an observation") {
  const RawHistogram histogram;
  Gate may_finish;
  std::atomic<int> inside{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      histogram.begin_observation();
      ++inside;
      // Its cells go on changing, so they are never taken for those of a thread that has ended.
      while (may_finish.passed() == 0) {
        quipu::detail::add_to(own_cell(histogram.ref)->bits, 1.0);
        std::this_thread::yield();
        quipu::detail::add_to(own_cell(histogram.ref)->bits, -1.0);
      }
      histogram.end_observation();
    });
  }
  REQUIRE(soon([&] { return inside == 3; }));
  HistogramReading snapshot;
  std::atomic<bool> is_read{false};
  std::thread reader([&] {
    std::chrono::nanoseconds patience = 5min;
    quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
    is_read = true;
  });
  // All three are asked at once.
  CHECK(soon([&] { return histogram.requests() == 3; }));
  CHECK(quipu::detail::quiesce());
  CHECK_FALSE(is_read);
  may_finish.open();
  may_finish.pass();
  for (std::thread& thread : threads) thread.join();
  reader.join();
  CHECK(snapshot.counts == std::vector<std::uint64_t>{6, 0});
  CHECK(snapshot.sum == 6);
}

TEST_CASE("a series that is removed while it is read shows nothing, whoever has its cells by then") {
  RawHistogram histogram;
  Gate may_finish;
  Gate may_end;
  std::atomic<bool> is_inside{false};
  const RawHistogram* next = nullptr;
  std::thread thread([&] {
    histogram.begin_observation();
    is_inside = true;
    while (may_finish.passed() == 0) {
      quipu::detail::add_to(own_cell(histogram.ref)->bits, 1.0);
      std::this_thread::yield();
    }
    for (int i = 0; i < 5; ++i) next->observe(2);
    may_end.pass();
  });
  REQUIRE(soon([&] { return is_inside.load(); }));
  HistogramReading snapshot;
  std::thread reader([&] {
    std::chrono::nanoseconds patience = 5min;
    quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
  });
  CHECK(soon([&] { return histogram.requests() == 1; }));
  histogram.end();
  const RawHistogram other;
  CHECK(other.ref.slot == histogram.ref.slot);
  next = &other;
  may_finish.open();
  may_finish.pass();
  reader.join();
  may_end.open();
  thread.join();
  CHECK(snapshot.counts == std::vector<std::uint64_t>{0, 0});
  CHECK(snapshot.sum == 0);
  quipu::detail::read_histogram(other.ref, other.layout, snapshot);
  CHECK(snapshot.counts == std::vector<std::uint64_t>{0, 5});
}

TEST_CASE("readings wait only once for an observation that never ends") {
  const RawHistogram histogram;
  Gate may_end;
  std::atomic<bool> is_inside{false};
  std::thread thread([&] {
    histogram.begin_observation();
    is_inside = true;
    may_end.pass();
  });
  REQUIRE(soon([&] { return is_inside.load(); }));
  HistogramReading snapshot;
  std::chrono::nanoseconds patience = 5min;
  quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
  CHECK(patience <= 5min - 1s);
  CHECK(snapshot.counts == std::vector<std::uint64_t>{2, 0});
  patience = 5min;
  quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
  CHECK(patience == 5min);
  CHECK(snapshot.counts == std::vector<std::uint64_t>{2, 0});
  may_end.open();
  thread.join();
}

TEST_CASE("readings do not wait for an observation of a thread that has ended") {
  const RawHistogram histogram;
  std::thread([&] { histogram.begin_observation(); }).join();
  HistogramReading snapshot;
  std::chrono::nanoseconds patience = 5min;
  quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
  CHECK(patience == 5min);
  CHECK(snapshot.counts == std::vector<std::uint64_t>{2, 0});
}

TEST_CASE("all readings of a scrape have one patience together") {
  const RawHistogram histograms[2];
  Gate may_finish;
  std::atomic<bool> is_inside{false};
  std::thread thread([&] {
    for (const RawHistogram& histogram : histograms) histogram.begin_observation();
    is_inside = true;
    while (may_finish.passed() == 0) {
      for (const RawHistogram& histogram : histograms) quipu::detail::add_to(own_cell(histogram.ref)->bits, 1.0);
      std::this_thread::yield();
    }
  });
  REQUIRE(soon([&] { return is_inside.load(); }));
  HistogramReading snapshot;
  std::chrono::nanoseconds patience = 20ms;
  for (const RawHistogram& histogram : histograms) {
    quipu::detail::read_histogram(histogram.ref, histogram.layout, snapshot, patience);
    CHECK(patience == 0ns);
    CHECK(snapshot.counts == std::vector<std::uint64_t>{2, 0});
  }
  may_finish.open();
  may_finish.pass();
  thread.join();
}

namespace {

pthread_key_t ends_of_threads;

}  // namespace

TEST_CASE("threads that first record while the values of their keys are destroyed leave no memory behind") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  static const quipu::Counter* counted = nullptr;
  counted = &counter;
  const auto record = [](void* rounds) {
    for (int i = 0; i < 20; ++i) counted->inc();
    // The first one records in the next round again.
    if (rounds == counted) pthread_setspecific(ends_of_threads, &ends_of_threads);
  };
  REQUIRE(pthread_key_create(&ends_of_threads, record) == 0);
  constexpr std::uint64_t threads = 2000;
  const auto run = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      std::thread([&, records_before = i % 2 == 0] {
        if (records_before) counter.inc();
        pthread_setspecific(ends_of_threads, i % 4 < 2 ? static_cast<const void*>(counted) : &ends_of_threads);
      }).join();
    }
  };
  run(4);
  const std::size_t before = quipu::thread_cell_bytes();
  run(threads);
  CHECK(quipu::thread_cell_bytes() == before);
  CHECK(counter.value() == (threads + 4) / 4 * (2 + 4 * 20 + 2 * 20));
  pthread_key_delete(ends_of_threads);
}

#ifdef __linux__
namespace {

/// From now on this process has no membarrier(2), as in some containers.
bool refuse_membarrier() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("where the system refuses the barrier nothing is lost, and no series is reused") {
  if (is_thread_sanitized) return;  // it stops a forked child that starts a thread
  CHECK(in_child([] {
    if (!refuse_membarrier() || quipu::detail::quiesce()) return false;
    const auto registry = page::empty_registry();
    const auto family = registry.counter<int>({.name = "a_total"}, {"n"});
    const auto sizes = registry.histogram<int>({.name = "b", .buckets = {1.0}}, {"n"});
    const auto kept = family(-1);
    const auto kept_sizes = sizes(-1);
    bool is_well = true;
    {
      Threads busy;
      for (int t = 1; t <= 3; ++t) {
        busy.repeat([=, n = 0]() mutable {
          kept.inc();
          kept_sizes.observe(1);
          n = (n + 1) % 100;
          family(1000 * t + n).inc();
          sizes(1000 * t + n).observe(1);
        });
      }
      for (int round = 0; round < 20; ++round) {
        for (int n = 0; n < 50; ++n) {
          const auto counter = family(n);
          counter.inc();
          sizes(n).observe(1);
          is_well = is_well && counter.value() == 1 && sizes(n).snapshot().count() == 1;
          if (n % 2 == 0) is_well = is_well && family.remove(n) && sizes.remove(n);
          counter.inc();
        }
        family.remove_if([](quipu::Labels labels) { return labels[0].value != "-1"; });
        sizes.remove_if([](quipu::Labels labels) { return labels[0].value != "-1"; });
        is_well = is_well && page::body(registry).find("a_total{n=\"-1\"}") != std::string::npos;
      }
    }
    return is_well && kept.value() == kept_sizes.snapshot().count();
  }));
}

TEST_CASE("where the system refuses the barrier native histograms lose nothing to resets") {
  if (is_thread_sanitized) return;  // it stops a forked child that starts a thread
  CHECK(in_child([] {
    if (!refuse_membarrier()) return false;
    const auto registry = page::empty_registry();
    const auto histogram = registry.native_histogram({.name = "a", .max_buckets = 5, .min_reset_interval = 1ms});
    std::atomic<std::uint64_t> observed{0};
    std::uint64_t shown_before = 0;  // of all epochs but the last
    auto last = histogram.snapshot();
    const auto read = [&] {
      auto now = histogram.snapshot();
      if (now.created != last.created) shown_before += last.count();
      last = std::move(now);
    };
    {
      Threads busy;
      for (int t = 0; t < 3; ++t) {
        busy.repeat([&] {
          for (int i = 0; i < 1000; ++i) histogram.observe(1 << i % 20);
          observed += 1000;
        });
      }
      for (const auto end = std::chrono::steady_clock::now() + 500ms; std::chrono::steady_clock::now() < end;) read();
    }
    read();
    return shown_before + last.count() == observed;
  }));
}
#endif

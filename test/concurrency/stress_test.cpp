// Many threads at once. The threads count what goes wrong; the main thread asserts.
//
// QUIPU_STRESS_SECONDS is how long each case takes that could go on for ever: a second unless it is given.

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/batch.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/registries.hpp"
#include "quipu/registry.hpp"
#include "quipu/thread_cell_budget.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/shown.hpp"
#include "support/stress_time.hpp"
#include "support/threads.hpp"
#include "support/waiting.hpp"

namespace {

enum class Method { get, post, other };

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const std::chrono::seconds some_time = stress_time(1s);

/// Scrapes a registry again and again, and checks what every page promises: a counter (and a histogram's count, and
/// each of its buckets) never goes down, no series is shown twice. For histograms whose observed values are all bounds,
/// whole and small, the sum is exactly what the buckets say. A series with a label "short-lived" or true is removed now
/// and then, and may begin again at 0.
class Watcher : public quipu::Visitor {
 public:
  explicit Watcher(quipu::Registry registry) : registry_(std::move(registry)) {}

  void scrape() {
    ++scrapes;
    shown_.clear();
    registry_.collect(*this);
  }

  void family(const quipu::FamilyView& family) override {
    name_ = family.name;
    is_counter_ = family.type == quipu::MetricType::counter;
  }
  void sample(const quipu::Sample& sample) override {
    auto& last = see(sample.labels, 1);
    const std::uint64_t now =
        sample.value.is_whole() ? sample.value.whole() : static_cast<std::uint64_t>(sample.value.real());
    if (is_counter_ && !is_removed_) went_down += static_cast<std::size_t>(now < last[0]);
    last[0] = now;
  }
  void histogram(const quipu::HistogramSample& sample) override {
    auto& last = see(sample.labels, sample.counts.size());
    double sum = 0;
    for (std::size_t i = 0; i < sample.counts.size(); ++i) {
      if (!is_removed_) went_down += static_cast<std::size_t>(sample.counts[i] < last[i]);
      last[i] = sample.counts[i];
      if (i < sample.bounds.size()) sum += sample.bounds[i] * static_cast<double>(sample.counts[i]);
    }
    torn += static_cast<std::size_t>(sum != sample.sum || sample.counts.back() != 0);
    if (sample.native != nullptr) see_native(*sample.native, sample.counts);
  }
  void summary(const quipu::SummarySample&) override {}

  [[nodiscard]] std::uint64_t value(const std::string& series) const {
    const auto found = last_.find(series);
    return found == last_.end() ? 0 : found->second[0];
  }
  [[nodiscard]] bool shows(const std::string& series) const {
    return std::ranges::find(shown_, series) != shown_.end();
  }
  [[nodiscard]] std::size_t series_shown() const { return shown_.size(); }

  /// No native histogram may have more buckets.
  std::size_t most_buckets = 400;

  std::size_t scrapes = 0;
  std::size_t went_down = 0;
  std::size_t torn = 0;
  std::size_t shown_twice = 0;

 private:
  void see_native(const quipu::NativeBuckets& native, std::span<const std::uint64_t> counts) {
    std::uint64_t total = native.zero_count;
    bool is_wrong = native.positive.size() + native.negative.size() > most_buckets;
    for (const auto side : {native.positive, native.negative}) {
      for (const auto& bucket : side) {
        total += bucket.count;
        is_wrong = is_wrong || bucket.count == 0;
      }
    }
    for (const std::uint64_t count : counts) total -= count;
    torn += static_cast<std::size_t>(is_wrong || total != 0);
  }
  std::vector<std::uint64_t>& see(quipu::Labels labels, std::size_t values) {
    std::string series = name_;
    is_removed_ = false;
    for (const auto& label : labels) {
      series.append(" ").append(label.value);
      is_removed_ = is_removed_ || label.value == "short-lived" || label.value == "true";
    }
    auto& last = last_[series];
    last.resize(values);
    if (std::size_t& scrape = seen_in_[series]; scrape == scrapes) {
      ++shown_twice;
    } else {
      scrape = scrapes;
    }
    shown_.push_back(std::move(series));
    return last;
  }

  quipu::Registry registry_;
  std::string name_;
  bool is_counter_ = false;
  bool is_removed_ = false;
  std::map<std::string, std::vector<std::uint64_t>> last_;
  std::map<std::string, std::size_t> seen_in_;
  std::vector<std::string> shown_;
};

}  // namespace

TEST_CASE("whatever threads record at once is counted, exactly") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto fractions = registry.fractional_counter({.name = "b_total"});
  const auto gauge = registry.gauge({.name = "c"});
  const auto histogram = registry.histogram({.name = "d", .buckets = {1.0, 2.0, 4.0}});
  const auto texts = registry.counter({.name = "e_total"}, {"text"});
  const auto closed = registry.counter<Method, bool>({.name = "f_total"}, {"method", "flag"});
  const auto numbers = registry.histogram<int>({.name = "g", .buckets = {1.0}}, {"n"});
  constexpr int threads = 4;
  constexpr int rounds = 60'000;

  Watcher watcher(registry);
  {
    Threads scraping;
    scraping.repeat([&] { watcher.scrape(); });
    Threads recording;
    for (int t = 0; t < threads; ++t) {
      recording.once([=] {
        const std::vector<std::string> names = {"one", "two", "three", "a text that is longer than the others"};
        for (int i = 0; i < rounds; ++i) {
          counter.inc();
          counter.inc(t);
          fractions.inc(0.5);
          gauge.inc(3);
          gauge.dec(2);
          histogram.observe(static_cast<double>(1 << (i % 3)));
          texts(names[static_cast<std::size_t>(i) % names.size()]).inc();
          closed(static_cast<Method>(i % 3), i % 2 == 0).inc();
          numbers(i % 100).observe(1);
          const auto tracker = gauge.track();
        }
      });
    }
    recording.join();
  }
  watcher.scrape();
  CHECK(watcher.went_down == 0);
  CHECK(watcher.torn == 0);
  CHECK(watcher.shown_twice == 0);
  constexpr std::uint64_t total = std::uint64_t{threads} * rounds;
  CHECK(counter.value() == total + rounds * (0 + 1 + 2 + 3));
  CHECK(fractions.value() == 0.5 * total);
  CHECK(gauge.value() == total);
  CHECK(histogram.snapshot().counts == std::vector<std::uint64_t>{total / 3, total / 3, total / 3, 0});
  CHECK(histogram.snapshot().sum == 7.0 * total / 3);
  CHECK(texts.size() == 4);
  CHECK(texts("three").value() == total / 4);
  CHECK(closed.size() == 6);
  CHECK(closed(Method::post, false).value() == total / 6);
  CHECK(numbers.size() == 100);
  for (int n = 0; n < 100; ++n) {
    const auto snapshot = numbers(n).snapshot();
    REQUIRE(snapshot.counts == std::vector<std::uint64_t>{total / 100, 0});
    REQUIRE(snapshot.sum == total / 100);
  }
}

TEST_CASE("every scrape is of one moment, while writers never pause") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto ones = registry.histogram({.name = "b", .buckets = {1.0}});
  const auto mixed = registry.histogram({.name = "c", .buckets = {1.0, 2.0, 4.0, 8.0}});
  Watcher first(registry);
  Watcher second(registry);
  std::size_t snapshots = 0;
  std::size_t torn = 0;
  Threads threads;
  for (int t = 0; t < 3; ++t) {
    threads.repeat([=, value = static_cast<double>(1 << t)] {
      for (int i = 0; i < 100; ++i) {
        counter.inc();
        ones.observe(1);
        mixed.observe(value);
        mixed.observe(8);
      }
    });
  }
  threads.repeat([&] { first.scrape(); });
  threads.repeat([&] { second.scrape(); });
  threads.repeat([&] {
    ++snapshots;
    const auto snapshot = ones.snapshot();
    torn += static_cast<std::size_t>(snapshot.sum != static_cast<double>(snapshot.count()));
  });
  std::this_thread::sleep_for(some_time);
  threads.stop();
  CHECK(torn == 0);
  CHECK(snapshots > 0);
  for (const Watcher* watcher : {&first, &second}) {
    CHECK(watcher->scrapes > 1);
    CHECK(watcher->went_down == 0);
    CHECK(watcher->torn == 0);
    CHECK(watcher->shown_twice == 0);
  }
  first.scrape();
  CHECK(first.went_down == 0);
  CHECK(first.value("a_total") == counter.value());
  CHECK(ones.snapshot().count() == counter.value());
  CHECK(mixed.snapshot().count() == 2 * counter.value());
  CHECK(counter.value() > 0);
}

TEST_CASE("a thread that observes without any pause does not keep a reader from a snapshot of one moment") {
  // Reading 500 buckets takes as long as a hundred observations, so there is no moment at which nothing happens.
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "a", .buckets = quipu::buckets::linear(1, 1, 500)});
  std::atomic<bool> has_begun{false};
  Threads threads;
  threads.repeat([&, histogram] {
    for (int i = 0; i < 10'000; ++i) histogram.observe(1 + i % 499);
    has_begun = true;
  });
  while (!has_begun) std::this_thread::yield();
  constexpr int snapshots = 50;
  int torn = 0;
  const auto begin = Clock::now();
  for (int i = 0; i < snapshots; ++i) {
    const auto snapshot = histogram.snapshot();
    double sum = 0;
    for (std::size_t bucket = 0; bucket < snapshot.counts.size(); ++bucket) {
      sum += static_cast<double>(bucket + 1) * static_cast<double>(snapshot.counts[bucket]);
    }
    torn += static_cast<int>(snapshot.sum != sum);
  }
  const auto time = Clock::now() - begin;
  threads.stop();
  CHECK(torn == 0);
  CHECK(time < snapshots * std::chrono::milliseconds(500));  // a reader that finds no moment gives up after a second
  // The thread that observed has made copies for the reader.
  bool has_helped = false;
  for (auto* slab = quipu::detail::all_slabs(); slab != nullptr; slab = slab->next) {
    has_helped = has_helped || slab->served.load() != 0;
  }
  CHECK(has_helped);
}

TEST_CASE("a native histogram that becomes coarser under writers that never pause loses nothing and is never torn") {
  // The values are the classic bounds. In the finest buckets each has its own, and there may be fewer: so each series
  // changes its resolution again and again, and has more and more counters, while all threads write to it.
  constexpr int values = 100;
  constexpr int threads = 3;
  constexpr int observations = 20 * values * values;
  // More and more different ones.
  const auto value = [](int i) {
    return 1 + i * 7 % (i < observations / 2 ? 1 + i / (observations / 2 / values) : values);
  };
  double sum = 0;
  for (int i = 0; i < observations; ++i) sum += threads * value(i);

  std::size_t rounds = 0;
  std::size_t scrapes = 0;
  std::size_t torn = 0;
  std::size_t went_down = 0;
  for (const auto end = Clock::now() + some_time; rounds < 6 || Clock::now() < end; ++rounds) {
    const std::uint32_t most = std::array{6u, 50u, 400u}[rounds % 3];
    const auto registry = page::empty_registry();
    const auto histogram = registry.native_histogram({.name = "a",
                                                      .growth_factor = 1.005,
                                                      .max_buckets = most,
                                                      .max_zero_threshold = rounds % 2 == 0 ? 0.0 : 20.0,
                                                      .buckets = quipu::buckets::linear(1, 1, values)});
    Watcher first(registry);
    Watcher second(registry);
    first.most_buckets = second.most_buckets = most;
    {
      Threads scraping;
      scraping.repeat([&] { first.scrape(); });
      scraping.repeat([&] { second.scrape(); });
      Threads recording;
      for (int t = 0; t < threads; ++t) {
        recording.once([=] {
          for (int i = 0; i < observations; ++i) histogram.observe(value(i));
        });
      }
      recording.join();
    }
    first.scrape();
    scrapes += first.scrapes + second.scrapes;
    torn += first.torn + second.torn;
    went_down += first.went_down + second.went_down;
    const auto snapshot = histogram.snapshot();
    REQUIRE(snapshot.count() == std::uint64_t{threads} * observations);
    REQUIRE(snapshot.sum == sum);
    REQUIRE(snapshot.positive.size() <= most);
  }
  CHECK(torn == 0);
  CHECK(went_down == 0);
  CHECK(scrapes > 2 * rounds);
}

TEST_CASE("a native histogram that is reset under writers that never pause shows all that was counted before") {
  // It is full at once, and no later than that; so all resets happen when it is read.
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "a", .max_buckets = 5, .min_reset_interval = 500ms});
  std::atomic<std::uint64_t> observed{0};
  std::uint64_t shown_before = 0;  // of all epochs but the last
  std::size_t resets = 0;
  std::size_t went_down = 0;
  auto last = histogram.snapshot();
  const auto read = [&] {
    auto now = histogram.snapshot();
    if (now.created != last.created) {
      shown_before += last.count();
      ++resets;
    } else {
      went_down += static_cast<std::size_t>(now.count() < last.count() || now.sum < last.sum);
    }
    last = std::move(now);
  };
  {
    Threads threads;
    for (int t = 0; t < 3; ++t) {
      threads.repeat([&] {
        for (int i = 0; i < 1000; ++i) histogram.observe(1 << i % 20);
        observed += 1000;
      });
    }
    for (const auto end = Clock::now() + 20 * some_time; resets < 2 && Clock::now() < end;) read();
  }
  read();
  CHECK(went_down == 0);
  CHECK(resets >= 2);
  CHECK(shown_before + last.count() == observed);
}

TEST_CASE("the window of a summary has nothing that is too old, however many read it") {
  // All observers observe the same value, and another one in the next round. Each value is the bound of a bucket.
  const auto registry = page::empty_registry();
  constexpr auto max_age = 10ms;
  constexpr auto part = max_age / 5;
  const auto family =
      registry.summary({.name = "a", .quantiles = {0.5}, .max_age = max_age, .age_buckets = 5}, {"kind"});
  const auto summary = family("kept");
  constexpr std::size_t observers = 2;
  std::atomic<int> power{0};
  std::array<std::atomic<int>, observers> observed{};
  std::atomic<std::size_t> torn{0};
  std::atomic<std::uint64_t> readings{0};
  std::size_t too_old = 0;
  std::size_t rounds = 0;
  const auto is_torn = [](const quipu::SummarySnapshot& read) {
    double sum = 0;
    for (const auto& [index, count] : read.window.positive) sum += std::ldexp(static_cast<double>(count), index / 64);
    return sum != read.window.sum || read.window.count() > read.count;
  };
  {
    Threads threads;
    for (auto& own : observed) {
      threads.repeat([&] {
        const int now = power;
        for (int i = 0; i < 100; ++i) {
          summary.observe(1 << now);
          family("short-lived").observe(1 << now);
        }
        own = now;
      });
    }
    for (int i = 0; i < 2; ++i) {
      threads.repeat([&] {
        torn += static_cast<std::size_t>(is_torn(summary.snapshot()));
        torn += static_cast<std::size_t>(is_torn(family("short-lived").snapshot()));
        ++readings;
      });
    }
    threads.repeat([&] {
      static_cast<void>(page::body(registry));
      family.remove("short-lived");
    });
    for (const auto end = Clock::now() + some_time; Clock::now() < end || rounds < 5; ++rounds) {
      const int next = (power + 1) % 10;
      power = next;
      soon([&] { return std::ranges::all_of(observed, [&](const auto& own) { return own == next; }); });
      std::this_thread::sleep_for(part);
      static_cast<void>(summary.snapshot());  // the window of the next one begins less than a part before this
      std::this_thread::sleep_for(max_age);
      const auto& window = summary.snapshot().window;
      too_old += static_cast<std::size_t>(
          std::ranges::any_of(window.positive, [&](const auto& bucket) { return bucket.index != 64 * next; }));
    }
  }
  CHECK(torn == 0);
  CHECK(too_old == 0);
  CHECK(readings > 0);
}

TEST_CASE("readers of a native histogram get on, however fast it begins again and again") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram(
      {.name = "a", .max_buckets = 10, .min_reset_interval = 1ns, .buckets = quipu::buckets::linear(1, 1, 40)});
  std::atomic<std::size_t> scrapes{0};
  std::size_t torn = 0;
  std::size_t resets = 0;
  const auto begin = Clock::now();
  {
    Threads threads;
    for (int t = 0; t < 2; ++t) {
      threads.repeat([=] {
        for (int i = 0; i < 1000; ++i) histogram.observe(1 + i % 40);
      });
    }
    threads.repeat([&] {
      Watcher watcher(registry);
      watcher.most_buckets = 10;
      watcher.scrape();
      torn += watcher.torn;
      ++scrapes;
    });
    quipu::WallTime created{};
    // On a busy computer, the writers that a reader waits for may not run for a while.
    const auto is_enough = [&] { return Clock::now() - begin > some_time && scrapes > 10 && resets > 10; };
    while (!is_enough() && Clock::now() - begin < 20 * some_time) {
      const auto now = histogram.snapshot().created;
      resets += static_cast<std::size_t>(now > created);
      created = now;
    }
  }
  CHECK(torn == 0);
  CHECK(scrapes > 10);
  CHECK(resets > 10);
}

TEST_CASE("a gauge that is set for the first time has the old value or the new one, and nothing in between") {
  const auto registry = page::empty_registry();
  const auto family = registry.gauge<int>({.name = "a"}, {"n"});
  constexpr int gauges = 20'000;
  std::vector<quipu::Gauge> counted;
  for (int n = 0; n < gauges; ++n) {
    counted.push_back(family(n));
    for (int i = 0; i < 50; ++i) counted.back().inc();
  }
  std::atomic<int> next{0};
  std::size_t wrong = 0;
  std::size_t seen[2] = {};
  {
    Threads threads;
    threads.once([&] {
      for (int n = 0; n < gauges; ++n) {
        next.store(n, std::memory_order_relaxed);
        counted[static_cast<std::size_t>(n)].set(7);
      }
    });
    for (int n = 0; n < gauges - 1; n = next.load(std::memory_order_relaxed)) {
      const double value = counted[static_cast<std::size_t>(n)].value();
      if (value == 50) {
        ++seen[0];
      } else if (value == 7) {
        ++seen[1];
      } else {
        ++wrong;
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(seen[0] + seen[1] > 0);
  for (const quipu::Gauge& gauge : counted) REQUIRE(gauge.value() == 7);
}

TEST_CASE("what happened before a scrape is on its page") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto histogram = registry.histogram({.name = "b", .buckets = {1.0}});
  const auto family = registry.gauge<int>({.name = "c"}, {"n"});
  constexpr std::uint64_t most_series = 5000;
  std::atomic<std::uint64_t> counted{0};
  std::atomic<std::uint64_t> made{0};
  std::size_t late = 0;
  std::size_t scrapes = 0;
  {
    Threads threads;
    threads.repeat([&, n = std::uint64_t{0}]() mutable {
      counter.inc();
      histogram.observe(1);
      counted.store(++n, std::memory_order_release);
    });
    threads.repeat([&, n = std::uint64_t{0}]() mutable {
      if (n == most_series) return std::this_thread::yield();
      static_cast<void>(family(static_cast<int>(n)));
      made.store(++n, std::memory_order_release);
    });
    const auto end = Clock::now() + some_time;
    Watcher watcher(registry);
    while (Clock::now() < end) {
      const auto counts = counted.load(std::memory_order_acquire);
      const auto series = made.load(std::memory_order_acquire);
      watcher.scrape();
      ++scrapes;
      late += static_cast<std::size_t>(watcher.value("a_total") < counts);
      late += static_cast<std::size_t>(watcher.value("b") < counts);
      late += static_cast<std::size_t>(watcher.series_shown() < 2 + series);
      if (series > 0) {
        late += static_cast<std::size_t>(!watcher.shows("c 0"));
        late += static_cast<std::size_t>(!watcher.shows("c " + std::to_string(series - 1)));
      }
    }
  }
  CHECK(late == 0);
  CHECK(scrapes > 1);
  CHECK(counter.value() == counted);
  CHECK(family.size() == made);
}

TEST_CASE("series come and go while others count and scrape") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<std::string_view, int>({.name = "a_total"}, {"kind", "n"});
  const auto closed = registry.histogram<Method, bool>({.name = "b", .buckets = {1.0}}, {"method", "flag"});
  const auto native = registry.native_histogram<std::string_view, int>(
      {.name = "c", .growth_factor = 1.005, .max_buckets = 3, .buckets = quipu::Buckets{1.0, 2.0, 4.0, 8.0, 16.0}},
      {"kind", "n"});
  constexpr int kept = 600;  // more than a scrape looks at in one go
  for (int n = 0; n < kept; ++n) static_cast<void>(family("kept", n));
  std::atomic<std::uint64_t> counted{0};
  Watcher watcher(registry);
  std::size_t missed = 0;
  {
    Threads threads;
    threads.repeat([&, n = 0]() mutable {
      n = (n + 1) % kept;
      family("kept", n).inc();
      family("short-lived", n % 50).inc();
      closed(static_cast<Method>(n % 3), n % 2 == 0).observe(1);
      native("short-lived", n % 20).observe(1 << n % 5);
      counted.fetch_add(1, std::memory_order_relaxed);
    });
    for (int t = 0; t < 2; ++t) {
      threads.repeat([&, n = t]() mutable {
        n = (n + 7) % 700;
        const auto counter = family("short-lived", n);
        counter.inc();
        family.remove("short-lived", (n + 350) % 700);
        counter.inc();
        closed(static_cast<Method>(n % 3), n % 2 == 0).observe(1);
        if (n % 11 == 0) closed.remove(static_cast<Method>(n % 3), true);
        const auto observed = native("short-lived", n % 20);
        for (int i = 0; i < 5; ++i) observed.observe(1 << i);
        native.remove("short-lived", (n + 10) % 20);
        observed.observe(16);
        if (n == 0) family.remove_if([](quipu::Labels labels) { return labels[0].value == "short-lived"; });
        if (n == 1) closed.remove_if([](quipu::Labels labels) { return labels[1].value == "true"; });
      });
    }
    const auto end = Clock::now() + some_time;
    while (Clock::now() < end) {
      watcher.scrape();
      for (int n = 0; n < kept; n += 100) {
        missed += static_cast<std::size_t>(!watcher.shows("a_total kept " + std::to_string(n)));
      }
    }
  }
  CHECK(missed == 0);
  CHECK(watcher.went_down == 0);
  CHECK(watcher.shown_twice == 0);
  CHECK(watcher.torn == 0);
  CHECK(watcher.scrapes > 1);
  std::uint64_t total = 0;
  for (int n = 0; n < kept; ++n) total += family("kept", n).value();
  CHECK(total == counted);
  family.remove_if([](quipu::Labels labels) { return labels[0].value != "kept"; });
  CHECK(family.size() == kept);
  CHECK(shown::Everything(registry).duplicates() == 0);
}

TEST_CASE("series expire and come back while threads record, and lose nothing") {
  const auto registry = page::empty_registry();
  // So short that two scrapes hide what was not recorded to between them.
  constexpr auto at_once = 1ns;
  const auto counters = registry.counter<int>({.name = "a_total", .idle_expiry = at_once}, {"n"});
  const auto gauges = registry.gauge<int>({.name = "b", .idle_expiry = at_once}, {"n"});
  const auto levels = registry.gauge<int>({.name = "c", .idle_expiry = at_once}, {"n"});
  const auto histograms = registry.histogram<int>({.name = "d", .buckets = {1.0}, .idle_expiry = at_once}, {"n"});
  const auto natives =
      registry.native_histogram<int>({.name = "e", .buckets = quipu::Buckets{1.0}, .idle_expiry = at_once}, {"n"});
  // Its series give way to new ones all the time, and thus may begin again at 0.
  const auto many =
      registry.counter<int, bool>({.name = "f_total", .max_series = 20, .idle_expiry = at_once}, {"n", "is_brief"});
  constexpr int series = 8;
  constexpr int recording = 3;
  Watcher first(registry);
  Watcher second(registry);
  std::vector<std::uint64_t> rounds(recording);
  Threads threads;
  for (std::uint64_t& mine : rounds) {
    threads.repeat([&, i = 0]() mutable {
      // Each series is recorded to for a while, and then not, through handles that are kept or found again.
      const int n = i / 500 % series;
      const auto counter = counters(n);
      const auto gauge = gauges(n);
      for (int k = 0; k < 50; ++k, ++i) {
        counter.inc();
        gauge.inc();
        levels(n).set(n);
        histograms(n).observe(1);
        natives(n).observe(1);
        many(i % 1000, true).inc();
        gauge.dec();
      }
      mine += 50;
      std::this_thread::yield();
    });
  }
  threads.repeat([&] { first.scrape(); });
  threads.repeat([&] { second.scrape(); });
  std::this_thread::sleep_for(some_time);
  threads.stop();
  for (const Watcher* watcher : {&first, &second}) {
    CHECK(watcher->scrapes > 1);
    CHECK(watcher->went_down == 0);
    CHECK(watcher->torn == 0);
    CHECK(watcher->shown_twice == 0);
  }
  std::uint64_t total = 0;
  for (const std::uint64_t mine : rounds) total += mine;
  std::uint64_t counted = 0;
  std::uint64_t observed = 0;
  std::uint64_t set = 0;
  for (int n = 0; n < series; ++n) {
    counted += counters(n).value();
    observed += histograms(n).snapshot().count() + natives(n).snapshot().count();
    CHECK(gauges(n).value() == 0);
    const double level = levels(n).value();
    set += static_cast<std::uint64_t>(level == n || level == 0);  // 0 if there was no time to set it
  }
  CHECK(counted == total);
  CHECK(observed == 2 * total);
  CHECK(set == series);
  CHECK(many.size() <= 21);
  // At rest, all of them expire, and all come back.
  first.scrape();
  first.scrape();
  CHECK(first.series_shown() <= 1);  // the overflow series stays
  for (int n = 0; n < series; ++n) {
    counters(n).inc();
    gauges(n).inc();
    levels(n).set(n);
    histograms(n).observe(1);
    natives(n).observe(1);
  }
  first.scrape();
  CHECK(first.series_shown() >= 5 * series);
  CHECK(first.went_down == 0);
}

TEST_CASE("resets under writers that never pause show nothing that was not recorded since") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto fractions = registry.fractional_counter({.name = "b_total"});
  const auto gauge = registry.gauge({.name = "c"});
  const auto histogram = registry.histogram({.name = "d", .buckets = {1.0, 2.0}});
  const auto native = registry.native_histogram({.name = "e"});
  constexpr std::uint64_t most = std::uint64_t{1} << 40;  // more than there is time for
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> resets{0};
  Threads threads;
  for (int t = 0; t < 2; ++t) {
    threads.repeat([=, value = static_cast<double>(1 + t)] {
      for (int i = 0; i < 100; ++i) {
        counter.inc();
        fractions.inc(0.5);
        gauge.inc();
        histogram.observe(value);
        native.observe(value);
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.repeat([&, registry] {
      registry.reset();
      ++resets;
    });
  }
  threads.repeat([&] {
    wrong += static_cast<std::uint64_t>(counter.value() > most);
    const double real = fractions.value();
    wrong += static_cast<std::uint64_t>(!(real >= 0 && real < static_cast<double>(most)));
    wrong += static_cast<std::uint64_t>(gauge.value() < 0);
    const auto snapshot = histogram.snapshot();
    double sum = 0;
    for (std::size_t i = 0; i < 2; ++i) sum += static_cast<double>((i + 1) * snapshot.counts[i]);
    wrong += static_cast<std::uint64_t>(snapshot.count() > most || snapshot.sum != sum);
    wrong += static_cast<std::uint64_t>(native.snapshot().count() > most);
  });
  std::this_thread::sleep_for(some_time);
  threads.stop();
  CHECK(resets > 1);
  CHECK(wrong == 0);
  registry.reset();
  counter.inc(3);
  fractions.inc(0.5);
  gauge.inc(3);
  histogram.observe(1);
  native.observe(1);
  CHECK(counter.value() == 3);
  CHECK(fractions.value() == 0.5);
  CHECK(gauge.value() == 3);
  CHECK(histogram.snapshot().counts == std::vector<std::uint64_t>{1, 0, 0});
  CHECK(histogram.snapshot().sum == 1);
  CHECK(native.snapshot().count() == 1);
}

TEST_CASE("families come while others count and scrape") {
  const auto registry = page::empty_registry();
  constexpr int names = 200;
  constexpr int threads = 3;
  Watcher watcher(registry);
  std::atomic<int> errors{0};
  {
    Threads scraping;
    scraping.repeat([&] { watcher.scrape(); });
    Threads registering;
    for (int t = 0; t < threads; ++t) {
      registering.once([&, t] {
        for (int n = 0; n < names; ++n) {
          const std::string name = "family_" + std::to_string(n);
          try {
            registry.counter({.name = quipu::runtime(name + "_events_total")}).inc();
            registry.histogram({.name = quipu::runtime(name + "_seconds"), .buckets = {1.0}}, {"a"})("x").observe(1);
            const auto callback = registry.gauge_callback({.name = quipu::runtime(name)},
                                                          {{"thread", std::to_string(t)}}, [] { return 1; });
          } catch (const quipu::RegistrationError&) {
            ++errors;
          }
        }
      });
    }
    registering.join();
  }
  CHECK(errors == 0);
  watcher.scrape();
  CHECK(watcher.went_down == 0);
  CHECK(watcher.torn == 0);
  CHECK(watcher.shown_twice == 0);
  const auto values = shown::Everything(registry).values();
  CHECK(values.size() == 2 * names);
  CHECK(values.at({"family_0_events_total"}) == threads);
  CHECK(std::ranges::all_of(values, [](const auto& item) { return item.second == threads; }));
}

TEST_CASE("callbacks come and go during scrapes") {
  const auto registry = page::empty_registry();
  std::atomic<int> used_after_the_end{0};
  std::atomic<int> calls{0};
  int ended = 0;
  {
    Threads scraping;
    for (int t = 0; t < 2; ++t) {
      scraping.repeat([&] { static_cast<void>(page::body(registry)); });
    }
    const auto end = Clock::now() + some_time;
    while (Clock::now() < end) {
      std::atomic<bool> is_alive{true};
      {
        const auto callback = registry.gauge_callback({.name = "x"}, [&] {
          std::this_thread::yield();
          used_after_the_end += static_cast<int>(!is_alive.load());
          ++calls;
          return 1;
        });
        if (ended % 2 == 0) std::this_thread::sleep_for(100us);
      }
      is_alive = false;
      ++ended;
    }
  }
  CHECK(used_after_the_end == 0);
  CHECK(calls > 0);
  CHECK(ended > 1);
  CHECK(page::body(registry).empty());
}

TEST_CASE("threads that come and go leave their counts behind") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto histogram = registry.histogram({.name = "b", .buckets = {1.0}});
  const auto gauge = registry.gauge({.name = "c"});
  const auto family = registry.counter<int>({.name = "d_total"}, {"n"});
  const auto native = registry.native_histogram({.name = "e", .buckets = quipu::Buckets{1.0}});

  struct CountsAtExit {
    quipu::Counter counter;
    quipu::Histogram histogram;
    quipu::NativeHistogram native;
    ~CountsAtExit() {
      counter.inc();
      histogram.observe(1);
      native.observe(1);
    }
  };
  constexpr int generations = 60;
  constexpr int threads = 8;
  Watcher watcher(registry);
  {
    Threads scraping;
    scraping.repeat([&] { watcher.scrape(); });
    for (int i = 0; i < generations; ++i) {
      Threads recording;
      for (int t = 0; t < threads; ++t) {
        recording.once([=] {
          // Destroyed after everything that is first used later in the thread.
          thread_local CountsAtExit at_exit;
          at_exit = {counter, histogram, native};
          counter.inc();
          histogram.observe(1);
          native.observe(1);
          gauge.inc();
          family(t).inc();
        });
      }
      recording.join();
    }
  }
  constexpr std::uint64_t total = std::uint64_t{generations} * threads;
  CHECK(watcher.went_down == 0);
  CHECK(watcher.torn == 0);
  // The assignment's temporary counts too.
  CHECK(counter.value() == 3 * total);
  CHECK(histogram.snapshot().count() == 3 * total);
  CHECK(native.snapshot().count() == 3 * total);
  CHECK(gauge.value() == total);
  for (int t = 0; t < threads; ++t) CHECK(family(t).value() == generations);
}

TEST_CASE("a registry may go while threads record") {
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> recorded{0};
    Threads threads;
    {
      const auto registry = page::empty_registry();
      const auto counter = registry.counter({.name = "a_total"});
      const auto histogram = registry.histogram({.name = "b"});
      const auto gauge = registry.gauge({.name = "c"}, {"n"})("1");
      const auto native = registry.native_histogram({.name = "e", .max_buckets = 1});
      const auto family = registry.counter({.name = "d_total"}, {"n"});
      for (int t = 0; t < 2; ++t) {
        threads.repeat([=, &recorded] {
          counter.inc();
          histogram.observe(1);
          gauge.set(1);
          native.observe(1 + recorded);
          family("1").inc();
          ++recorded;
        });
      }
      while (recorded < 100) std::this_thread::yield();
    }
    const int before = recorded;
    while (recorded < before + 100) std::this_thread::yield();
    threads.stop();
    CHECK(recorded >= before + 100);
  }
}

TEST_CASE("a stateset is in one state at any moment, and in the first again when it is made anew") {
  enum class Phase { starting, serving, draining };
  const auto registry = page::empty_registry();
  const auto phase = registry.stateset<Phase>({.name = "phase", .first = Phase::starting});
  const auto shards = registry.stateset<Phase, int>({.name = "shard_phase", .first = Phase::starting}, {"shard"});

  /// Counts the states that are 1 in each series.
  class States : public quipu::Visitor {
   public:
    void family(const quipu::FamilyView&) override {}
    void sample(const quipu::Sample& sample) override {
      active_ += sample.value.whole();
      if (sample.labels.back().value != "draining") return;
      wrong += static_cast<std::size_t>(active_ != 1);
      active_ = 0;
      ++shown;
    }
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}

    std::size_t shown = 0;
    std::size_t wrong = 0;

   private:
    std::uint64_t active_ = 0;
  } states;

  Threads threads;
  for (int t = 0; t < 3; ++t) {
    threads.repeat([=, n = t]() mutable {
      const auto next = static_cast<Phase>(++n % 3);
      phase.set(next);
      shards(n % 5).set(next);
    });
  }
  threads.repeat([=, n = 0]() mutable { shards.remove(++n % 5); });
  for (const auto end = Clock::now() + some_time; Clock::now() < end;) registry.collect(states);
  threads.stop();
  CHECK(states.shown > 100);
  CHECK(states.wrong == 0);
}

TEST_CASE("exemplars are whole, and of their own series and bucket") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter<int>({.name = "a_total"}, {"n"});
  const auto sizes = registry.histogram<int>({.name = "b", .buckets = {1.0, 2.0, 4.0, 8.0}}, {"n"});
  constexpr int series = 4;

  /// An exemplar says its series, its value, and its value again in a text of a length that it determines.
  class Checker : public quipu::Visitor {
   public:
    void family(const quipu::FamilyView&) override {}
    void sample(const quipu::Sample& sample) override {
      ++series_shown;
      if (sample.exemplar == nullptr) return;
      check(sample.labels, *sample.exemplar);
    }
    void histogram(const quipu::HistogramSample& sample) override {
      ++series_shown;
      for (std::size_t i = 0; i < sample.exemplars.size(); ++i) {
        if (sample.exemplars[i] == nullptr) continue;
        const quipu::ExemplarView& exemplar = *sample.exemplars[i];
        check(sample.labels, exemplar);
        const bool is_inside = (i == 0 || exemplar.value > sample.bounds[i - 1]) &&
                               (i == sample.bounds.size() || exemplar.value <= sample.bounds[i]);
        wrong += static_cast<std::size_t>(!is_inside);
      }
    }
    void summary(const quipu::SummarySample&) override {}

    std::size_t series_shown = 0;
    std::size_t shown = 0;
    std::size_t wrong = 0;

   private:
    void check(quipu::Labels labels, const quipu::ExemplarView& exemplar) {
      ++shown;
      const auto value = static_cast<std::size_t>(exemplar.value);
      const bool is_whole = exemplar.labels.size() == 3 && exemplar.labels[0].value == labels[0].value &&
                            exemplar.labels[1].value == std::to_string(value) &&
                            exemplar.labels[2].value == text_of(value);
      wrong += static_cast<std::size_t>(!is_whole);
    }

   public:
    static std::string text_of(std::size_t value) {
      std::string text;
      for (std::size_t i = 0; i < value * 8; ++i) text += value % 2 == 0 ? "x" : "\U0001F600";
      return text;
    }
  } checker;

  {
    Threads threads;
    for (int t = 0; t < 3; ++t) {
      threads.repeat([=, n = t]() mutable {
        ++n;
        const int value = n % 10 + 1;
        const std::string number = std::to_string(value);
        const std::string text = Checker::text_of(static_cast<std::size_t>(value));
        const int which = n / 10 % series;
        const std::string own = std::to_string(which);
        const auto make = [&] { return quipu::Exemplar{{"n", own}, {"value", number}, {"text", text}}; };
        counters(which).inc(value, make());
        sizes(which).observe(value, make());
        counters(which).inc(value, make);
      });
    }
    threads.repeat([=, n = 0]() mutable {
      counters.remove(++n % 2);
      sizes.remove(n % 2);
      std::this_thread::yield();
    });
    for (const auto end = Clock::now() + some_time; Clock::now() < end;) registry.collect(checker);
  }
  CHECK(checker.series_shown > 100);
  CHECK(checker.shown > checker.series_shown / 10);
  CHECK(checker.wrong == 0);
}

TEST_CASE("what a page shows as an exemplar is counted on that page") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto real = registry.fractional_counter({.name = "b_total"});
  const auto sizes = registry.histogram({.name = "c", .buckets = {1.0}});

  /// An exemplar says how many there have been before it.
  class Checker : public quipu::Visitor {
   public:
    void family(const quipu::FamilyView&) override {}
    void sample(const quipu::Sample& sample) override {
      if (sample.exemplar != nullptr) check(*sample.exemplar, sample.value.real());
    }
    void histogram(const quipu::HistogramSample& sample) override {
      if (!sample.exemplars.empty()) check(*sample.exemplars[0], static_cast<double>(sample.counts[0]));
    }
    void summary(const quipu::SummarySample&) override {}

    std::size_t shown = 0;
    std::size_t uncounted = 0;

   private:
    void check(const quipu::ExemplarView& exemplar, double counted) {
      ++shown;
      uncounted += static_cast<std::size_t>(std::stod(std::string(exemplar.labels[0].value)) > counted);
    }
  } checker;

  Threads threads;
  threads.repeat([=, n = 0]() mutable {
    const std::string number = std::to_string(++n);
    counter.inc(1, quipu::Exemplar{{"number", number}});
    real.inc(1, quipu::Exemplar{{"number", number}});
    sizes.observe(1, quipu::Exemplar{{"number", number}});
  });
  for (const auto end = Clock::now() + some_time; Clock::now() < end;) registry.collect(checker);
  threads.stop();
  CHECK(checker.shown > 100);
  CHECK(checker.uncounted == 0);
}

TEST_CASE("a gauge that is always 0 or 1 is never read as anything else, whichever threads change it") {
  const auto registry = page::empty_registry();
  const auto gauge = registry.gauge({.name = "a"});
  const auto become_a_writer = [&] {
    for (int i = 0; i < 10; ++i) {
      gauge.inc();
      gauge.dec();
    }
  };
  // One thread adds a step, and then another one takes it away. Between their cells, a reader passes many others.
  std::atomic<int> turn{-1};
  std::array<std::atomic<bool>, 2> is_ready{};
  Gate end;
  std::size_t wrong = 0;
  std::size_t changes = 0;
  std::size_t readings = 0;
  {
    Threads idle;
    Threads writers;
    const auto write = [&](int own, std::size_t& made) {
      return [&, own, is_first = true]() mutable {
        if (std::exchange(is_first, false)) {
          become_a_writer();
          is_ready[static_cast<std::size_t>(own)] = true;
          return;
        }
        for (int spins = 0; turn.load(std::memory_order_acquire) != own; ++spins) {
          if (spins > 100) return std::this_thread::yield();
        }
        gauge.inc(own == 0 ? 1 : -1);
        ++made;
        turn.store(1 - own, std::memory_order_release);
      };
    };
    std::size_t others = 0;
    writers.repeat(write(0, changes));
    while (!is_ready[0]) std::this_thread::yield();
    constexpr int bystanders = 100;
    for (int i = 0; i < bystanders; ++i) {
      idle.once([&] {
        become_a_writer();
        end.pass();
      });
    }
    while (end.entered() < bystanders) std::this_thread::yield();
    writers.repeat(write(1, others));
    while (!is_ready[1]) std::this_thread::yield();
    turn = 0;
    for (const auto stop = Clock::now() + some_time; Clock::now() < stop;) {
      for (int i = 0; i < 100; ++i) {
        const double value = gauge.value();
        wrong += static_cast<std::size_t>(value != 0 && value != 1);
        ++readings;
      }
    }
    writers.stop();
    end.open();
  }
  INFO(readings << " readings, " << changes << " changes");
  CHECK(wrong == 0);
  CHECK(changes > 0);
}

TEST_CASE("forks while threads observe in a histogram that they share do not stop the child's scrapes") {
  // In a child, as the budget is the process' own: without it, no thread has cells of its own.
  CHECK(in_child([] {
    alarm(static_cast<unsigned>(60 + some_time.count()));
    quipu::set_thread_cell_budget(0);
    const auto registry = page::empty_registry();
    const auto histogram = registry.histogram({.name = "a"});
    std::size_t children = 0;
    bool all_well = true;
    {
      Threads threads;
      for (int t = 0; t < 2; ++t) threads.repeat([=] { histogram.observe(1); });
      threads.repeat([=] { static_cast<void>(histogram.snapshot()); });
      for (const auto end = Clock::now() + some_time; all_well && (children < 10 || Clock::now() < end); ++children) {
        std::this_thread::sleep_for(1ms);
        all_well = in_child([&] {
          alarm(20);
          const auto before = histogram.snapshot();
          histogram.observe(1);
          const auto after = histogram.snapshot();
          // The threads may have been left between a bucket and the sum.
          return after.count() == before.count() + 1 && static_cast<double>(before.count()) - before.sum <= 2;
        });
      }
    }
    const auto snapshot = histogram.snapshot();
    return all_well && snapshot.sum == static_cast<double>(snapshot.count());
  }));
}

TEST_CASE("forks while gauges are set for the first time leave the child gauges that can be set and read") {
  const auto registry = page::empty_registry();
  constexpr int gauges = 20'000;
  std::size_t wrong = 0;
  std::size_t children = 0;
  for (const auto end = Clock::now() + some_time; wrong == 0 && Clock::now() < end; ++children) {
    const auto family = registry.gauge<int>({.name = "a", .max_series = gauges}, {"n"});
    std::vector<quipu::Gauge> all;
    for (int n = 0; n < gauges; ++n) all.push_back(family(n));
    std::atomic<bool> has_begun{false};
    Threads threads;
    threads.once([&] {
      for (const quipu::Gauge& gauge : all) {
        gauge.set(7);
        has_begun = true;
      }
    });
    while (!has_begun) {
    }
    wrong += static_cast<std::size_t>(!in_child([&] {
      const auto begin = Clock::now();
      for (const quipu::Gauge& gauge : all) {
        if (const double value = gauge.value(); value != 0 && value != 7) return false;
        gauge.set(8);
        if (gauge.value() != 8) return false;
      }
      return Clock::now() - begin < 900ms;  // a reader that waits for somebody gives up after a second
    }));
    threads.join();
    family.clear();
  }
  INFO(children << " children");
  CHECK(wrong == 0);
}

TEST_CASE("forks while threads read a native histogram and a busy gauge do not stop the child's scrapes") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.native_histogram({.name = "a", .max_buckets = 5, .min_reset_interval = 1ns});
  const auto gauge = registry.gauge({.name = "b"});
  std::size_t children = 0;
  bool all_well = true;
  {
    Threads threads;
    threads.repeat([=] {
      for (int i = 0; i < 20; ++i) {
        histogram.observe(1 << i);
        gauge.inc();
      }
    });
    threads.repeat([=] { static_cast<void>(histogram.snapshot()); });
    threads.repeat([=] { static_cast<void>(gauge.value()); });
    for (const auto end = Clock::now() + some_time; all_well && (children < 10 || Clock::now() < end); ++children) {
      all_well = in_child([&] {
        alarm(20);
        static_cast<void>(histogram.snapshot());
        histogram.observe(1);
        const double before = gauge.value();
        gauge.inc();
        return histogram.snapshot().count() >= 1 && gauge.value() == before + 1;
      });
    }
  }
  INFO(children << " children");
  CHECK(all_well);
}

namespace {

std::optional<quipu::Histogram> observed_by_handler;
std::atomic<std::size_t> handled{0};

void observe_in_handler(int) {
  for (int i = 0; i < 2; ++i) observed_by_handler->observe(1);
  handled.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

TEST_CASE("a histogram in which a signal handler observed meanwhile is read without a wait afterwards") {
  const auto registry = page::empty_registry();
  observed_by_handler = registry.histogram({.name = "a", .buckets = quipu::buckets::linear(1, 1, 100)});
  struct sigaction handler {};
  struct sigaction before {};
  handler.sa_handler = observe_in_handler;
  handler.sa_flags = SA_RESTART;
  REQUIRE(sigaction(SIGUSR1, &handler, &before) == 0);
  std::atomic<bool> is_over{false};
  std::atomic<bool> is_at_rest{false};
  Gate end;
  std::atomic<bool> has_begun{false};
  std::thread thread([&, histogram = *observed_by_handler] {
    histogram.observe(1);  // the first one of a thread is not for signal handlers
    has_begun = true;
    while (!is_over.load(std::memory_order_relaxed)) histogram.observe(1);
    is_at_rest = true;
    end.pass();
  });
  while (!has_begun) std::this_thread::yield();
  for (const auto stop = Clock::now() + some_time; Clock::now() < stop;) {
    const std::size_t seen = handled;
    pthread_kill(thread.native_handle(), SIGUSR1);
    while (handled == seen) std::this_thread::yield();
    if (seen % 16 == 0) static_cast<void>(observed_by_handler->snapshot());
  }
  is_over = true;
  while (!is_at_rest) std::this_thread::yield();
  // The thread has left it at rest, but alive. The first reading may have to find out.
  const auto first = observed_by_handler->snapshot();
  const auto begin = Clock::now();
  const auto second = observed_by_handler->snapshot();
  const auto time = Clock::now() - begin;
  end.open();
  thread.join();
  sigaction(SIGUSR1, &before, nullptr);
  observed_by_handler.reset();
  INFO(handled << " signals");
  CHECK(first.counts == second.counts);
  CHECK(first.sum == second.sum);
  CHECK(time < 900ms);  // a reader that finds no moment gives up after a second
}

TEST_CASE("a fork while exemplars are written leaves the child every place for its own") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  std::size_t children = 0;
  bool all_well = true;
  {
    Threads threads;
    threads.repeat([=] {
      // Of different lengths, so that one that is half written shows.
      counter.inc(1, quipu::Exemplar{{"id", "a"}});
      counter.inc(1, quipu::Exemplar{{"id", std::string(120, 'b')}, {"c", "d"}});
    });
    while (counter.value() < 2) std::this_thread::yield();
    for (const auto end = Clock::now() + some_time; all_well && (children < 20 || Clock::now() < end); ++children) {
      all_well = in_child([&] {
        const auto labels = [&] {
          const auto exemplar = shown::series(registry, "a_total").exemplar;
          return exemplar.has_value() ? exemplar->labels : decltype(exemplar->labels){};
        };
        // That of the parent is shown if it is whole.
        const auto kept = labels();
        bool ok = kept.empty() || kept.back().second == "a" || kept.back().second == "d";
        counter.inc(1, quipu::Exemplar{{"id", "own"}});
        ok = ok && labels().size() == 1 && labels()[0].second == "own";
        return ok;
      });
    }
  }
  INFO(children << " children");
  CHECK(all_well);
}

TEST_CASE(
    "families and their parts come and go while threads record and scrape, and a page shows all of one or nothing") {
  constexpr int count = 300;
  struct Whole {
    explicit Whole(const quipu::Scope& scope) : family(scope.counter<int>({.name = "whole_total"}, {"n"})) {
      for (int i = 0; i < count; ++i) family(i).inc();
    }
    quipu::CounterFamily<int> family;
  };
  const auto registry = page::empty_registry();
  const auto other = page::empty_registry({.const_labels = {{"other", "1"}}});
  const quipu::Registries both({registry, other});
  const auto kept = registry.counter({.name = "kept_total"});
  std::mutex mutex;  // guards the handle
  quipu::CounterFamily<int> handle;
  std::atomic<int> wrong{0};
  std::atomic<int> whole{0};
  std::atomic<int> parts{0};
  const auto end = Clock::now() + some_time;
  const auto until_end = [end](auto step) {
    return [end, step]() mutable {
      while (Clock::now() < end) step();
    };
  };
  std::vector<std::thread> threads;
  threads.emplace_back(until_end([&] {
    const auto made = quipu::batch<Whole>(registry, "");
    {
      const std::lock_guard lock(mutex);
      handle = made.family;
    }
    std::this_thread::sleep_for(1ms);
    if (!registry.remove(made.family)) ++wrong;
  }));
  threads.emplace_back(until_end([&, n = 0]() mutable {
    quipu::CounterFamily<int> family;
    {
      const std::lock_guard lock(mutex);
      family = handle;
    }
    for (int i = 0; i < 100; ++i) family(++n % count).inc();
    kept.inc();
  }));
  for (const char* const shard : {"1", "2"}) {
    threads.emplace_back(until_end([&, shard] {
      const auto scope = registry.subsystem("", {{"shard", shard}});
      const auto family = scope.counter<int>({.name = "x_total"}, {"n"});
      for (int i = 0; i < 20; ++i) family(i).inc();
      ++parts;
      if (!scope.remove("x_total")) ++wrong;
    }));
  }
  threads.emplace_back(until_end([&] {
    try {
      static_cast<void>(other.gauge({.name = "x"}));  // clashes with the samples of x_total
    } catch (const quipu::RegistrationError&) {
      ++wrong;
    }
    static_cast<void>(other.remove("x"));
  }));
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back(until_end([&, i, last = std::uint64_t{0}]() mutable {
      const std::string body = i == 0 ? page::body(registry) : quipu::render(both).body;
      int found = 0;
      for (const std::string& line : page::samples(body)) {
        found += line.starts_with("whole_total{") ? 1 : 0;
        const auto name = std::string_view(line).substr(0, line.rfind(' '));
        if (body.find("\n" + std::string(name) + " ") != body.rfind("\n" + std::string(name) + " ")) ++wrong;
      }
      if (found != 0 && found != count) ++wrong;
      whole += found == count ? 1 : 0;
      const std::uint64_t now = std::stoull(page::value(body, "kept_total"));
      if (now < last) ++wrong;
      last = now;
    }));
  }
  // A slow reader, so that families are removed while a page is in the middle of them.
  struct Slow final : quipu::Visitor {
    bool is_whole = false;
    int found = 0;
    void family(const quipu::FamilyView& family) override { is_whole = family.name == "whole_total"; }
    void part(const quipu::FamilyView&) override {}
    void sample(const quipu::Sample&) override {
      if (is_whole && ++found % 50 == 0) std::this_thread::sleep_for(100us);
    }
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
  };
  threads.emplace_back(until_end([&] {
    Slow reader;
    registry.collect(reader);
    if (reader.found != 0 && reader.found != count) ++wrong;
  }));
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(whole > 0);
  CHECK(parts > 0);
  const std::string body = page::body(registry);
  CHECK(page::samples(body).size() == 1);
  CHECK(registry.describe().size() == 1);
}

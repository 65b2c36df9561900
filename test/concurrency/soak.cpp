// Everything at once, for as long as it is told: threads that come and go, series that come and go, scrapes in every
// format, forks, resets of native histograms, and times without a budget of cells. What was counted has to be on the
// page at the end, exactly, and the memory must not have grown. `test/soak` builds and runs it.
//
// Usage: soak SECONDS

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "quipu/exemplar.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "quipu/thread_cell_budget.hpp"
#include "support/http_client.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// What went wrong, each thing once, with how often.
class Problems {
 public:
  void add(const std::string& what) {
    const std::lock_guard lock(mutex_);
    const auto known = std::ranges::find(seen_, what, &std::pair<std::string, std::size_t>::first);
    if (known != seen_.end()) {
      ++known->second;
    } else if (seen_.size() < 50) {
      seen_.emplace_back(what, 1);
    }
  }
  void require(bool holds, const char* what) {
    if (!holds) add(what);
  }
  /// Prints them, and returns whether there are none.
  [[nodiscard]] bool report() const {
    const std::lock_guard lock(mutex_);
    for (const auto& [what, times] : seen_) std::printf("WRONG, %zu times: %s\n", times, what.c_str());
    return seen_.empty();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<std::string, std::size_t>> seen_;
};

Problems problems;
std::atomic<bool> is_over{false};

bool goes_on() { return !is_over.load(std::memory_order_relaxed); }

/// How much was done, for the lines of progress.
struct Done {
  std::atomic<std::uint64_t> series{0};  // made and removed
  std::atomic<std::uint64_t> threads{0};
  std::atomic<std::uint64_t> pages{0};
  std::atomic<std::uint64_t> http_pages{0};
  std::atomic<std::uint64_t> refused_pages{0};  // with 503, as the endpoint may when it is busy
  std::atomic<std::uint64_t> forks{0};
  std::atomic<std::uint64_t> resets{0};
} done;

/// What was recorded to the metrics that stay. All values are whole, so sums are exact.
struct Totals {
  std::uint64_t steps = 0;
  std::uint64_t halves = 0;
  std::int64_t level = 0;
  std::array<std::uint64_t, 3> observed{};  // of 1, 2 and 4

  void add(const Totals& other) {
    steps += other.steps;
    halves += other.halves;
    level += other.level;
    for (std::size_t i = 0; i < observed.size(); ++i) observed[i] += other.observed[i];
  }
};

class Soak {
 public:
  Soak()
      : counter_(registry_.counter({.name = "soak_steps_total"})),
        fractions_(registry_.fractional_counter({.name = "soak_halves_total"})),
        level_(registry_.gauge({.name = "soak_level"})),
        sizes_(registry_.histogram({.name = "soak_sizes", .buckets = {1.0, 2.0, 4.0}})),
        native_(registry_.native_histogram({.name = "soak_native", .max_buckets = 10})),
        kept_(registry_.counter<int>({.name = "soak_kept_total"}, {"n"})),
        texts_(registry_.counter({.name = "soak_texts_total"}, {"churner", "text"})),
        numbers_(registry_.gauge<int, std::uint64_t>({.name = "soak_numbers"}, {"churner", "n"})),
        histograms_(registry_.histogram<int, std::uint64_t>({.name = "soak_histograms", .buckets = {1.0, 2.0}},
                                                            {"churner", "n"})),
        natives_(registry_.native_histogram<int, std::uint64_t>({.name = "soak_natives", .max_buckets = 5},
                                                                {"churner", "n"})),
        resetting_(registry_.native_histogram(
            {.name = "soak_resetting", .max_buckets = 5, .min_reset_interval = std::chrono::milliseconds(20)})),
        endpoint_(registry_, {.listen = http_client::any_port}) {}

  void begin() {
    for (int i = 0; i < 2; ++i) start([this] { record(); });
    for (int i = 0; i < 2; ++i) start([this, i] { churn(i); });
    start([this] { scrape(); });
    start([this] { scrape_over_http(); });
    start([this] { reset(); });
    start([this] { come_and_go(); });
  }

  /// A child counts on from what its parent had counted. It must not touch what other threads of the parent may have
  /// locked: it makes no series of the families that churn.
  void fork_once() {
    const auto code = status_of_child([this] {
      const std::uint64_t steps = counter_.value();
      for (int i = 0; i < 100; ++i) counter_.inc();
      if (counter_.value() != steps + 100) return 1;
      const auto sizes = sizes_.snapshot().count();
      sizes_.observe(2);
      if (sizes_.snapshot().count() != sizes + 1) return 2;
      const auto own = page::empty_registry();
      own.counter({.name = "child_total"}, {"a"})("b").inc();
      return page::value(own, "child_total{a=\"b\"}") == "1" ? 0 : 3;
    });
    if (code != 0) problems.add("a forked child failed with " + std::to_string(code));
    ++done.forks;
  }

  /// Ends the threads, and compares the page with what they did.
  void finish() {
    is_over = true;
    for (std::thread& thread : threads_) thread.join();
    const auto page = quipu::testing::read_page(registry_);
    const auto require = [&](std::string_view name, double expected, quipu::testing::SeriesLabels labels = {}) {
      const auto shown = quipu::testing::find_value(page, name, labels);
      if (shown == expected) return;
      problems.add(std::string(name) + " is " + (shown ? std::to_string(*shown) : "not there") + " instead of " +
                   std::to_string(expected));
    };
    const auto& [steps, halves, level, observed] = totals_;
    require("soak_steps_total", static_cast<double>(steps));
    require("soak_halves_total", static_cast<double>(halves) / 2);
    require("soak_level", static_cast<double>(level));
    const auto all = observed[0] + observed[1] + observed[2];
    const auto sum = static_cast<double>(observed[0] + 2 * observed[1] + 4 * observed[2]);
    for (const std::string name : {"soak_sizes", "soak_native"}) {
      require(name + "_count", static_cast<double>(all));
      require(name + "_sum", sum);
    }
    require("soak_sizes_bucket", static_cast<double>(observed[0]), {{"le", "1"}});
    require("soak_sizes_bucket", static_cast<double>(observed[0] + observed[1]), {{"le", "2"}});
    std::uint64_t kept = 0;
    for (int n = 0; n < kept_series; ++n) kept += kept_(n).value();
    problems.require(kept == steps, "the series that stay do not add up");
    problems.require(texts_.size() + numbers_.size() + histograms_.size() + natives_.size() == 0,
                     "series are left that were removed");
  }

 private:
  static constexpr int kept_series = 1000;

  template <class Work>
  void start(Work work) {
    threads_.emplace_back([work] {
      try {
        work();
      } catch (const std::exception& error) {
        problems.add(std::string("a thread ended: ") + error.what());
      }
    });
  }

  /// Threads that live for some thousand recordings each.
  void record() {
    std::minstd_rand random(static_cast<unsigned>(threads_made_.fetch_add(1)) + 1);
    while (goes_on()) {
      Totals mine;
      const int rounds = 100 + static_cast<int>(random() % 20'000);
      std::thread([&] {
        for (int i = 0; i < rounds; ++i) {
          counter_.inc();
          kept_(static_cast<int>(random() % kept_series)).inc();
          fractions_.inc(0.5);
          level_.inc(3);
          level_.dec(2);
          const std::size_t which = random() % 3;
          sizes_.observe(1 << which);
          native_.observe(1 << which);
          if (i % 100 == 0) counter_.inc(0, quipu::Exemplar{{"trace", "x"}});
          ++mine.steps;
          ++mine.halves;
          ++mine.level;
          ++mine.observed[which];
        }
      }).join();
      ++done.threads;
      const std::lock_guard lock(totals_mutex_);
      totals_.add(mine);
    }
  }

  /// Series that this thread makes, counts in and removes: one by one, and many at once.
  void churn(int id) {
    const std::string churner = std::to_string(id);
    for (std::uint64_t n = 0; goes_on();) {
      for (int i = 0; i < 500; ++i, ++n) {
        const std::string text = "a text for series " + std::to_string(n);
        const auto counter = texts_(churner, text);
        const auto steps = static_cast<int>(n % 15);
        for (int k = 0; k < steps; ++k) counter.inc();
        problems.require(counter.value() == static_cast<std::uint64_t>(steps), "a new counter has another value");
        problems.require(texts_.remove(churner, text), "a counter was not there");
        counter.inc();
        problems.require(counter.value() == 0, "a removed counter has a value");

        const auto gauge = numbers_(id, n);
        gauge.inc(static_cast<double>(n % 100));
        problems.require(gauge.value() == static_cast<double>(n % 100), "a new gauge has another value");
        problems.require(numbers_.remove(id, n), "a gauge was not there");
        gauge.set(1);

        if (i % 4 == 0) {
          const auto histogram = histograms_(id, n);
          histogram.observe(1);
          histogram.observe(2);
          problems.require(histogram.snapshot().sum == 3, "a new histogram has another sum");
          problems.require(histograms_.remove(id, n), "a histogram was not there");
          histogram.observe(1);
          const auto native = natives_(id, n);
          for (int k = 0; k < 8; ++k) native.observe(1 << k);
          problems.require(native.snapshot().count() == 8, "a new native histogram has another count");
          problems.require(natives_.remove(id, n), "a native histogram was not there");
          native.observe(1);
          done.series.fetch_add(2, std::memory_order_relaxed);
        }
      }
      done.series.fetch_add(1000, std::memory_order_relaxed);

      const std::uint64_t many = 1 + n / 500 % 400;
      for (std::uint64_t i = 0; i < many; ++i) texts_(churner, std::to_string(n + i)).inc();
      const auto is_mine = [&](quipu::Labels labels) { return labels[0].value == churner; };
      problems.require(texts_.remove_if(is_mine) == many, "not as many counters as were made");
      done.series.fetch_add(many, std::memory_order_relaxed);
    }
  }

  /// Accept headers of every format.
  static constexpr std::array<std::string_view, 5> formats = {
      "text/plain", "application/openmetrics-text;version=1.0.0", "text/plain;version=1.0.0;escaping=allow-utf-8",
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"};

  /// Reads a page in text, and compares it with the last one.
  static void check_page(const quipu::Page& page, double& last_steps) {
    if (page.content_type.find("protobuf") != std::string::npos) {
      problems.require(!page.body.empty(), "a page in protobuf is empty");
      return;
    }
    try {
      const auto read = quipu::testing::read_page(page.body, page.content_type);
      const double steps = quipu::testing::value_of(read, "soak_steps_total");
      problems.require(steps >= last_steps, "a counter went down");
      last_steps = steps;
      // Observed are 1, 2 and 4, so one moment shows in the sum.
      const auto sizes = quipu::testing::histogram_of(read, "soak_sizes");
      const double ones = sizes.buckets[0].count;
      const double twos = sizes.buckets[1].count - ones;
      problems.require(ones + 2 * twos + 4 * (sizes.count - ones - twos) == sizes.sum, "a histogram is torn");
    } catch (const quipu::Error& error) {
      problems.add(std::string("a page is wrong: ") + error.what());
    }
  }

  void scrape() {
    double last_steps = 0;
    quipu::Page page;
    for (std::size_t i = 0; goes_on(); ++i) {
      quipu::render(registry_, {.accept = formats[i % formats.size()]}, page);
      check_page(page, last_steps);
      ++done.pages;
    }
  }

  void scrape_over_http() {
    double last_steps = 0;
    std::optional<http_client::Client> client;
    for (std::size_t i = 0; goes_on(); ++i) {
      try {
        if (!client || i % 50 == 0) client.emplace(endpoint_.port());
        const bool asks_for_gzip = i % 7 == 0;
        client->send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: " + std::string(formats[i % formats.size()]) +
                     (asks_for_gzip ? "\r\nAccept-Encoding: gzip" : "") + "\r\n\r\n");
        const auto answer = client->answer();
        if (answer.status == 503) {
          ++done.refused_pages;
          continue;
        }
        problems.require(answer.status == 200 && answer.is_whole, "an answer is not a whole page");
        if (!asks_for_gzip) check_page({answer.header("Content-Type"), answer.body}, last_steps);
        ++done.http_pages;
      } catch (const std::runtime_error& error) {
        problems.add(std::string("no answer: ") + error.what());
        client.reset();
      }
    }
  }

  /// A native histogram that has more buckets than it may again and again, and begins anew when it is read.
  void reset() {
    std::uint64_t last = 0;
    for (int i = 0; goes_on(); ++i) {
      for (int k = 0; k < 20; ++k) resetting_.observe(1 << k);
      const auto snapshot = resetting_.snapshot();
      std::uint64_t total = snapshot.zero_count;
      for (const auto& side : {snapshot.positive, snapshot.negative}) {
        for (const auto& bucket : side) total += bucket.count;
      }
      problems.require(total == snapshot.count(), "a native histogram is torn");
      if (snapshot.count() < last) ++done.resets;
      last = snapshot.count();
      std::this_thread::sleep_for(1ms);
    }
  }

  /// Registries, callbacks and collectors that live for a moment.
  void come_and_go() {
    for (std::uint64_t i = 0; goes_on(); ++i) {
      const quipu::Registry registry;
      const auto counter = registry.counter({.name = "short_lived_total"}, {"n"})("1");
      counter.inc();
      const auto callback = registry_.gauge_callback({.name = "soak_callback"}, [i] { return static_cast<double>(i); });
      problems.require(page::value(registry, "short_lived_total{n=\"1\"}") == "1", "a registry has another value");
      std::this_thread::sleep_for(1ms);
    }
  }

  const quipu::Registry registry_;
  const quipu::Counter counter_;
  const quipu::FractionalCounter fractions_;
  const quipu::Gauge level_;
  const quipu::Histogram sizes_;
  const quipu::NativeHistogram native_;
  const quipu::CounterFamily<int> kept_;
  const quipu::CounterFamily<std::string_view, std::string_view> texts_;
  const quipu::GaugeFamily<int, std::uint64_t> numbers_;
  const quipu::HistogramFamily<int, std::uint64_t> histograms_;
  const quipu::NativeHistogramFamily<int, std::uint64_t> natives_;
  const quipu::NativeHistogram resetting_;
  const quipu::Exposer endpoint_;

  std::atomic<int> threads_made_{0};
  std::mutex totals_mutex_;
  Totals totals_;
  std::vector<std::thread> threads_;
};

double mib(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

/// The least memory of the last samples, as pages are made and dropped in between.
class Memory {
 public:
  void sample() {
    const std::size_t now = resident_bytes();
    recent_[next_++ % recent_.size()] = now;
    most_ = std::max(most_, now);
  }
  [[nodiscard]] std::size_t least() const {
    return *std::min_element(recent_.begin(),
                             recent_.begin() + static_cast<std::ptrdiff_t>(std::min(next_, recent_.size())));
  }
  [[nodiscard]] std::size_t most() const { return most_; }

 private:
  std::array<std::size_t, 50> recent_{};
  std::size_t next_ = 0;
  std::size_t most_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view text = argc == 2 ? argv[1] : "";
  int seconds = 0;
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
      error != std::errc() || end != text.data() + text.size() || seconds < 1) {
    std::fprintf(stderr, "Usage: soak SECONDS\n");
    return 2;
  }
  constexpr std::size_t may_grow = std::size_t{16} << 20;
  const std::size_t usual_budget = std::size_t{64} << 20;
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::seconds(seconds);
  // By then every format was made often, and every phase was there.
  const auto warm = begin + std::chrono::seconds(seconds) / 5;
  const auto between_lines = std::min<Clock::duration>(60s, std::chrono::seconds(seconds) / 5);
  auto next_line = begin + between_lines;

  Soak soak;
  soak.begin();
  Memory memory;
  std::size_t first = 0;
  const auto print = [&](Clock::time_point now) {
    const double elapsed = std::chrono::duration<double>(now - begin).count();
    std::printf(
        "%6.0f s: %.2f million series made and removed (%.0f a second), %llu threads, %llu pages, %llu over HTTP "
        "(%llu refused), %llu forks, %llu resets, %.1f MiB resident, %.1f MiB of cells\n",
        elapsed, static_cast<double>(done.series) / 1e6, static_cast<double>(done.series) / elapsed,
        static_cast<unsigned long long>(done.threads), static_cast<unsigned long long>(done.pages),
        static_cast<unsigned long long>(done.http_pages), static_cast<unsigned long long>(done.refused_pages),
        static_cast<unsigned long long>(done.forks), static_cast<unsigned long long>(done.resets), mib(memory.least()),
        mib(quipu::thread_cell_bytes()));
    std::fflush(stdout);
  };
  for (int i = 0; Clock::now() < end; ++i) {
    std::this_thread::sleep_for(100ms);
    memory.sample();
    // A tenth of the time, threads that come get no cells.
    if (i % 100 == 90) quipu::set_thread_cell_budget(0);
    if (i % 100 == 0) quipu::set_thread_cell_budget(usual_budget);
    // The address sanitizer's allocator does not survive a fork.
    if (i % 20 == 0 && !is_address_sanitized) soak.fork_once();
    const auto now = Clock::now();
    if (first == 0 && now >= warm) first = memory.least();
    if (now >= next_line) {
      print(now);
      next_line += between_lines;
    }
  }
  const std::size_t last = memory.least();
  soak.finish();
  print(Clock::now());
  if (!is_sanitized && last > first + may_grow) problems.add("the memory has grown");
  std::printf("memory: %.1f MiB after the warm-up, %.1f MiB at the end, %.1f MiB at most\n", mib(first), mib(last),
              mib(memory.most()));
  const bool is_well = problems.report();
  std::printf("%s\n", is_well ? "all is well" : "something is wrong");
  return is_well ? 0 : 1;
}

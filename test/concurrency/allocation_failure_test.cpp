// Memory that runs out at any allocation of an operation: nothing ends the program, nothing is half made, and no count
// is wrong. A program of its own, as it replaces operator new.

#include <sys/resource.h>
#include <quipu/batch.hpp>
#include <quipu/config.hpp>
#include <quipu/quipu.hpp>
#include <quipu/recorder.hpp>
#include <quipu/statsd.hpp>
#include <quipu/testing.hpp>
#include <quipu/thread_cell_budget.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/replaced_new.hpp"
#include "support/sanitizers.hpp"
#if QUIPU_HAS_HTTP
#include "support/http_client.hpp"
#endif

namespace {

constexpr long never = std::numeric_limits<long>::max();

/// How many allocations of this thread succeed until one fails. With `fails_on`, all later ones fail too.
constinit thread_local long left = never;
constinit thread_local bool fails_on = false;
constinit thread_local bool has_failed = false;

/// The same for all threads that have not armed themselves, one failure only.
constinit std::atomic<long> left_of_others{never};
constinit thread_local bool is_tester = false;

bool should_fail() noexcept {
  if (!is_tester) {
    if (left_of_others.load(std::memory_order_relaxed) == never) return false;
    return left_of_others.fetch_sub(1, std::memory_order_relaxed) == 0;
  }
  if (left == never) return false;
  if (left > 0) {
    --left;
    return false;
  }
  if (!has_failed || fails_on) {
    has_failed = true;
    return true;
  }
  return false;
}

}  // namespace

bool may_allocate(std::size_t) noexcept { return !should_fail(); }
void on_deallocation() noexcept {}

namespace {

using namespace std::chrono_literals;

/// Lets the allocations of operate() fail: the first, then the second, and so on, until none is left that could. Each
/// time, prepare() makes what operate() works on, and is_well() looks at it afterwards. Returns how many failed, or -1
/// if something was not well.
template <class Prepare, class Operate, class IsWell>
int failures(Prepare prepare, Operate operate, IsWell is_well) {
  is_tester = true;
  int failed = 0;
  for (const bool on : {false, true}) {
    for (long n = 0;; ++n) {
      auto subject = prepare();
      fails_on = on;
      has_failed = false;
      left = n;
      try {
        operate(subject);
      } catch (const std::bad_alloc&) {
      } catch (const std::exception& error) {
        left = never;
        WARN("allocation " << n << ": " << error.what());
        return -1;
      }
      left = never;
      const bool is_over = !has_failed;
      if (!is_well(subject)) {
        WARN("not well after allocation " << n << (on ? " and all that follow" : ""));
        return -1;
      }
      if (is_over) break;
      ++failed;
    }
  }
  return failed;
}

struct Subject {
  quipu::Registry registry = page::empty_registry();
  std::optional<quipu::Counter> counter;
  std::optional<quipu::CounterFamily<int>> numbers;
  std::optional<quipu::CounterFamily<std::string_view>> texts;
  std::optional<quipu::HistogramFamily<int>> sizes;
  std::optional<quipu::NativeHistogramFamily<int>> native;
  std::vector<quipu::Registration> registrations;
};

std::unique_ptr<Subject> empty() { return std::make_unique<Subject>(); }

std::unique_ptr<Subject> with_families() {
  auto subject = empty();
  subject->numbers = subject->registry.counter<int>({.name = "a_total"}, {"n"});
  subject->texts = subject->registry.counter({.name = "b_total"}, {"text"});
  subject->sizes = subject->registry.histogram<int>({.name = "c", .buckets = {1.0}}, {"n"});
  subject->native = subject->registry.native_histogram<int>({.name = "d", .buckets = quipu::Buckets{1.0}}, {"n"});
  return subject;
}

constexpr int some = 10;  // enough that tables grow

std::string long_text(int n) { return std::string(400, 'x') + std::to_string(n); }

std::unique_ptr<Subject> with_series() {
  auto subject = with_families();
  for (int n = 0; n < some; ++n) {
    (*subject->numbers)(n).inc();
    (*subject->texts)(long_text(n)).inc();
    (*subject->sizes)(n).observe(1);
    (*subject->native)(n).observe(1);
  }
  return subject;
}

bool is_page_legal(const quipu::Registry& registry) {
  for (const std::string_view accept : {"", "application/openmetrics-text; version=1.0.0"}) {
    const quipu::Page page = quipu::render(registry, accept);
    static_cast<void>(quipu::testing::read_page(page.body, page.content_type));
  }
  return true;
}

/// A registration that failed can be made afterwards, and what is registered works.
template <class Register>
int registration_failures(Register register_it) {
  return failures(
      empty, [&](auto& subject) { register_it(subject->registry); },
      [&](auto& subject) {
        register_it(subject->registry);
        return is_page_legal(subject->registry);
      });
}

}  // namespace

TEST_CASE("a registration that memory runs out for can be made afterwards") {
  CHECK(registration_failures([](quipu::Registry& registry) { registry.counter({.name = "a_total"}).inc(); }) > 0);
  CHECK(registration_failures(
            [](quipu::Registry& registry) { registry.fractional_counter({.name = "a_total"}).inc(0.5); }) > 0);
  CHECK(registration_failures([](quipu::Registry& registry) { registry.gauge({.name = "a"}).set(1); }) > 0);
  CHECK(registration_failures([](quipu::Registry& registry) { registry.histogram({.name = "a"}).observe(1); }) > 0);
  CHECK(registration_failures([](quipu::Registry& registry) { registry.native_histogram({.name = "a"}).observe(1); }) >
        0);
  enum class Phase { starting, serving };
  CHECK(registration_failures([](quipu::Registry& registry) {
          registry.stateset<Phase>({.name = "a", .first = Phase::starting}).set(Phase::serving);
        }) > 0);
  CHECK(registration_failures(
            [](quipu::Registry& registry) { registry.counter({.name = "a_total"}, {"text"})("a value").inc(); }) > 0);
}

TEST_CASE("a callback that memory runs out for leaves nothing behind, and its end needs no memory") {
  const auto callback = [](Subject& subject) {
    return subject.registry.gauge_callback({.name = "a"}, {{"label", "a value that is rather long"}}, [] { return 1; });
  };
  CHECK(failures(
            empty, [&](auto& subject) { subject->registrations.push_back(callback(*subject)); },
            [&](auto& subject) {
              subject->registrations.clear();
              if (!page::body(subject->registry).empty()) return false;
              const auto again = callback(*subject);
              return page::body(subject->registry).find("a{label=") != std::string::npos;
            }) > 0);
  CHECK(failures(
            [&] {
              auto subject = empty();
              subject->registrations.push_back(callback(*subject));
              return subject;
            },
            [](auto& subject) { subject->registrations.clear(); },
            [](auto& subject) { return page::body(subject->registry).empty(); }) == 0);
}

TEST_CASE("a callback whose lint memory runs out for leaves nothing behind") {
  const auto linted = [] {
    auto subject = empty();
    subject->registry = page::empty_registry({.on_lint = [](std::string_view, std::string_view) {}});
    return subject;
  };
  const auto callback = [](Subject& subject) {
    return subject.registry.gauge_callback({.name = "camelCaseOfSeconds"}, [] { return 1; });
  };
  CHECK(failures(
            linted, [&](auto& subject) { subject->registrations.push_back(callback(*subject)); },
            [&](auto& subject) {
              subject->registrations.clear();
              return page::body(subject->registry).empty();
            }) > 0);
}

TEST_CASE("series that memory runs out for go nowhere, and are made afterwards") {
  const auto record = [](Subject& subject) {
    for (int n = 0; n < some; ++n) {
      (*subject.numbers)(n).inc();
      (*subject.texts)(long_text(n)).inc();
      (*subject.sizes)(n).observe(1);
      (*subject.native)(n).observe(1);
    }
  };
  CHECK(failures(
            with_families, [&](auto& subject) { record(*subject); },
            [&](auto& subject) {
              std::vector<std::uint64_t> before;
              const auto values = [&known = *subject] {
                std::vector<std::uint64_t> all;
                for (int n = 0; n < some; ++n) {
                  all.push_back((*known.numbers)(n).value());
                  all.push_back((*known.texts)(long_text(n)).value());
                  all.push_back((*known.sizes)(n).snapshot().count());
                  all.push_back((*known.native)(n).snapshot().count());
                }
                return all;
              };
              before = values();
              record(*subject);
              const auto after = values();
              for (std::size_t i = 0; i < after.size(); ++i) {
                if (before[i] > 1 || after[i] != before[i] + 1) return false;
              }
              return is_page_legal(subject->registry) && subject->numbers->size() == some;
            }) > 0);
}

TEST_CASE("a look-up of a series that exists needs no memory, whatever it is looked up by") {
  struct Families {
    quipu::Registry registry = page::empty_registry();
    quipu::CounterFamily<std::string_view, int> typed =
        registry.counter<std::string_view, int>({.name = "a_total"}, {"text", "n"});
    std::vector<std::string> names = {"a", "b", "c", "d", "e"};
    quipu::RuntimeFamily<quipu::Counter> runtime = registry.counter({.name = "b_total"}, names);
    quipu::CurriedFamily<quipu::CounterFamily<std::string_view, int>, 1> curried = typed.curry(long_text(1));
    quipu::RuntimeFamily<quipu::Counter> curried_by_name = runtime.curry_with({{"b", "b"}, {"e", "e"}});
    std::string text = long_text(1);
    std::vector<std::pair<std::string, std::string>> pairs = {{"n", "1"}, {"text", text}};
  };
  const auto use = [](const std::unique_ptr<Families>& all) {
    all->typed(all->text, 1).inc();
    all->typed.with({{"n", 1}, {"text", all->text}}).inc();
    all->typed.with(all->pairs).inc();
    all->typed.find(all->text, 1)->inc();
    all->typed.find_with(all->pairs)->inc();
    all->curried(1).inc();
    all->curried.with({{"n", "1"}}).inc();
    all->runtime({"a", "b", "c", "d", "e"}).inc();
    all->runtime(all->names).inc();
    all->runtime.with({{"a", "a"}, {"b", "b"}, {"c", "c"}, {"e", "e"}, {"d", "d"}}).inc();
    all->curried_by_name({"a", "c", "d"}).inc();
  };
  const auto prepare = [&] {
    auto all = std::make_unique<Families>();
    use(all);
    return all;
  };
  const auto is_well = [](const std::unique_ptr<Families>& all) {
    return all->typed(all->text, 1).value() == 14 && all->runtime(all->names).value() == 8;
  };
  CHECK(failures(prepare, use, is_well) == 0);
}

TEST_CASE("removing series needs no memory") {
  CHECK(failures(
            with_series,
            [](auto& subject) {
              for (int n = 0; n < some / 2; ++n) {
                subject->numbers->remove(n);
                subject->sizes->remove(n);
                subject->native->remove(n);
              }
            },
            [](auto& subject) {
              return subject->numbers->size() == some / 2 && subject->sizes->size() == some / 2 &&
                     subject->native->size() == some / 2 && is_page_legal(subject->registry);
            }) == 0);
  CHECK(failures(
            with_series,
            [](auto& subject) {
              subject->numbers->clear();
              subject->texts->clear();
              subject->sizes->clear();
              subject->native->clear();
            },
            [](auto& subject) {
              (*subject->numbers)(0).inc();
              return page::body(subject->registry).find("a_total{n=\"0\"} 1\n") != std::string::npos;
            }) == 0);
  CHECK(failures(
            with_series, [](auto& subject) { subject.reset(); }, [](auto&) { return true; }) == 0);
  CHECK(failures(
            with_series, [](auto& subject) { subject->texts->remove_if([](quipu::Labels) { return true; }); },
            [](auto& subject) {
              subject->texts->clear();
              return subject->texts->size() == 0 && is_page_legal(subject->registry);
            }) > 0);
}

TEST_CASE("a page that memory runs out for is whole the next time, in each format") {
  for (const std::string_view accept :
       {"", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=2.0.0",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"}) {
    const auto subject = with_series();
    const quipu::Page page = quipu::render(subject->registry, accept);
    CHECK(failures([] { return 0; }, [&](int) { static_cast<void>(quipu::render(subject->registry, accept)); },
                   [&](int) { return quipu::render(subject->registry, accept).body == page.body; }) > 0);
  }
}

TEST_CASE("a page with callbacks that memory runs out for shows each of them the next time") {
  auto subject = empty();
  for (int n = 0; n < 3; ++n) {
    subject->registrations.push_back(
        subject->registry.gauge_callback({.name = "a"}, {{"n", std::to_string(n)}}, [n] { return n; }));
  }
  const std::string body = page::body(subject->registry);
  CHECK(failures([] { return 0; }, [&](int) { static_cast<void>(page::body(subject->registry)); },
                 [&](int) { return page::body(subject->registry) == body; }) > 0);
}

TEST_CASE("a batch that memory runs out for leaves nothing on the page, and can be made afterwards") {
  struct Metrics {
    quipu::Scope scope;
    quipu::Counter first = scope.counter({.name = "first_total"});
    quipu::CounterFamily<std::string_view> second = scope.counter({.name = "second_total"}, {"label"});
    quipu::Registration third = scope.gauge_callback({.name = "third"}, [] { return 3.0; });
    quipu::Histogram fourth = scope.histogram({.name = "fourth", .buckets = {1}});
  };
  CHECK(failures(
            empty, [](auto& subject) { static_cast<void>(quipu::batch<Metrics>(subject->registry, "part")); },
            [](auto& subject) {
              const std::string before = page::body(subject->registry);
              const auto metrics = quipu::batch<Metrics>(subject->registry, "part");
              const std::string after = page::body(subject->registry);
              return (before.empty() || before.find("part_fourth") != std::string::npos) &&
                     after.find("part_third 3\n") != std::string::npos;
            }) > 0);
}

TEST_CASE("a recorder that memory runs out for records the name the next time") {
  struct Recorded : Subject {
    std::shared_ptr<quipu::RegistryRecorder> names = std::make_shared<quipu::RegistryRecorder>(registry);
    quipu::Recorder recorder{names};
  };
  CHECK(failures([] { return std::make_unique<Recorded>(); },
                 [](auto& subject) {
                   subject->recorder.increment("requests", 1, {{"kind", long_text(1)}});
                 },
                 [](auto& subject) {
                   const auto before = page::body(subject->registry);
                   subject->recorder.increment("requests", 1, {{"kind", long_text(1)}});
                   const auto after = page::body(subject->registry);
                   return after != before && after.find("requests_total") != std::string::npos;
                 }) > 0);
}

TEST_CASE("a StatsD recorder that memory runs out for can be made afterwards, and records the next time") {
  CHECK(failures([] { return std::unique_ptr<quipu::StatsdRecorder>(); },
                 [](auto& statsd) {
                   statsd = std::make_unique<quipu::StatsdRecorder>(quipu::StatsdOptions{.address = "127.0.0.1:9"});
                   const std::vector<quipu::Label> labels = {{"kind", "reply"}};
                   statsd->increment("requests", 1, labels);
                   statsd->histogram("sizes", 1, labels);
                   statsd->time("times", 1ms, labels);
                   statsd->flush();
                 },
                 [](auto& statsd) {
                   if (!statsd) {
                     statsd = std::make_unique<quipu::StatsdRecorder>(quipu::StatsdOptions{.address = "127.0.0.1:9"});
                   }
                   statsd->increment("requests", 1, {});
                   statsd->flush();
                   return true;
                 }) > 0);
}

#if QUIPU_HAS_HTTP
TEST_CASE("an endpoint whose memory runs out says so or closes the connection, and goes on") {
  is_tester = true;
  const auto subject = with_series();
  subject->registrations.push_back(subject->registry.gauge_callback({.name = "z"}, [] { return 1; }));
  const quipu::Exposer exposer(subject->registry, {.listen = http_client::any_port});
  const auto get = [&]() -> http_client::Answer {
    try {
      return http_client::ask(exposer, "GET /metrics");
    } catch (const std::runtime_error&) {  // the connection was reset
      return {};
    }
  };
  const std::string body = get().body;
  int failed = 0;
  int wrong = 0;
  for (long n = 0; n < 1000; ++n) {
    left_of_others = n;
    const auto answer = get();
    const bool is_over = left_of_others >= 0;
    left_of_others = never;
    failed += answer.status != 200;
    if (answer.status == 200 && answer.is_whole) {
      // A callback that memory runs out for costs its own family only.
      const auto read = quipu::testing::read_page(answer.body, answer.header("Content-Type"));
      wrong += quipu::testing::value_of(read, "a_total", {{"n", "1"}}) != 1;
      wrong += body.find(answer.body) == std::string::npos;
    }
    wrong += answer.status != 200 && answer.status != 500 && answer.status != 503 && !answer.raw.empty();
    const auto next = get();
    wrong += next.status != 200 || next.body != body;
    if (is_over) break;
  }
  CHECK(failed > 0);
  CHECK(wrong == 0);
}
#endif

TEST_CASE("where the system has no more memory for cells, what can be counted is, and exactly") {
  if (is_sanitized) return;  // they need much of the address space
  CHECK(in_child([] {
    auto subject = with_series();
    const auto counter = subject->registry.counter({.name = "e_total"});
    const auto sizes = subject->registry.histogram({.name = "f", .buckets = {1.0}});
    std::vector<quipu::Counter> made;
    made.reserve(100'000);
    std::atomic<int> go{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        while (go == 0) std::this_thread::yield();
        for (int i = 0; i < 1000; ++i) counter.inc();
        for (int i = 0; i < 1000; ++i) sizes.observe(1);
      });
    }
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit none{pages * 4096, RLIM_INFINITY};
    rlimit before{};
    if (getrlimit(RLIMIT_AS, &before) != 0) return false;
    const rlimit limit{none.rlim_cur, before.rlim_max};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return false;
    go = 1;
    for (std::thread& thread : threads) thread.join();
    const auto family = *subject->numbers;
    for (int n = 0; n < 20'000; ++n) made.push_back(family(n));
    for (const auto& one : made) one.inc();
    if (setrlimit(RLIMIT_AS, &before) != 0) return false;
    bool is_well = counter.value() == 4000;
    const auto counted = sizes.snapshot();
    is_well = is_well && counted.sum == static_cast<double>(counted.count());
    for (std::size_t n = 0; n < made.size(); ++n) {
      const std::uint64_t own = made[n].value();
      is_well = is_well && own <= (n < some ? 2u : 1u);
    }
    for (int n = 0; n < 20'000; ++n) family(n).inc();
    return is_well && family.size() == 20'000 && is_page_legal(subject->registry);
  }));
}

#include "quipu/collector.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/error.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;
using page::missing;
using page::refusal;
using quipu::MetricType;

class TestCollector : public quipu::Collector {
 public:
  TestCollector(std::vector<quipu::FamilyDescription> families, std::function<void(quipu::Samples&)> collect)
      : families_(std::move(families)), collect_(std::move(collect)) {}
  std::vector<quipu::FamilyDescription> describe() const override { return families_; }
  void collect(quipu::Samples& samples) override { collect_(samples); }

 private:
  std::vector<quipu::FamilyDescription> families_;
  std::function<void(quipu::Samples&)> collect_;
};

quipu::Registry registry_with_self_metrics() { return quipu::Registry({.process_metrics = false}); }

std::string errors(const quipu::Registry& registry, std::string_view reason = "exception") {
  // The page that is read shows the errors of the pages before it: nothing else may fail meanwhile.
  return std::to_string(page::collector_errors(page::body(registry), reason));
}

void wait_for(const std::atomic<bool>& flag) {
  while (!flag.load()) std::this_thread::yield();
}

/// A deadline that is not meant to come.
constexpr auto plenty = 60s;

std::string body_within(const quipu::Registry& registry, Clock::duration time) {
  return quipu::render(registry, {.deadline = Clock::now() + time}).body;
}

std::string timeouts_in(const std::string& body) { return std::to_string(page::collector_errors(body, "timeout")); }

/// The samples of a page on which nothing fails.
Lines samples_within(const quipu::Registry& registry, Clock::duration time) {
  return page::samples(body_within(registry, time));
}

/// How many threads there are on which collectors are asked.
int helpers() { return std::max(threads_named("quipu-collect"), 0); }

/// A callback that hangs until it is let go, which is before its registration ends.
class Hanging {
 public:
  Hanging(const quipu::Registry& registry, const char* name)
      : registration_(registry.gauge_callback({.name = quipu::runtime(name)}, [this] {
          gate_.pass();
          return 1;
        })) {}
  Hanging(const Hanging&) = delete;
  Hanging& operator=(const Hanging&) = delete;
  ~Hanging() { let_go(); }

  void let_go() { gate_.open(); }
  void end() { registration_.end(); }
  [[nodiscard]] int calls() const { return gate_.entered(); }

 private:
  Gate gate_;
  quipu::Registration registration_;
};

/// Scrapes until one scrape has given up a call that is inside a collector. How many scrapes that took: a busy machine
/// may not even come to the call in time.
template <class Came>
int give_up(const quipu::Registry& registry, Came came) {
  int scrapes = 0;
  while (!came()) {
    static_cast<void>(body_within(registry, 50ms));
    ++scrapes;
  }
  return scrapes;
}

}  // namespace

TEST_CASE("a collector's families are on the page, with prefix and const labels") {
  const auto registry = page::empty_registry({.prefix = "shop", .const_labels = {{"env", "test"}}});
  int scrapes = 0;
  TestCollector collector(
      {{.name = "disk_free_bytes", .help = "Free \\ space.", .labels = {"disk", "kind"}, .unit = "bytes"},
       {.name = "reads_total", .type = MetricType::counter}},
      [&](quipu::Samples& samples) {
        samples.add("disk_free_bytes", {"sda", "ssd"}, 1.5);
        samples.add("disk_free_bytes", {"sdb", "\"hdd\"\xFF"}, 2.0);
        samples.add("reads_total", (std::uint64_t{1} << 53) + static_cast<std::uint64_t>(++scrapes));
      });
  const auto registration = registry.add(collector);
  const std::string expected =
      "# HELP shop_disk_free_bytes Free \\\\ space.\n"
      "# TYPE shop_disk_free_bytes gauge\n"
      "shop_disk_free_bytes{env=\"test\",disk=\"sda\",kind=\"ssd\"} 1.5\n"
      "shop_disk_free_bytes{env=\"test\",disk=\"sdb\",kind=\"\\\"hdd\\\"\xEF\xBF\xBD\"} 2\n"
      "# TYPE shop_reads_total counter\n"
      "shop_reads_total{env=\"test\"} 9007199254740993\n";
  CHECK(page::body(registry) == expected);
  CHECK(page::value(registry, R"(shop_reads_total{env="test"})") == "9007199254740994");
  CHECK(scrapes == 2);
}

TEST_CASE("a collector that shows nothing leaves nothing on the page") {
  const auto registry = page::empty_registry();
  TestCollector collector({{.name = "a"}}, [](quipu::Samples&) {});
  const auto registration = registry.add(collector);
  CHECK(page::body(registry).empty());
}

TEST_CASE("a collector that throws costs its own families only, and is counted") {
  const auto registry = registry_with_self_metrics();
  bool fails = true;
  TestCollector bad({{.name = "bad"}, {.name = "bad_too"}}, [&](quipu::Samples& samples) {
    samples.add("bad", 1.0);
    if (fails) throw std::runtime_error("no");
    samples.add("bad_too", 2.0);
  });
  TestCollector good({{.name = "good"}}, [](quipu::Samples& samples) { samples.add("good", 3.0); });
  const auto first = registry.add(bad);
  const auto second = registry.add(good);
  const auto counter = registry.counter({.name = "own_total"});
  counter.inc();
  CHECK(errors(registry) == "0");
  CHECK(page::value(registry, "bad") == page::absent);
  CHECK(page::value(registry, "good") == "3");
  CHECK(page::value(registry, "own_total") == "1");
  CHECK(errors(registry) == "4");
  fails = false;
  CHECK(page::value(registry, "bad") == "1");
  CHECK(page::value(registry, "bad_too") == "2");
  CHECK(errors(registry) == "5");
}

TEST_CASE("what is thrown need not be an exception") {
  const auto registry = registry_with_self_metrics();
  TestCollector bad({{.name = "bad"}}, [](quipu::Samples&) { throw 5; });
  const auto registration = registry.add(bad);
  CHECK(page::value(registry, "bad") == page::absent);
  CHECK(errors(registry) == "1");
}

TEST_CASE("a family that was not described, or has another number of labels, is refused when it is added") {
  const auto registry = registry_with_self_metrics();
  std::string undescribed;
  std::string too_many;
  std::string too_few;
  const auto message = [](auto call) -> std::string {
    try {
      call();
    } catch (const quipu::CollectorError& error) {
      return error.what();
    }
    return "(nothing was refused)";
  };
  TestCollector collector({{.name = "a", .labels = {"x", "y"}}}, [&](quipu::Samples& samples) {
    undescribed = message([&] { samples.add("b", 1.0); });
    too_many = message([&] { samples.add("a", {"1", "2", "3"}, 1.0); });
    too_few = message([&] { samples.add("a", 1.0); });
    samples.add("a", {"1", "2"}, 1.0);
  });
  const auto registration = registry.add(collector);
  CHECK(page::value(registry, R"(a{x="1",y="2"})") == "1");
  CHECK(missing(undescribed, {"\"b\"", "was not described"}) == "");
  CHECK(missing(too_many, {"\"a\"", "has 2 labels, not 3"}) == "");
  CHECK(missing(too_few, {"\"a\"", "has 2 labels, not 0"}) == "");

  TestCollector careless({{.name = "c"}}, [](quipu::Samples& samples) {
    samples.add("c", 1.0);
    samples.add("d", 1.0);
  });
  const auto other = registry.add(careless);
  CHECK(page::value(registry, "c") == page::absent);
  CHECK(errors(registry) == "1");
}

TEST_CASE("of a series that is added twice the first value counts") {
  const auto registry = registry_with_self_metrics();
  TestCollector collector({{.name = "a", .labels = {"x"}}}, [](quipu::Samples& samples) {
    samples.add("a", {"1"}, 1.0);
    samples.add("a", {"2"}, 2.0);
    samples.add("a", {"1"}, 3.0);
    samples.add("a", {"\xFF"}, 4.0);
    samples.add("a", {"\xFE"}, 5.0);  // the same, as valid text
  });
  const auto registration = registry.add(collector);
  const std::string body = page::body(registry);
  CHECK(missing(body, {"# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\na{x=\"\xEF\xBF\xBD\"} 4\n#"}) == "");
  CHECK(errors(registry, "duplicate") == "2");
}

TEST_CASE("two collectors may share a family") {
  const auto registry = registry_with_self_metrics();
  const std::vector<quipu::FamilyDescription> shared = {{.name = "a", .help = "A.", .labels = {"x"}}};
  TestCollector one(shared, [](quipu::Samples& samples) {
    samples.add("a", {"1"}, 1.0);
    samples.add("a", {"both"}, 10.0);
  });
  TestCollector two(shared, [](quipu::Samples& samples) {
    samples.add("a", {"both"}, 20.0);
    samples.add("a", {"2"}, 2.0);
  });
  auto first = registry.add(one);
  const auto second = registry.add(two);
  CHECK(missing(page::body(registry),
                {"# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"both\"} 10\na{x=\"2\"} 2\n#"}) == "");
  CHECK(errors(registry, "duplicate") == "1");
  first.end();
  CHECK(missing(page::body(registry), {"# HELP a A.\n# TYPE a gauge\na{x=\"both\"} 20\na{x=\"2\"} 2\n#"}) == "");
}

TEST_CASE("a collector's families are checked as others are") {
  const auto registry = page::empty_registry({.const_labels = {{"env", "test"}}});
  static_cast<void>(registry.counter({.name = "taken_total", .help = "T."}));
  const auto refused = [&](std::vector<quipu::FamilyDescription> families) {
    TestCollector collector(std::move(families), [](quipu::Samples&) {});
    return refusal([&] { static_cast<void>(registry.add(collector)); });
  };
  CHECK(missing(refused({{.name = "a-b"}}), {"cannot register gauge a-b", "[a-zA-Z_:][a-zA-Z0-9_:]*"}) == "");
  CHECK(missing(refused({{.name = "a", .labels = {"x-y"}}}), {"label \"x-y\""}) == "");
  CHECK(missing(refused({{.name = "a", .labels = {"__x"}}}), {"label \"__x\""}) == "");
  CHECK(missing(refused({{.name = "a", .labels = {"x", "x"}}}), {"label \"x\" is given twice"}) == "");
  CHECK(missing(refused({{.name = "a", .labels = {"env"}}}), {"label \"env\" is a const label"}) == "");
  CHECK(missing(refused({{.name = "a", .unit = "bytes"}}), {"its name ends in _bytes"}) == "");
  CHECK(missing(refused({{.name = "a", .type = MetricType::histogram, .labels = {"le"}}}), {"label \"le\""}) == "");
  CHECK(missing(refused({{.name = "a", .type = MetricType::summary, .labels = {"quantile"}}}), {"quantile"}) == "");
  CHECK(missing(refused({{.name = "a", .type = MetricType::info}}), {"ends in _info"}) == "");
  CHECK(missing(refused({{.name = "taken_total", .help = "T.", .type = MetricType::counter}}),
                {"is taken by counter taken_total{env=\"test\"} \"T.\""}) == "");
  CHECK(missing(refused({{.name = "taken"}}), {"cannot register gauge taken", "counter taken_total"}) == "");
  CHECK(missing(refused({{.name = "a"}, {.name = "a"}}), {"cannot register gauge a"}) == "");
  CHECK(missing(refused({{.name = "a"}, {.name = "b"}, {.name = "taken"}}), {"cannot register gauge taken"}) == "");

  // Nothing is left of what was refused: the names are free.
  TestCollector collector({{.name = "a"}, {.name = "b"}}, [](quipu::Samples& samples) { samples.add("b", 1.0); });
  const auto registration = registry.add(collector);
  CHECK(page::value(registry, R"(b{env="test"})") == "1");
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge({.name = "b"})); }),
                {"cannot register gauge b", "is taken by gauge b", "read by a collector"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.histogram({.name = "c"})); }), {"nothing was refused"}) == "");
  CHECK(missing(refused({{.name = "c_sum"}}), {"cannot register gauge c_sum", "histogram c"}) == "");
}

TEST_CASE("a callback is read at each scrape") {
  const auto registry = page::empty_registry();
  double level = 1.5;
  int total = 7;
  const auto gauge = registry.gauge_callback({.name = "level", .help = "Level."}, [&] { return level; });
  const auto counter = registry.counter_callback({.name = "things_total"}, [&] { return total; });
  CHECK(page::body(registry) ==
        "# HELP level Level.\n# TYPE level gauge\nlevel 1.5\n# TYPE things_total counter\nthings_total 7\n");
  level = -2;
  total = 8;
  CHECK(page::value(registry, "level") == "-2");
  CHECK(page::value(registry, "things_total") == "8");
}

TEST_CASE("callbacks with different label values share a family") {
  const auto registry = page::empty_registry();
  const std::string shard = "one \"1\"";
  const auto one = registry.gauge_callback({.name = "size"}, {{"shard", shard}}, [] { return 1; });
  const auto two = registry.gauge_callback({.name = "size"}, {{"shard", "two"}}, [] { return 2; });
  CHECK(page::body(registry) == "# TYPE size gauge\nsize{shard=\"one \\\"1\\\"\"} 1\nsize{shard=\"two\"} 2\n");
  CHECK(missing(refusal([&] {
                  static_cast<void>(registry.gauge_callback({.name = "size"}, {{"shard", "two"}}, [] { return 3; }));
                }),
                {"cannot register gauge size{shard text}", "a callback with the same label values"}) == "");
  CHECK(missing(refusal([&] {
                  static_cast<void>(registry.gauge_callback({.name = "size"}, {{"other", "two"}}, [] { return 3; }));
                }),
                {"cannot register gauge size{other text}", "is taken by gauge size{shard text}"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(registry.gauge_callback({.name = "size"}, [] { return 3; })); }),
                {"is taken by gauge size{shard text}"}) == "");
  CHECK(page::samples(registry).size() == 2);
}

TEST_CASE("a callback that throws costs its own series only, and is counted") {
  const auto registry = registry_with_self_metrics();
  const auto bad = registry.gauge_callback({.name = "size"}, {{"n", "1"}}, []() -> double { throw 1; });
  const auto good = registry.gauge_callback({.name = "size"}, {{"n", "2"}}, [] { return 2; });
  const auto body = page::body(registry);
  CHECK(missing(body, {"# TYPE size gauge\nsize{n=\"2\"} 2\n"}) == "");
  CHECK(body.find("n=\"1\"") == std::string::npos);
  CHECK(errors(registry) == "1");
}

TEST_CASE("a registration that ends takes its series off the page and frees the name") {
  const auto registry = page::empty_registry();
  {
    const auto callback = registry.gauge_callback({.name = "x"}, [] { return 1; });
    CHECK(page::value(registry, "x") == "1");
    CHECK_THROWS_AS(registry.counter({.name = "x_total"}), quipu::RegistrationError);
  }
  CHECK(page::body(registry).empty());
  registry.counter({.name = "x_total"}).inc();  // takes the name x too
  CHECK(page::samples(registry) == Lines{"x_total 1"});

  auto one = registry.gauge_callback({.name = "y"}, {{"n", "1"}}, [] { return 1; });
  auto two = registry.gauge_callback({.name = "y"}, {{"n", "2"}}, [] { return 2; });
  one.end();
  one.end();
  CHECK(page::samples(registry) == Lines{"x_total 1", R"(y{n="2"} 2)"});
  const auto again = registry.gauge_callback({.name = "y"}, {{"n", "1"}}, [] { return 3; });
  CHECK(page::value(registry, R"(y{n="1"})") == "3");
  two.end();
  CHECK_THROWS_AS(registry.gauge({.name = "y"}), quipu::RegistrationError);
}

TEST_CASE("a registration that is moved stays") {
  const auto registry = page::empty_registry();
  quipu::Registration kept;
  kept.end();
  {
    auto made = registry.gauge_callback({.name = "x"}, [] { return 1; });
    kept = std::move(made);
  }
  CHECK(page::value(registry, "x") == "1");
  auto other = registry.gauge_callback({.name = "y"}, [] { return 2; });
  kept = std::move(other);  // x ends
  CHECK(page::samples(registry) == Lines{"y 2"});
  auto& same = kept;
  kept = std::move(same);
  CHECK(page::samples(registry) == Lines{"y 2"});
  const quipu::Registration constructed(std::move(kept));
  CHECK(page::samples(registry) == Lines{"y 2"});
}

TEST_CASE("a registration outlives its registry") {
  std::optional<quipu::Registration> callback;
  std::optional<quipu::Registration> added;
  TestCollector collector({{.name = "a"}}, [](quipu::Samples&) {});
  const auto witness = std::make_shared<int>(1);
  {
    const auto registry = page::empty_registry();
    callback.emplace(registry.gauge_callback({.name = "x"}, [witness] { return *witness; }));
    added.emplace(registry.add(collector));
  }
  callback->end();
  added.reset();
  callback.reset();
  CHECK(witness.use_count() == 1);
}

TEST_CASE("a collector that is given to its registration lives as long as that") {
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  auto collector = std::make_shared<TestCollector>(std::vector<quipu::FamilyDescription>{{.name = "x"}},
                                                   [](quipu::Samples& samples) { samples.add("x", 1.0); });
  const std::weak_ptr<TestCollector> life = collector;
  auto registration = registry.subsystem("part").add(std::move(collector));
  CHECK(page::value(registry, "part_x") == "1");
  CHECK_FALSE(life.expired());
  registration.end();
  CHECK(life.expired());
}

TEST_CASE("what a callback holds goes with its registration") {
  const auto registry = page::empty_registry();
  const auto witness = std::make_shared<int>(5);
  {
    const auto callback = registry.gauge_callback({.name = "x"}, [witness] { return *witness; });
    CHECK(page::value(registry, "x") == "5");
    CHECK(witness.use_count() == 2);
  }
  CHECK(witness.use_count() == 1);
}

TEST_CASE("a registration keeps a collector that it was given") {
  const auto registry = page::empty_registry();
  auto collector = std::make_shared<TestCollector>(std::vector<quipu::FamilyDescription>{{.name = "a"}},
                                                   [](quipu::Samples& samples) { samples.add("a", 1.0); });
  const std::weak_ptr<TestCollector> observer = collector;
  auto registration = registry.add(std::move(collector));
  CHECK(page::value(registry, "a") == "1");
  registration.end();
  CHECK(observer.expired());
  CHECK(page::body(registry).empty());
  CHECK_THROWS_AS(registry.add(std::shared_ptr<TestCollector>()), quipu::RegistrationError);
}

TEST_CASE("the end of a registration waits for a call that is being made") {
  const auto registry = page::empty_registry();
  std::atomic<bool> is_inside{false};
  std::atomic<bool> may_go{false};
  std::atomic<bool> has_left{false};
  std::atomic<bool> had_left_at_the_end{false};
  std::atomic<bool> has_ended{false};
  auto callback = registry.gauge_callback({.name = "x"}, [&] {
    is_inside = true;
    wait_for(may_go);
    has_left = true;
    return 1;
  });
  std::thread scraper([&] { static_cast<void>(page::body(registry)); });
  wait_for(is_inside);
  std::thread ender([&] {
    callback.end();
    had_left_at_the_end = has_left.load();
    has_ended = true;
  });
  std::this_thread::sleep_for(50ms);
  const bool ended_early = has_ended;
  may_go = true;
  scraper.join();
  ender.join();
  CHECK_FALSE(ended_early);
  CHECK(had_left_at_the_end);
  CHECK(page::body(registry).empty());
}

TEST_CASE("a registration may end inside its own callback") {
  const auto registry = page::empty_registry();
  quipu::Registration callback;
  int calls = 0;
  callback = registry.gauge_callback({.name = "x"}, [&] {
    ++calls;
    callback.end();
    return 1;
  });
  static_cast<void>(page::body(registry));
  CHECK(page::body(registry).empty());
  CHECK(calls == 1);
  static_cast<void>(registry.gauge({.name = "x"}));  // the name is free
}

TEST_CASE("a registration may end inside another callback") {
  const auto registry = page::empty_registry();
  quipu::Registration second;
  const auto first = registry.gauge_callback({.name = "a"}, [&] {
    second.end();
    return 1;
  });
  second = registry.gauge_callback({.name = "b"}, [] { return 2; });
  CHECK(page::samples(registry) == Lines{"a 1"});
}

TEST_CASE("a callback may register and record in its registry") {
  const auto registry = page::empty_registry();
  std::vector<quipu::Registration> made;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    registry.counter({.name = "calls_total"}).inc();
    registry.gauge({.name = "labelled"}, {"n"})("1").set(5);
    if (made.empty()) made.push_back(registry.gauge_callback({.name = "later"}, [] { return 3; }));
    return 1;
  });
  // What is recorded during the scrape is on its page; a callback that is added then is on the next.
  CHECK(page::samples(registry) == Lines{"calls_total 1", R"(labelled{n="1"} 5)", "x 1"});
  CHECK(page::samples(registry) == Lines{"calls_total 2", R"(labelled{n="1"} 5)", "later 3", "x 1"});
}

TEST_CASE("several scrapes may be inside one callback") {
  const auto registry = page::empty_registry();
  std::atomic<int> inside{0};
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    ++inside;
    while (inside.load() < 2) std::this_thread::yield();  // both meet here
    return 1;
  });
  std::string first;
  std::thread other([&] { first = page::body(registry); });
  const std::string second = page::body(registry);
  other.join();
  CHECK(first == "# TYPE x gauge\nx 1\n");
  CHECK(second == first);
}

TEST_CASE("what a callback holds goes with its registration, though a scrape is being made") {
  const auto registry = page::empty_registry();
  const auto witness = std::make_shared<int>(5);
  auto callback = registry.gauge_callback({.name = "x"}, [witness] { return *witness; });
  Hanging hanging(registry, "y");
  std::thread scraper([&] { static_cast<void>(page::body(registry)); });
  const bool has_come = soon([&] { return hanging.calls() == 1; });
  callback.end();
  const auto holders = witness.use_count();
  hanging.let_go();
  scraper.join();
  CHECK(has_come);
  CHECK(holders == 1);
}

// With a deadline.

TEST_CASE("without a deadline collectors are asked on the calling thread, with one on a thread of the registry") {
  REQUIRE(soon([] { return helpers() == 0; }));  // those of other registries have left
  {
    const auto registry = page::empty_registry();
    std::vector<std::thread::id> threads;
    std::vector<quipu::Registration> callbacks;
    for (int i = 0; i < 20; ++i) {
      callbacks.push_back(registry.gauge_callback({.name = quipu::runtime("x" + std::to_string(i))}, [&] {
        threads.push_back(std::this_thread::get_id());
        return 1;
      }));
    }
    static_cast<void>(page::body(registry));
    CHECK(threads == std::vector<std::thread::id>(20, std::this_thread::get_id()));
    CHECK(helpers() == 0);

    threads.clear();
    CHECK(samples_within(registry, plenty).size() == 20);
    REQUIRE(threads.size() == 20);
    CHECK(threads[0] != std::this_thread::get_id());
    CHECK(threads == std::vector<std::thread::id>(20, threads[0]));

    const auto first = threads[0];
    threads.clear();
    // It may be on its way back to where it waits, and then another one is asked.
    CHECK(soon([&] {
      threads.clear();
      CHECK(samples_within(registry, plenty).size() == 20);
      return threads[0] == first;
    }));
    CHECK(helpers() <= 3);
  }
  CHECK(soon([] { return helpers() == 0; }));
}

TEST_CASE("a collector that hangs costs its own families only, and is counted as a timeout") {
  const auto registry = registry_with_self_metrics();
  Hanging hanging(registry, "a_hanging");
  const auto good = registry.gauge_callback({.name = "b_good"}, [] { return 2; });
  registry.counter({.name = "own_total"}).inc();
  const auto begin = Clock::now();
  const auto body = body_within(registry, 1s);
  CHECK(Clock::now() - begin >= 1s);
  CHECK(Clock::now() - begin < plenty);
  CHECK(page::value(body, "a_hanging") == page::absent);
  CHECK(page::value(body, "b_good") == "2");
  CHECK(page::value(body, "own_total") == "1");
  CHECK(timeouts_in(body) == "0");  // of the pages before

  const auto next = body_within(registry, 900ms);
  CHECK(page::value(next, "b_good") == "2");
  CHECK(timeouts_in(next) == "1");
}

TEST_CASE("a collector that hangs is skipped and takes one thread, until it comes back") {
  const auto registry = registry_with_self_metrics();
  Hanging hanging(registry, "a_hanging");
  const auto good = registry.gauge_callback({.name = "b_good"}, [] { return 2; });
  REQUIRE(soon([] { return helpers() == 0; }));  // those of other registries have left
  static_cast<void>(body_within(registry, 1s));
  CHECK(hanging.calls() == 1);
  // From now on it has been asked for longer than these scrapes have time.
  const auto begin = Clock::now();
  for (int scrape = 1; scrape <= 20; ++scrape) {
    const auto body = body_within(registry, 900ms);
    CHECK(page::value(body, "a_hanging") == page::absent);
    CHECK(page::value(body, "b_good") == "2");
    CHECK(timeouts_in(body) == std::to_string(scrape));
  }
  CHECK(Clock::now() - begin < 9s);
  CHECK(hanging.calls() == 1);
  CHECK(helpers() <= 3);  // the one that hangs, and those that others need

  hanging.let_go();
  CHECK(soon([&] { return page::value(body_within(registry, plenty), "a_hanging") == "1"; }));
  CHECK(hanging.calls() == 2);
  const auto counted = timeouts_in(body_within(registry, plenty));
  CHECK(timeouts_in(body_within(registry, plenty)) == counted);
}

TEST_CASE("without a deadline a collector that hangs in another scrape is asked") {
  const auto registry = page::empty_registry();
  std::atomic<int> calls{0};
  Gate gate;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    if (++calls == 1) gate.pass();
    return 1;
  });
  give_up(registry, [&] { return calls > 0; });
  CHECK(body_within(registry, 1ms).empty());
  CHECK(page::value(registry, "x") == "1");
  CHECK(calls == 2);
  gate.open();
}

TEST_CASE("a slow collector that makes the deadline is on the page") {
  const auto registry = registry_with_self_metrics();
  const auto slow = registry.gauge_callback({.name = "a"}, [] {
    std::this_thread::sleep_for(250ms);
    return 1;
  });
  const auto next = registry.gauge_callback({.name = "b"}, [] { return 2; });
  const auto body = body_within(registry, plenty);
  CHECK(page::value(body, "a") == "1");
  CHECK(page::value(body, "b") == "2");
  CHECK(timeouts_in(body_within(registry, plenty)) == "0");
}

TEST_CASE("a slow collector does not keep those after it waiting for more than a moment") {
  const auto registry = page::empty_registry();
  Gate gate;  // nobody passes it until the last one was asked
  std::vector<quipu::Registration> callbacks;
  for (const char* name : {"a", "b", "c"}) {
    callbacks.push_back(registry.gauge_callback({.name = quipu::runtime(name)}, [&] {
      gate.pass();
      return 1;
    }));
  }
  callbacks.push_back(registry.gauge_callback({.name = "d"}, [&] {
    gate.open();
    return 2;
  }));
  const auto begin = Clock::now();
  CHECK(samples_within(registry, plenty) == Lines{"a 1", "b 1", "c 1", "d 2"});
  const auto took = Clock::now() - begin;
  CHECK(took >= 300ms);  // 100 ms for each
  CHECK(took < plenty / 2);
}

TEST_CASE("what is not asked by the deadline is counted as a timeout") {
  const auto registry = registry_with_self_metrics();
  std::atomic<int> calls{0};
  std::vector<quipu::Registration> callbacks;
  for (const char* name : {"a", "b"}) {
    callbacks.push_back(registry.gauge_callback({.name = quipu::runtime(name)}, [&] { return ++calls; }));
  }
  const auto body = body_within(registry, -1s);
  CHECK(page::value(body, "a") == page::absent);
  CHECK(timeouts_in(body) == "0");
  CHECK(calls == 0);
  CHECK(timeouts_in(body_within(registry, plenty)) == "2");
  CHECK(calls == 2);
}

TEST_CASE("what a collector throws within a deadline is counted") {
  const auto registry = registry_with_self_metrics();
  const auto bad = registry.gauge_callback({.name = "a"}, []() -> double { throw std::runtime_error("no"); });
  const auto worse = registry.gauge_callback({.name = "b"}, []() -> double { throw 5; });
  const auto good = registry.gauge_callback({.name = "c"}, [] { return 3; });
  const auto body = body_within(registry, plenty);
  CHECK(page::value(body, "a") == page::absent);
  CHECK(page::value(body, "b") == page::absent);
  CHECK(page::value(body, "c") == "3");
  const auto next = body_within(registry, plenty);
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="a",reason="exception"})") == "1");
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="b",reason="exception"})") == "1");
  CHECK(page::value(next, R"(quipu_collector_errors_total{collector="c",reason="exception"})") == "0");
  CHECK(timeouts_in(next) == "0");
}

TEST_CASE("what a collector throws after the deadline is a timeout, and nothing else") {
  const auto registry = registry_with_self_metrics();
  const std::vector<std::string> own_errors = {"quipu_collector_errors_total"};  // such a page calls no other collector
  Gate gate;
  std::atomic<bool> has_thrown{false};
  auto bad = registry.gauge_callback({.name = "a"}, [&]() -> double {
    gate.pass();
    has_thrown = true;
    throw 5;
  });
  const int scrapes = give_up(registry, [&] { return gate.entered() > 0; });
  gate.open();
  REQUIRE(soon([&] { return has_thrown.load(); }));
  CHECK(soon([&] { return gate.passed() == gate.entered(); }));
  const auto next = quipu::render(registry, {.families = own_errors}).body;
  CHECK(page::collector_errors(next, "exception") == 0);
  CHECK(timeouts_in(next) == std::to_string(scrapes));
  bad.end();
}

TEST_CASE("within a deadline a registration may end inside its own callback") {
  const auto registry = page::empty_registry();
  quipu::Registration callback;
  int calls = 0;
  callback = registry.gauge_callback({.name = "x"}, [&] {
    ++calls;
    callback.end();
    return 1;
  });
  static_cast<void>(body_within(registry, plenty));
  CHECK(body_within(registry, plenty).empty());
  CHECK(calls == 1);
}

TEST_CASE("within a deadline a registration may end inside another callback") {
  const auto registry = page::empty_registry();
  quipu::Registration first;
  quipu::Registration third;
  first = registry.gauge_callback({.name = "a"}, [] { return 1; });
  const auto second = registry.gauge_callback({.name = "b"}, [&] {
    first.end();
    third.end();
    return 2;
  });
  third = registry.gauge_callback({.name = "c"}, [] { return 3; });
  CHECK(samples_within(registry, plenty) == Lines{"b 2"});
}

TEST_CASE("within a deadline a callback may register and record in its registry") {
  const auto registry = page::empty_registry();
  std::vector<quipu::Registration> made;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    registry.counter({.name = "calls_total"}).inc();
    if (made.empty()) made.push_back(registry.gauge_callback({.name = "later"}, [] { return 3; }));
    return 1;
  });
  CHECK(samples_within(registry, plenty) == Lines{"calls_total 1", "x 1"});
  CHECK(samples_within(registry, plenty) == Lines{"calls_total 2", "later 3", "x 1"});
}

TEST_CASE("a callback may scrape its registry, with a deadline and without") {
  const auto registry = page::empty_registry();
  int depth = 0;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    if (depth > 0) return depth;
    ++depth;
    const auto size = samples_within(registry, plenty).size() + page::samples(registry).size();
    --depth;
    return static_cast<int>(size) * 10;
  });
  const auto other = registry.gauge_callback({.name = "y"}, [] { return 1; });
  CHECK(samples_within(registry, plenty) == Lines{"x 40", "y 1"});
  CHECK(page::samples(registry) == Lines{"x 40", "y 1"});
}

TEST_CASE("the end of a registration waits for a call that a scrape has given up") {
  const auto registry = page::empty_registry();
  Gate gate;
  std::atomic<bool> has_left{false};
  const auto witness = std::make_shared<int>(1);
  auto callback = registry.gauge_callback({.name = "x"}, [&, witness] {
    gate.pass();
    has_left = true;
    return *witness;
  });
  give_up(registry, [&] { return gate.entered() > 0; });
  std::thread opener([&] {
    std::this_thread::sleep_for(50ms);
    gate.open();
  });
  callback.end();
  CHECK(has_left);
  CHECK(witness.use_count() == 1);
  opener.join();
}

TEST_CASE("a registry can go while a collector hangs") {
  REQUIRE(soon([] { return helpers() == 0; }));  // those of other registries have left
  Gate gate;
  std::optional<quipu::Registration> callback;
  {
    const auto registry = page::empty_registry();
    callback.emplace(registry.gauge_callback({.name = "x"}, [&] {
      gate.pass();
      return 1;
    }));
    give_up(registry, [&] { return gate.entered() > 0; });
  }
  CHECK(soon([] { return helpers() == 1; }));
  gate.open();
  callback.reset();
  CHECK(soon([] { return helpers() == 0; }));
}

TEST_CASE("a registry can go with a callback that holds it, on the thread where it was asked") {
  struct Held {
    std::optional<quipu::Registry> registry{page::empty_registry()};
    quipu::Registration registration;
    Gate gate;
  };
  REQUIRE(soon([] { return helpers() == 0; }));  // those of other registries have left
  auto held = std::make_shared<Held>();
  const std::weak_ptr<Held> witness = held;
  held->registration = held->registry->gauge_callback({.name = "x"}, [held] {
    held->gate.pass();
    held->registration.end();
    return 1;
  });
  give_up(*held->registry, [&] { return held->gate.entered() > 0; });
  held->gate.open();
  held.reset();
  CHECK(soon([&] { return witness.expired(); }));
  CHECK(soon([] { return helpers() == 0; }));
}

TEST_CASE("several scrapes with a deadline may be inside callbacks, and few of their threads stay") {
  constexpr int scrapes = 6;
  REQUIRE(soon([] { return helpers() == 0; }));  // those of other registries have left
  const auto registry = page::empty_registry();
  std::atomic<int> inside{0};
  std::vector<quipu::Registration> callbacks;
  for (int i = 0; i < scrapes; ++i) {
    callbacks.push_back(registry.gauge_callback({.name = quipu::runtime("x" + std::to_string(i))}, [&] {
      ++inside;
      while (inside.load() < scrapes) std::this_thread::yield();  // all meet here
      return 1;
    }));
  }
  std::vector<std::thread> others;
  std::atomic<int> complete{0};
  for (int i = 0; i < scrapes; ++i) {
    others.emplace_back([&, names = std::vector{"x" + std::to_string(i)}] {
      const auto page = quipu::render(registry, {.families = names, .deadline = Clock::now() + plenty});
      if (page::samples(page.body) == Lines{names[0] + " 1"}) ++complete;
    });
  }
  for (std::thread& other : others) other.join();
  CHECK(complete == scrapes);
  CHECK(soon([] { return helpers() == 3; }));
}

TEST_CASE("scrapes with short deadlines go on while registrations come and go") {
  const auto registry = page::empty_registry();
  const auto slow = registry.gauge_callback({.name = "slow"}, [] {
    std::this_thread::sleep_for(2ms);
    return 1;
  });
  const auto quick = registry.gauge_callback({.name = "quick"}, [] { return 2; });
  std::atomic<bool> is_over{false};
  std::thread registrar([&] {
    while (!is_over) {
      std::vector<int> used(10, 3);
      const auto callback = registry.gauge_callback({.name = "come_and_go"}, [&used] { return used.back(); });
      std::this_thread::sleep_for(500us);
    }
  });
  std::vector<std::thread> scrapers;
  std::atomic<int> with_slow{0};
  for (int i = 0; i < 3; ++i) {
    scrapers.emplace_back([&] {
      for (int n = 0; n < 100; ++n) {
        const auto body = body_within(registry, n % 10 == 0 ? Clock::duration(plenty) : n * 50us);
        if (page::value(body, "slow") == "1") ++with_slow;
      }
    });
  }
  for (std::thread& scraper : scrapers) scraper.join();
  is_over = true;
  registrar.join();
  CHECK(with_slow > 0);
}

TEST_CASE("the program's signals do not come to a thread on which a collector is asked") {
  const auto registry = page::empty_registry();
  sigset_t blocked;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    return 1;
  });
  CHECK(samples_within(registry, plenty) == Lines{"x 1"});
  CHECK(::sigismember(&blocked, SIGTERM) == 1);
  CHECK(::sigismember(&blocked, SIGSEGV) == 0);
  sigset_t here;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &here);
  CHECK(::sigismember(&here, SIGTERM) == 0);
}

TEST_CASE("a forked child scrapes with a deadline, and does not wait for its parent's calls") {
  if (is_thread_sanitized) return;
  const auto registry = page::empty_registry();
  Hanging hanging(registry, "a");
  const auto good = registry.gauge_callback({.name = "b"}, [] { return 2; });
  CHECK(samples_within(registry, 1s) == Lines{"b 2"});
  CHECK(hanging.calls() == 1);
  CHECK(in_child([&] {
    // Here nobody is inside of it any more, and there is no thread that waits to be asked.
    hanging.let_go();
    bool is_good = samples_within(registry, plenty) == Lines{"a 1", "b 2"};
    is_good = samples_within(registry, plenty) == Lines{"a 1", "b 2"} && is_good;
    hanging.end();
    return samples_within(registry, plenty) == Lines{"b 2"} && is_good;
  }));
  CHECK(in_child([&] {
    hanging.end();
    return true;
  }));
  CHECK(in_child([] {
    // A registry that the child makes and destroys.
    const auto own = page::empty_registry();
    const auto callback = own.gauge_callback({.name = "x"}, [] { return 1; });
    return samples_within(own, plenty) == Lines{"x 1"};
  }));
  CHECK(samples_within(registry, 900ms) == Lines{"b 2"});
}

TEST_CASE("a forked child lets go of a registry whose threads are its parent's") {
  if (is_thread_sanitized) return;
  std::optional<quipu::Registry> registry(page::empty_registry());
  const auto callback = registry->gauge_callback({.name = "x"}, [] { return 1; });
  CHECK(samples_within(*registry, plenty) == Lines{"x 1"});
  CHECK(in_child([&] {
    registry.reset();
    return true;
  }));
  CHECK(samples_within(*registry, plenty) == Lines{"x 1"});
}

#ifdef __GLIBC__
TEST_CASE("when no thread can be started, the calling thread asks until the deadline") {
  const auto registry = page::empty_registry();
  std::vector<std::thread::id> threads;
  auto takes = 0ms;
  const auto first = registry.gauge_callback({.name = "a"}, [&] {
    threads.push_back(std::this_thread::get_id());
    std::this_thread::sleep_for(takes);
    return 1;
  });
  const auto second = registry.gauge_callback({.name = "b"}, [&] {
    threads.push_back(std::this_thread::get_id());
    return 2;
  });
  pthread_attr_t usual;
  REQUIRE(::pthread_getattr_default_np(&usual) == 0);
  pthread_attr_t impossible = usual;
  REQUIRE(::pthread_attr_setstacksize(&impossible, std::size_t{1} << 60) == 0);
  REQUIRE(::pthread_setattr_default_np(&impossible) == 0);
  const auto samples = samples_within(registry, plenty);
  takes = 400ms;
  const auto late_samples = samples_within(registry, 300ms);
  REQUIRE(::pthread_setattr_default_np(&usual) == 0);
  CHECK(samples == Lines{"a 1", "b 2"});
  CHECK(late_samples == Lines{"a 1"});
  CHECK(threads == std::vector<std::thread::id>(3, std::this_thread::get_id()));
}
#endif

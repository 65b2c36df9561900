#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/collector.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/process.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

// Scrapes with deadlines share the calls of collectors.

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;

/// A deadline that is not meant to come.
constexpr auto plenty = 60s;

std::string body_within(const quipu::Registry& registry, Clock::duration time) {
  return quipu::render(registry, {.deadline = Clock::now() + time}).body;
}

/// Opens a gate before registrations end that were made earlier.
struct OpensAtTheEnd {
  Gate& gate;
  ~OpensAtTheEnd() { gate.open(); }
};

/// A scrape on another thread.
class Scraper {
 public:
  Scraper(const quipu::Registry& registry, Clock::duration time)
      : thread_([this, &registry, time] {
          body_ = body_within(registry, time);
          is_done_ = true;
        }) {}
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;
  ~Scraper() {
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] bool is_done() const { return is_done_; }
  [[nodiscard]] const std::string& body() {
    if (thread_.joinable()) thread_.join();
    return body_;
  }

 private:
  std::string body_;
  std::atomic<bool> is_done_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a client with short timeouts does not take a slow collector off the pages of others") {
  const auto registry = page::empty_registry();
  std::atomic<int> calls{0};
  const auto slow = registry.gauge_callback({.name = "slow"}, [&] {
    ++calls;
    std::this_thread::sleep_for(100ms);
    return 1;
  });
  std::atomic<int> given_up{0};  // how many calls there had been when a page was given up
  std::atomic<bool> is_over{false};
  std::thread impatient([&] {
    while (!is_over) {
      static_cast<void>(body_within(registry, 5ms));
      given_up = calls.load();
    }
  });
  std::vector<Lines> pages;
  bool has_been_given_up = true;
  for (int i = 0; i < 5; ++i) {
    const int before = calls;
    has_been_given_up = soon([&] { return given_up > before; }) && has_been_given_up;
    pages.push_back(page::samples(body_within(registry, plenty)));
  }
  is_over = true;
  impatient.join();
  CHECK(has_been_given_up);
  CHECK(pages == std::vector<Lines>(5, {"slow 1"}));
}

TEST_CASE("a scrape that finds a call under way waits for the next one, which all share that wait") {
  const auto registry = page::empty_registry();
  Gate gate;
  std::atomic<int> calls{0};
  std::atomic<int> scrapes{0};
  const auto slow = registry.gauge_callback({.name = "a_slow"}, [&] {
    const int call = ++calls;
    if (call == 1) gate.pass();
    return call;
  });
  const OpensAtTheEnd end{gate};
  // It comes after the slow one: when it is asked, the scrape waits for that.
  const auto quick = registry.gauge_callback({.name = "b"}, [&] { return ++scrapes; });
  Scraper first(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 1; }));
  Scraper second(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 2; }));
  Scraper third(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 3; }));
  CHECK(calls == 1);
  CHECK_FALSE(first.is_done());
  gate.open();
  CHECK(page::value(first.body(), "a_slow") == "1");
  CHECK(page::value(second.body(), "a_slow") == "2");
  CHECK(page::value(third.body(), "a_slow") == "2");
  CHECK(calls == 2);
}

TEST_CASE("a scrape that has no time for the next call shows what the call before it found") {
  const auto registry = page::empty_registry();
  Gate first_gate;
  Gate second_gate;
  std::atomic<int> calls{0};
  std::atomic<int> scrapes{0};
  auto slow = registry.gauge_callback({.name = "a_slow"}, [&] {
    const int call = ++calls;
    (call == 1 ? first_gate : second_gate).pass();
    return call;
  });
  const OpensAtTheEnd first_end{first_gate};
  const OpensAtTheEnd second_end{second_gate};
  const auto quick = registry.gauge_callback({.name = "b"}, [&] { return ++scrapes; });
  Scraper first(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 1; }));
  Scraper second(registry, 1s);
  REQUIRE(soon([&] { return scrapes == 2; }));
  first_gate.open();
  CHECK(page::value(second.body(), "a_slow") == "1");
  CHECK(page::value(first.body(), "a_slow") == "1");
  CHECK(calls == 2);
}

TEST_CASE("what a call finds that counted as hung is shown if it comes in time") {
  const auto registry = page::empty_registry();
  Gate hanging_gate;
  Gate slow_gate;
  auto hanging = registry.gauge_callback({.name = "a_hanging"}, [&] {
    hanging_gate.pass();
    return 1;
  });
  auto slow = registry.gauge_callback({.name = "b_slow"}, [&] {
    slow_gate.pass();
    return 2;
  });
  const OpensAtTheEnd hanging_end{hanging_gate};
  const OpensAtTheEnd slow_end{slow_gate};
  const std::vector<std::string> only_hanging = {"a_hanging"};
  const auto hanging_within = [&](Clock::duration time) {
    return page::samples(quipu::render(registry, {.families = only_hanging, .deadline = Clock::now() + time}).body);
  };
  // Until it has been asked for longer than the next scrape has time.
  for (const auto begin = Clock::now(); hanging_gate.entered() == 0 || Clock::now() - begin < 1s;) {
    static_cast<void>(hanging_within(50ms));
  }
  Scraper scraper(registry, 1s);
  REQUIRE(soon([&] { return slow_gate.entered() == 1; }));
  hanging_gate.open();
  REQUIRE(soon([&] { return hanging_within(plenty) == Lines{"a_hanging 1"}; }));
  slow_gate.open();
  CHECK(page::samples(scraper.body()) == Lines{"a_hanging 1", "b_slow 2"});
}

TEST_CASE("pages show what happened before their scrapes began, whatever other scrapes come") {
  const auto registry = page::empty_registry();
  std::atomic<int> state{0};
  std::atomic<int> inside{0};
  std::atomic<int> most_inside{0};
  const auto callback = registry.gauge_callback({.name = "state"}, [&] {
    if (++inside > 1) most_inside = 2;
    const int read = state;
    std::this_thread::sleep_for(2ms);
    --inside;
    return read;
  });
  std::atomic<bool> is_over{false};
  std::atomic<int> too_old{0};
  std::vector<std::thread> impatient;
  for (const auto time : {200us, 3000us}) {
    impatient.emplace_back([&, time] {
      while (!is_over) static_cast<void>(body_within(registry, time));
    });
  }
  std::vector<std::thread> patient;
  for (int i = 0; i < 3; ++i) {
    patient.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        const int before = ++state;
        const auto shown = page::value(body_within(registry, plenty), "state");
        if (shown == page::absent || std::stoi(shown) < before) ++too_old;
      }
    });
  }
  for (std::thread& thread : patient) thread.join();
  is_over = true;
  for (std::thread& thread : impatient) thread.join();
  CHECK(too_old == 0);
  CHECK(most_inside == 0);  // never two calls at a time
}

TEST_CASE("a call that throws is an exception on each page that waits for it") {
  const quipu::Registry registry({.process_metrics = false});
  Gate gate;
  std::atomic<int> calls{0};
  std::atomic<int> scrapes{0};
  const auto bad = registry.gauge_callback({.name = "a_bad"}, [&]() -> double {
    if (++calls == 1) gate.pass();
    throw std::runtime_error("no");
  });
  const OpensAtTheEnd end{gate};
  const auto quick = registry.gauge_callback({.name = "b"}, [&] { return ++scrapes; });
  Scraper first(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 1; }));
  Scraper second(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 2; }));
  gate.open();
  CHECK(page::value(first.body(), "a_bad") == page::absent);
  CHECK(page::value(second.body(), "a_bad") == page::absent);
  CHECK(calls == 2);
  CHECK(page::value(registry, R"(quipu_collector_errors_total{collector="a_bad",reason="exception"})") == "2");
}

TEST_CASE("a registration may end while scrapes wait for the next call") {
  const auto registry = page::empty_registry();
  Gate gate;
  std::atomic<int> scrapes{0};
  auto slow = registry.gauge_callback({.name = "a_slow"}, [&] {
    gate.pass();
    return 1;
  });
  const OpensAtTheEnd end{gate};
  const auto quick = registry.gauge_callback({.name = "b"}, [&] { return ++scrapes; });
  Scraper first(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 1; }));
  Scraper second(registry, plenty);
  REQUIRE(soon([&] { return scrapes == 2; }));
  std::thread ender([&] { slow.end(); });
  // Its name is free as soon as it has begun to end.
  REQUIRE(soon([&] {
    return page::refusal([&] { static_cast<void>(registry.gauge({.name = "a_slow"})); }) == "(nothing was refused)";
  }));
  gate.open();
  ender.join();
  CHECK(gate.entered() == 1);
  CHECK(page::samples(second.body()) == Lines{"a_slow 0", "b 2"});
  CHECK(page::samples(first.body()) == Lines{"a_slow 0", "b 1"});
}

TEST_CASE("a callback that waits for a scrape of its registry waits until the deadline of that") {
  const auto registry = page::empty_registry();
  Lines nested;
  const auto callback = registry.gauge_callback({.name = "x"}, [&] {
    std::thread([&] { nested = page::samples(body_within(registry, 300ms)); }).join();
    return 1;
  });
  const auto other = registry.gauge_callback({.name = "y"}, [] { return 2; });
  CHECK(page::samples(body_within(registry, plenty)) == Lines{"x 1", "y 2"});
  CHECK(nested == Lines{"y 2"});
}

TEST_CASE("when the system has no thread to give, the scrapes themselves make the calls that they share") {
  // The limit is the child's own, and holds for users other than root.
  if (::geteuid() != 0 || is_thread_sanitized) {
    WARN("skipped: this process is not root, or under the thread sanitizer");
    return;
  }
  CHECK(status_of_child([] {
          const auto registry = page::empty_registry();
          std::atomic<int> inside{0};
          std::atomic<int> overlaps{0};
          std::vector<quipu::Registration> callbacks;
          for (const char* const name : {"a", "b"}) {
            callbacks.push_back(registry.gauge_callback({.name = quipu::runtime(name)}, [&, name] {
              if (name[0] == 'a' && ++inside > 1) ++overlaps;
              std::this_thread::sleep_for(2ms);
              if (name[0] == 'a') --inside;
              return 1;
            }));
          }
          Gate gate;
          std::atomic<int> whole{0};
          std::vector<std::thread> scrapers;
          for (int i = 0; i < 3; ++i) {
            scrapers.emplace_back([&] {
              gate.pass();
              for (int n = 0; n < 20; ++n) {
                if (page::samples(body_within(registry, plenty)) == Lines{"a 1", "b 1"}) ++whole;
              }
            });
          }
          const rlimit none{1, 1};
          if (::setrlimit(RLIMIT_NPROC, &none) != 0 || ::setuid(54321) != 0) return 77;
          gate.open();
          for (std::thread& scraper : scrapers) scraper.join();
          if (threads_named("quipu-collect") > 0) return 1;
          if (overlaps != 0) return 2;
          return whole == 60 ? 0 : 3;
        }) == 0);
}

// Which collectors a page has.

namespace {

class TestCollector final : public quipu::Collector {
 public:
  explicit TestCollector(std::vector<quipu::FamilyDescription> families) : families_(std::move(families)) {}
  std::vector<quipu::FamilyDescription> describe() const override { return families_; }
  void collect(quipu::Samples& samples) override {
    samples.add(families_.at(0).name, 1.0);
    if (fails) throw 5;
  }
  bool fails = false;

 private:
  std::vector<quipu::FamilyDescription> families_;
};

/// The statuses on a page: those of its collectors, by their names.
Lines statuses(std::string_view body) {
  Lines found;
  for (std::string& line : page::samples(body)) {
    if (line.starts_with("quipu_collector_up{")) found.push_back(std::move(line));
  }
  return found;
}

}  // namespace

TEST_CASE("a page without collectors says nothing of them") {
  const quipu::Registry registry;
  CHECK(page::body(registry).find("quipu_collector_up") == std::string::npos);
}

TEST_CASE("a page says of each collector whether it is on this page") {
  const quipu::Registry registry({.prefix = "shop", .process_metrics = false});
  TestCollector unnamed({{.name = "first"}, {.name = "second"}});
  TestCollector named({{.name = "third"}});
  const auto one = registry.subsystem("db").add(unnamed);
  const auto two = registry.add(named, "pools \xFF");
  const auto callback = registry.gauge_callback({.name = "x"}, [] { return 1; });
  CHECK(statuses(page::body(registry)) == Lines{"quipu_collector_up{collector=\"pools \xEF\xBF\xBD\"} 1",
                                                R"(quipu_collector_up{collector="shop_db_first"} 1)",
                                                R"(quipu_collector_up{collector="shop_x"} 1)"});
  named.fails = true;
  const auto body = body_within(registry, plenty);
  CHECK(statuses(body) == Lines{"quipu_collector_up{collector=\"pools \xEF\xBF\xBD\"} 0",
                                R"(quipu_collector_up{collector="shop_db_first"} 1)",
                                R"(quipu_collector_up{collector="shop_x"} 1)"});
  CHECK(page::value(body, "shop_third") == page::absent);
  CHECK(page::value(body, "shop_db_first") == "1");
  CHECK(page::missing(body, {"# TYPE quipu_collector_up gauge\n"}) == "");
  // A page of some families is about the collectors that it asks.
  const std::vector<std::string> some = {"quipu_collector_up", "shop_x"};
  CHECK(statuses(quipu::render(registry, {.families = some}).body) ==
        Lines{R"(quipu_collector_up{collector="shop_x"} 1)"});
}

TEST_CASE("collectors of one name are on the page if all of them are") {
  const quipu::Registry registry({.process_metrics = false});
  bool fails = false;
  const auto one = registry.gauge_callback({.name = "size"}, {{"n", "1"}}, [] { return 1; });
  auto two = registry.gauge_callback({.name = "size"}, {{"n", "2"}}, [&] {
    if (fails) throw std::runtime_error("no");
    return 2;
  });
  CHECK(statuses(page::body(registry)) == Lines{R"(quipu_collector_up{collector="size"} 1)"});
  fails = true;
  CHECK(statuses(page::body(registry)) == Lines{R"(quipu_collector_up{collector="size"} 0)"});
  two.end();
  CHECK(statuses(page::body(registry)) == Lines{R"(quipu_collector_up{collector="size"} 1)"});
}

TEST_CASE("a page says that a collector was too slow for it, and the next one that it was not") {
  const quipu::Registry registry({.process_metrics = false});
  Gate gate;
  auto slow = registry.gauge_callback({.name = "slow"}, [&] {
    gate.pass();
    return 1;
  });
  CHECK(statuses(body_within(registry, 20ms)) == Lines{R"(quipu_collector_up{collector="slow"} 0)"});
  gate.open();
  CHECK(statuses(body_within(registry, plenty)) == Lines{R"(quipu_collector_up{collector="slow"} 1)"});
}

TEST_CASE("a collector that ends while the page is made has no status on it") {
  const quipu::Registry registry({.process_metrics = false});
  quipu::Registration itself;
  itself = registry.gauge_callback({.name = "x"}, [&] {
    itself.end();
    return 1;
  });
  CHECK(statuses(body_within(registry, plenty)).empty());
}

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
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

// Registrations that end inside calls. Each test would hang if two threads waited for each other: it fails then, and
// leaves the threads behind with all that they use.

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Lines = std::vector<std::string>;

/// Two callbacks that meet inside, and end each other then.
struct TwoThatEndEachOther {
  quipu::Registry registry = page::empty_registry();
  quipu::Registration a;
  quipu::Registration b;
  std::atomic<int> inside{0};
  std::atomic<int> done{0};

  double meet_and_end(quipu::Registration& other) {
    ++inside;
    while (inside < 2) std::this_thread::yield();
    other.end();
    return 1;
  }
};

constexpr int not_permitted = 77;  // the status of a child that could not do what is tested

void check_that_two_may_end_each_other(Clock::time_point deadline) {
  const auto both = std::make_shared<TwoThatEndEachOther>();
  both->a = both->registry.gauge_callback({.name = "a"}, [&both = *both] { return both.meet_and_end(both.b); });
  both->b = both->registry.gauge_callback({.name = "b"}, [&both = *both] { return both.meet_and_end(both.a); });
  for (const char* const name : {"a", "b"}) {
    std::thread([both, names = std::vector<std::string>{name}, deadline] {
      static_cast<void>(quipu::render(both->registry, {.families = names, .deadline = deadline}));
      ++both->done;
    }).detach();
  }
  REQUIRE(soon([&] { return both->done == 2; }));
  CHECK(page::body(both->registry).empty());
}

}  // namespace

TEST_CASE("two callbacks may end each other's registrations", "[ends]") {
  check_that_two_may_end_each_other(Clock::time_point::max());
}

TEST_CASE("two callbacks may end each other's registrations within a deadline", "[ends]") {
  check_that_two_may_end_each_other(Clock::now() + 1h);
}

TEST_CASE("an end waits for a call that is itself ending another one, and that call for the other", "[ends]") {
  const auto registry = page::empty_registry();
  Gate gate;
  std::atomic<bool> has_left_a{false};
  std::atomic<bool> has_left_b{false};
  std::atomic<bool> is_too_early{false};
  std::atomic<bool> is_ending_b{false};
  quipu::Registration b = registry.gauge_callback({.name = "b"}, [&] {
    gate.pass();
    has_left_b = true;
    return 1;
  });
  quipu::Registration a = registry.gauge_callback({.name = "a"}, [&] {
    is_ending_b = true;
    b.end();
    if (!has_left_b) is_too_early = true;
    has_left_a = true;
    return 1;
  });
  const auto scrape = [&](const char* name) {
    static_cast<void>(quipu::render(registry, {.families = std::vector<std::string>{name}}));
  };
  std::thread scrape_b([&] { scrape("b"); });
  const bool has_entered_b = soon([&] { return gate.entered() == 1; });
  std::thread scrape_a([&] { scrape("a"); });
  const bool has_entered_a = soon([&] { return is_ending_b.load(); });
  std::thread opener([&] {
    std::this_thread::sleep_for(50ms);
    gate.open();
  });
  a.end();
  const bool had_left_a = has_left_a;
  for (std::thread* const thread : {&scrape_a, &scrape_b, &opener}) thread->join();
  CHECK(has_entered_a);
  CHECK(has_entered_b);
  CHECK(had_left_a);
  CHECK_FALSE(is_too_early);
}

TEST_CASE("a forked child with the pid of its parent does not wait for its parent's threads and calls", "[fork]") {
  if (is_thread_sanitized) return;
  const auto registry = page::empty_registry();
  const auto in_new_pid_namespace = [](auto body) {
    // A process must not make threads between this and its fork.
    if (::unshare(CLONE_NEWPID) != 0) return not_permitted;
    return status_of_child([&] { return ::getpid() == 1 ? body() : not_permitted; });
  };
  const int status = status_of_child([&] {
    return in_new_pid_namespace([&] {
      Gate gate;
      std::atomic<bool> is_slow{true};
      auto hanging = registry.gauge_callback({.name = "a"}, [&] {
        if (is_slow) gate.pass();
        return 1;
      });
      const auto good = registry.gauge_callback({.name = "b"}, [] { return 2; });
      const auto samples = [&] {
        return page::samples(quipu::render(registry, {.deadline = Clock::now() + 10s}).body);
      };
      std::thread parent_scrape([&] { static_cast<void>(samples()); });
      if (!soon([&] { return gate.entered() == 1; })) return 1;
      const int status_of_child_1 = in_new_pid_namespace([&] {
        is_slow = false;
        if (samples() != Lines{"a 1", "b 2"}) return 2;
        hanging.end();
        return samples() == Lines{"b 2"} ? 0 : 3;
      });
      gate.open();
      parent_scrape.join();
      return status_of_child_1;
    });
  });
  if (status == not_permitted) {
    WARN("skipped: this process may not make a pid namespace");
    return;
  }
  CHECK(status == 0);
}

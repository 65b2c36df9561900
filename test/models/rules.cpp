// Programs whose outcomes the rules of C++20 settle. They show that the explorer finds what is allowed and nothing
// else. A program whose name begins with "finds" has to fail.

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "explorer.hpp"

using explorer::in_parallel;
using explorer::require;

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto seq_cst = std::memory_order_seq_cst;

std::atomic<int> x{0};
std::atomic<int> y{0};
int plain = 0;
std::mutex mutex;

void pass_message(std::memory_order store, std::memory_order load) {
  int flag = 0;
  int message = 0;
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        y.store(1, store);
      }},
      {[&] {
        flag = y.load(load);
        message = x.load(relaxed);
      }},
  });
  require(flag == 0 || message == 1, "the message is there");
}

void store_and_look(std::memory_order store, std::memory_order load) {
  int a = 0;
  int b = 0;
  in_parallel({
      {[&] {
        x.store(1, store);
        a = y.load(load);
      }},
      {[&] {
        y.store(1, store);
        b = x.load(load);
      }},
  });
  require(a == 1 || b == 1, "one sees the other");
}

void look_at_two(std::memory_order store, std::memory_order load) {
  int a = 0;
  int b = 0;
  int c = 0;
  int d = 0;
  in_parallel({
      {[&] { x.store(1, store); }},
      {[&] { y.store(1, store); }},
      {[&] {
        a = x.load(load);
        b = y.load(load);
      }},
      {[&] {
        c = y.load(load);
        d = x.load(load);
      }},
  });
  require(!(a == 1 && b == 0 && c == 1 && d == 0), "both see one order");
}

}  // namespace

SCENARIO("release and acquire pass a message") { pass_message(release, acquire); }
SCENARIO("finds a message passed without release") { pass_message(relaxed, acquire); }
SCENARIO("finds a message passed without acquire") { pass_message(release, relaxed); }
SCENARIO("sequential consistency orders a store before a load") { store_and_look(seq_cst, seq_cst); }
SCENARIO("finds a store after the load that follows it") { store_and_look(release, acquire); }
SCENARIO("sequential consistency is one order of stores") { look_at_two(seq_cst, seq_cst); }
SCENARIO("finds that threads see stores in different orders") { look_at_two(release, acquire); }

SCENARIO("one location has one order") {
  int a = 0;
  int b = 0;
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        x.store(2, relaxed);
      }},
      {[&] {
        a = x.load(relaxed);
        b = x.load(relaxed);
      }},
  });
  require(a <= b, "no value is older than one loaded before");
}

SCENARIO("finds two locations whose stores are ordered against the program") {
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        y.store(2, relaxed);
      }},
      {[&] {
        y.store(1, relaxed);
        x.store(2, relaxed);
      }},
  });
  require(x.load() != 1 || y.load() != 1, "one thread was the last in both");
}

SCENARIO("additions are never lost") {
  const auto add = [] { x.fetch_add(1, relaxed); };
  in_parallel({{[&] { add(), add(); }}, {add}, {add}});
  require(x.load() == 4, "all are there");
}

SCENARIO("finds an addition that is lost") {
  in_parallel({{[] { x.store(x.load(relaxed) + 1, relaxed); }}, {[] { x.fetch_add(1, relaxed); }}});
  require(x.load() == 2, "all are there");
}

SCENARIO("a release reaches across other threads' updates") {
  int flag = 0;
  int message = 0;
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        y.fetch_add(1, release);
      }},
      {[&] { y.fetch_add(1, relaxed); }},
      {[&] {
        flag = y.load(acquire);
        message = x.load(relaxed);
      }},
  });
  require(flag != 2 || message == 1, "the message is there");
}

SCENARIO("a barrier in all threads orders a store before a load") {
  int a = 0;
  int b = 0;
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
        a = y.load(relaxed);
      }},
      {[&] {
        y.store(1, relaxed);
        b = x.load(relaxed);
      }},
  });
  require(a == 1 || b == 1, "one sees the other");
}

SCENARIO("finds that a barrier orders nothing among the other threads") {
  int flag = 0;
  int message = 0;
  in_parallel({
      {[&] { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }},
      {[&] {
        x.store(1, relaxed);
        y.store(1, relaxed);
      }},
      {[&] {
        flag = y.load(relaxed);
        message = x.load(relaxed);
      }},
  });
  require(flag == 0 || message == 1, "the message is there");
}

SCENARIO("who waits for a message gets it") {
  int message = 0;
  in_parallel({
      {[&] {
        x.store(1, relaxed);
        y.store(1, release);
      }},
      {[&] {
        while (y.load(acquire) == 0) std::this_thread::yield();
        message = x.load(relaxed);
      }},
  });
  require(message == 1, "the message is there");
}

SCENARIO("finds a thread that waits for ever") {
  in_parallel({{[] { x.store(1, relaxed); }}, {[] {
                 x.load(relaxed);
                 while (y.load(acquire) == 0) std::this_thread::yield();
               }}});
}

SCENARIO("a mutex keeps threads apart") {
  const auto add = [] {
    const std::lock_guard lock(mutex);
    ++plain;
  };
  in_parallel({{add}, {add}, {add}});
  require(plain == 3, "nothing is lost");
}

SCENARIO("release and acquire order plain accesses") {
  in_parallel({
      {[] {
        plain = 1;
        x.store(1, release);
      }},
      {[] {
        if (x.load(acquire) == 1) plain = 2;
      }},
  });
}

SCENARIO("finds a data race") {
  in_parallel({
      {[] {
        plain = 1;
        x.store(1, relaxed);
      }},
      {[] {
        if (x.load(acquire) == 1) plain = 2;
      }},
  });
}

SCENARIO("finds that freed memory is used") {
  auto* freed = new std::atomic<int>(0);
  in_parallel({
      {[&] {
        if (x.load(acquire) == 1) freed->load(relaxed);
      }},
      {[&] {
        delete freed;
        x.store(1, release);
      }},
  });
}

#include "base/executor.hpp"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support/sanitizers.hpp"
#include "support/waiting.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using quipu::detail::Executor;
using quipu::detail::TaskSequence;

constexpr const char* thread_name = "quipu-executor";

int executor_threads() {
  int found = 0;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::string name;
    std::getline(std::ifstream(thread.path() / "comm"), name);
    found += name == thread_name ? 1 : 0;
  }
  return found;
}

/// Hands the turn on, as a thread does that waits, until the condition holds.
template <class Condition>
bool hand_on_until(TaskSequence& sequence, Condition condition, const std::shared_ptr<void>& keeper = {}) {
  return soon([&] {
    static_cast<void>(sequence.hand_on(keeper));
    return condition();
  });
}

/// Whether `body` returns true in a child process, which has five seconds for it.
template <class Body>
bool in_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    ::alarm(5);
    ::_exit(body() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("the tasks of a sequence run in their order on one other thread", "[executor]") {
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  std::atomic<bool> is_done = false;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  for (int i = 0; i < 50; ++i) {
    tasks.add([&, i] {
      order.push_back(i);
      threads.push_back(std::this_thread::get_id());
    });
  }
  tasks.add([&] { is_done = true; });
  CHECK(executor_threads() == 0);
  CHECK(hand_on_until(tasks, [&] { return is_done.load(); }));
  executor.join();
  std::vector<int> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(order == expected);
  CHECK(threads == std::vector<std::thread::id>(50, threads.at(0)));
  CHECK(threads[0] != std::this_thread::get_id());
}

TEST_CASE("without tasks that wait the turn need not be handed on", "[executor]") {
  Gate gate;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  CHECK(tasks.hand_on({}) == Clock::time_point::max());
  CHECK(executor_threads() == 0);
  tasks.add([&] { gate.pass(); });
  CHECK(hand_on_until(tasks, [&] { return gate.entered() == 1; }));
  CHECK(tasks.hand_on({}) == Clock::time_point::max());
  gate.open();
  executor.join();
}

TEST_CASE("a long task does not hold up the next one for more than a moment", "[executor]") {
  Gate gate;
  std::atomic<bool> is_done = false;
  Clock::time_point began;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&] {
    began = Clock::now();
    gate.pass();
  });
  tasks.add([&] { is_done = true; });
  CHECK(hand_on_until(tasks, [&] { return gate.entered() == 1; }));
  const auto again = tasks.hand_on({});
  CHECK(again <= began + TaskSequence::longest_turn);
  CHECK(again > began);
  CHECK(hand_on_until(tasks, [&] { return is_done.load(); }));
  CHECK(Clock::now() - began >= TaskSequence::longest_turn - 10ms);
  CHECK(gate.passed() == 0);
  gate.open();
  executor.join();
  CHECK(gate.passed() == 1);
}

TEST_CASE("a thread that has lost the turn leaves the rest to the one that has it", "[executor]") {
  Gate first;
  Gate second;
  std::atomic<int> inside = 0;
  std::atomic<int> overlaps = 0;
  std::atomic<int> done = 0;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&] { first.pass(); });
  tasks.add([&] { second.pass(); });
  for (int i = 0; i < 20; ++i) {
    tasks.add([&] {
      if (++inside > 1) ++overlaps;
      std::this_thread::sleep_for(1ms);
      --inside;
      ++done;
    });
  }
  CHECK(hand_on_until(tasks, [&] { return second.entered() == 1; }));
  first.open();
  CHECK(soon([&] { return first.passed() == 1; }));
  second.open();
  CHECK(hand_on_until(tasks, [&] { return done == 20; }));
  CHECK(overlaps == 0);
  executor.join();
}

TEST_CASE("there are no more threads than tasks that take long, and one", "[executor]") {
  Gate gate;
  std::atomic<int> quick = 0;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  for (int i = 0; i < 3; ++i) {
    tasks.add([&] { gate.pass(); });
    for (int k = 0; k < 5; ++k) tasks.add([&] { ++quick; });
  }
  CHECK(hand_on_until(tasks, [&] { return quick == 15; }));
  CHECK(gate.entered() == 3);
  CHECK(soon([] { return executor_threads() == 4; }));
  gate.open();
  CHECK(soon([] { return executor_threads() == 1; }));  // as many as may be idle
  executor.join();
  CHECK(executor_threads() == 0);
}

TEST_CASE("sequences of one executor run at the same time, and few idle threads stay", "[executor]") {
  constexpr int count = 6;
  std::atomic<int> inside = 0;
  std::atomic<int> done = 0;
  Executor executor(thread_name, 2);
  std::vector<std::unique_ptr<TaskSequence>> sequences;
  for (int i = 0; i < count; ++i) {
    sequences.push_back(std::make_unique<TaskSequence>(executor));
    sequences.back()->add([&] {
      ++inside;
      while (inside < count) std::this_thread::yield();  // all meet here
      ++done;
    });
    static_cast<void>(sequences.back()->hand_on({}));
  }
  CHECK(soon([&] { return done == count; }));
  CHECK(soon([] { return executor_threads() == 2; }));
  executor.join();
}

TEST_CASE("a thread that is kept runs the next tasks", "[executor]") {
  std::atomic<int> done = 0;
  std::thread::id first;
  std::thread::id second;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&] {
    first = std::this_thread::get_id();
    ++done;
  });
  CHECK(hand_on_until(tasks, [&] { return done == 1; }));
  // It may still be on its way back, and then another one runs the task.
  CHECK(soon([&] {
    const int before = done;
    tasks.add([&] {
      second = std::this_thread::get_id();
      ++done;
    });
    if (!hand_on_until(tasks, [&] { return done > before; })) return true;
    return second == first;
  }));
  CHECK(second == first);
  executor.join();
}

TEST_CASE("the end of an executor does not wait for a task that hangs", "[executor]") {
  struct Shared {
    explicit Shared(Executor& executor) : tasks(executor) {}
    Gate gate;
    TaskSequence tasks;
  };
  std::optional<Executor> executor;
  executor.emplace(thread_name, std::size_t{1});
  auto shared = std::make_shared<Shared>(*executor);
  shared->tasks.add([&gate = shared->gate] { gate.pass(); });
  CHECK(hand_on_until(
      shared->tasks, [&] { return shared->gate.entered() == 1; }, shared));
  executor.reset();
  CHECK(shared->gate.passed() == 0);
  CHECK(executor_threads() == 1);
  CHECK(shared.use_count() == 2);  // the thread keeps what its task uses
  shared->gate.open();
  CHECK(soon([&] { return shared.use_count() == 1; }));
  CHECK(soon([] { return executor_threads() == 0; }));
}

TEST_CASE("tasks whose turn comes after the deadline of their sequence are dropped", "[executor]") {
  std::atomic<bool> is_late = false;
  const auto held = std::make_shared<int>();
  Executor executor(thread_name, 1);
  const auto deadline = Clock::now() + 50ms;
  TaskSequence tasks(executor, deadline);
  tasks.add([deadline] { std::this_thread::sleep_until(deadline); });
  tasks.add([&is_late, held] { is_late = true; });
  CHECK(hand_on_until(tasks, [&] { return held.use_count() == 1; }));
  CHECK(Clock::now() >= deadline);
  executor.join();
  CHECK_FALSE(is_late);
}

TEST_CASE("an executor may end on its own thread", "[executor]") {
  auto executor = std::make_unique<Executor>(thread_name, std::size_t{1});
  auto tasks = std::make_shared<TaskSequence>(*executor);
  std::atomic<bool> is_done = false;
  tasks->add([&] {
    executor.reset();
    is_done = true;
  });
  static_cast<void>(tasks->hand_on(tasks));
  CHECK(soon([&] { return is_done.load(); }));
  CHECK(soon([&] { return tasks.use_count() == 1; }));
  CHECK(soon([] { return executor_threads() == 0; }));
}

TEST_CASE("joining waits for tasks that are running, and those that were cleared never run", "[executor]") {
  Gate gate;
  std::atomic<bool> is_late = false;
  const auto held = std::make_shared<int>();
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&gate, held] { gate.pass(); });
  tasks.add([&is_late, held] { is_late = true; });
  static_cast<void>(tasks.hand_on({}));
  CHECK(soon([&] { return gate.entered() == 1; }));
  tasks.clear();
  CHECK(held.use_count() == 2);
  std::thread opener([&] {
    std::this_thread::sleep_for(50ms);
    gate.open();
  });
  executor.join();
  CHECK(gate.passed() == 1);
  CHECK(held.use_count() == 1);
  CHECK_FALSE(is_late);
  CHECK(executor_threads() == 0);
  opener.join();
}

TEST_CASE("a task may add tasks, and what it holds may use the sequence when it goes", "[executor]") {
  struct User {
    explicit User(TaskSequence& used) : tasks(used) {}
    ~User() { tasks.clear(); }
    TaskSequence& tasks;
  };
  std::atomic<int> done = 0;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&done, user = std::make_shared<User>(tasks)] { ++done; });
  CHECK(hand_on_until(tasks, [&] { return done == 1; }));
  tasks.add([&] { tasks.add([&] { ++done; }); });
  CHECK(hand_on_until(tasks, [&] { return done == 2; }));
  executor.join();
}

TEST_CASE("the program's signals are blocked on the threads of an executor", "[executor]") {
  sigset_t blocked;
  std::atomic<bool> is_done = false;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  tasks.add([&] {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    is_done = true;
  });
  CHECK(hand_on_until(tasks, [&] { return is_done.load(); }));
  CHECK(::sigismember(&blocked, SIGTERM) == 1);
  CHECK(::sigismember(&blocked, SIGSEGV) == 0);
  executor.join();
}

TEST_CASE("in a forked child an executor has threads of its own, and its parent's go on", "[executor]") {
  if (is_thread_sanitized) return;
  Gate gate;
  std::optional<Executor> executor;
  executor.emplace(thread_name, std::size_t{2});
  const auto works = [&] {
    TaskSequence tasks(*executor);
    std::atomic<bool> is_done = false;
    const auto shared = std::make_shared<int>();
    tasks.add([&] { is_done = true; });
    const bool is_good = hand_on_until(
        tasks, [&] { return is_done.load(); }, shared);
    return soon([&] { return shared.use_count() == 1; }) && is_good;  // the thread has left the sequence
  };
  TaskSequence hanging(*executor);
  hanging.add([&] { gate.pass(); });
  CHECK(hand_on_until(hanging, [&] { return gate.entered() == 1; }));
  CHECK(works());
  CHECK(in_child([&] {
    const bool is_good = works() && works();
    executor.reset();
    return is_good;
  }));
  CHECK(in_child([&] {
    executor->join();
    executor.reset();
    return true;
  }));
  CHECK(works());
  gate.open();
  executor->join();
  CHECK(gate.passed() == 1);
}

#ifdef __GLIBC__
TEST_CASE("when no thread can be started, the thread that hands on runs one task at a time", "[executor]") {
  std::vector<std::thread::id> threads;
  Executor executor(thread_name, 1);
  TaskSequence tasks(executor);
  for (int i = 0; i < 3; ++i) tasks.add([&] { threads.push_back(std::this_thread::get_id()); });
  pthread_attr_t usual;
  REQUIRE(::pthread_getattr_default_np(&usual) == 0);
  pthread_attr_t impossible = usual;
  REQUIRE(::pthread_attr_setstacksize(&impossible, std::size_t{1} << 60) == 0);
  REQUIRE(::pthread_setattr_default_np(&impossible) == 0);
  const auto again = tasks.hand_on({});
  const std::size_t after_one = threads.size();
  static_cast<void>(tasks.hand_on({}));
  REQUIRE(::pthread_setattr_default_np(&usual) == 0);
  CHECK(again <= Clock::now());
  CHECK(after_one == 1);
  CHECK(threads == std::vector<std::thread::id>(2, std::this_thread::get_id()));

  std::atomic<bool> is_done = false;
  tasks.add([&] { is_done = true; });
  CHECK(hand_on_until(tasks, [&] { return is_done.load(); }));
  executor.join();
  REQUIRE(threads.size() == 3);
  CHECK(threads[2] != std::this_thread::get_id());
}
#endif

TEST_CASE("sequences that come and go while their tasks take long harm nobody", "[executor]") {
  struct Shared {
    explicit Shared(Executor& executor) : tasks(executor) {}
    std::atomic<int> done{0};
    TaskSequence tasks;
  };
  std::atomic<int> ran = 0;
  Executor executor(thread_name, 2);
  std::vector<std::thread> owners;
  for (int i = 0; i < 4; ++i) {
    owners.emplace_back([&] {
      for (int n = 0; n < 200; ++n) {
        const auto shared = std::make_shared<Shared>(executor);
        for (int k = 0; k < 5; ++k) {
          shared->tasks.add([&done = shared->done, &ran] {
            ++done;
            ++ran;
          });
        }
        const auto end = Clock::now() + (n % 7) * 20us;
        do {
          static_cast<void>(shared->tasks.hand_on(shared));
        } while (Clock::now() < end);
        if (n % 2 == 0) shared->tasks.clear();
      }
    });
  }
  for (std::thread& owner : owners) owner.join();
  executor.join();
  CHECK(ran > 0);
}

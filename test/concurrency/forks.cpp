// Forks of a program that has registered its own handlers before it first records: a program that exits with 0 if
// nothing was in the way of the others.
// Usage: forks [without-cells]

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <quipu/quipu.hpp>
#include <quipu/thread_cell_budget.hpp>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace {

std::mutex programs_lock;
std::optional<quipu::Counter> forks;
std::optional<quipu::HistogramFamily<int>> sizes;

/// The handlers record, and hold a lock of the program's over the fork.
void before_fork() {
  programs_lock.lock();
  if (!forks) return;
  forks->inc();
  (*sizes)(-1).observe(1);
}
void after_fork() {
  if (forks) {
    forks->inc();
    (*sizes)(-2).observe(1);
  }
  programs_lock.unlock();
}

/// What a child does: it must not wait for threads that it does not have.
int child(const quipu::CounterFamily<int>& family, std::uint64_t made) {
  alarm(20);
  family(-1).inc();
  const bool was_removed = family.remove(-1);
  for (int n = 0; n < 100; ++n) family(-2 - n).inc();
  return was_removed && forks->value() == made && family(-2).value() == 1 ? 0 : 1;
}

}  // namespace

int main(int arguments, char**) {
  alarm(100);
  pthread_atfork(before_fork, after_fork, after_fork);
  const bool is_without_cells = arguments > 1;
  if (is_without_cells) quipu::set_thread_cell_budget(0);
  const quipu::Registry registry({.process_metrics = false, .self_metrics = false});
  const auto family = registry.counter<int>({.name = "a_total"}, {"n"});
  sizes = registry.histogram<int>({.name = "b"}, {"n"});
  forks = registry.counter({.name = "forks_total"});
  const auto unused_by_children = registry.counter<int>({.name = "c_total"}, {"n"});
  std::atomic<bool> is_over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, counter = family(t), t] {
      while (!is_over.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 200; ++i) counter.inc();
        if (is_without_cells) {
          // Without the lock: the child has that of this family as the fork found it.
          unused_by_children(t).inc();
          unused_by_children.remove(t);
          continue;
        }
        const std::lock_guard lock(programs_lock);
        for (int i = 0; i < 20; ++i) {
          (*sizes)(t * 20 + i).observe(i);
          sizes->remove(t * 20 + i);
        }
      }
    });
  }
  int failed = 0;
  constexpr int rounds = 40;
  for (std::uint64_t made = 1; made <= rounds; ++made) {
    const pid_t forked = fork();
    if (forked == 0) _exit(child(family, 2 * made));
    int status = 0;
    waitpid(forked, &status, 0);
    failed += status != 0;
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  if (failed > 0) std::printf("%d of %d children failed\n", failed, rounds);
  return failed == 0 && forks->value() == 2 * rounds ? 0 : 1;
}

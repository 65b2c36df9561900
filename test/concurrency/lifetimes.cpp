// Counting before main, after main, and after the registry: a program that exits with 0 if all of it was right.

#include <unistd.h>
#include <quipu/quipu.hpp>

#include <thread>

namespace {

constexpr int wrong = 1;

void require(bool holds) {
  if (!holds) _exit(wrong);
}

/// The last static object to be destroyed.
struct Last {
  quipu::Registry registry{{.process_metrics = false, .self_metrics = false}};
  quipu::Counter counter = registry.counter({.name = "x_total"});
  quipu::Histogram histogram = registry.histogram({.name = "h"});
  quipu::Gauge gauge = registry.gauge({.name = "g"});
  quipu::Counter gone;
  Last() {
    const quipu::Registry short_lived;
    gone = short_lived.counter({.name = "x_total"});
    gone.inc();
  }
  ~Last() {
    counter.inc();
    require(counter.value() == 5);
    require(histogram.snapshot().count() == 2);
    require(gauge.value() == 2);
    require(quipu::render(registry).body.find("x_total 5\n") != std::string::npos);
    gone.inc();
    require(gone.value() == 0);
  }
} last;

struct CountsBeforeAndAfterMain {
  CountsBeforeAndAfterMain() {
    last.counter.inc();
    last.histogram.observe(1);
    last.gauge.inc();
  }
  ~CountsBeforeAndAfterMain() {
    last.counter.inc();
    last.histogram.observe(1);
    last.gauge.inc();
    std::thread([] { last.counter.inc(); }).join();
  }
} around_main;

}  // namespace

int main() { last.counter.inc(); }

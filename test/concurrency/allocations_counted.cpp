// A program that counts its allocations in quipu's instruments, in operator new: it exits with 0 if all were counted,
// and nothing waited for itself. Usage: allocations_counted [without-cells]

#include <unistd.h>
#include <quipu/quipu.hpp>
#include <quipu/thread_cell_budget.hpp>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "support/replaced_new.hpp"

namespace {

struct Instruments {
  quipu::Registry registry{{.process_metrics = false, .self_metrics = false}};
  quipu::Counter allocations = registry.counter({.name = "allocations_total"});
  quipu::FractionalCounter bytes = registry.fractional_counter({.name = "allocated_bytes_total"});
  quipu::Gauge in_use = registry.gauge({.name = "allocations_in_use"});
  quipu::Histogram sizes = registry.histogram({.name = "allocation_bytes", .buckets = {16, 64, 256, 1024, 4096}});
  quipu::NativeHistogram native = registry.native_histogram({.name = "allocation_native_bytes", .growth_factor = 1.01});
  quipu::CounterFamily<int> by_size = registry.counter<int>({.name = "allocations_by_size_total"}, {"words"});
};

Instruments* instruments = nullptr;
std::atomic<bool> is_counting{false};
std::atomic<std::uint64_t> counted{0};
std::atomic<std::uint64_t> freed{0};

/// Making a series allocates. So it is not made for what is allocated meanwhile.
thread_local bool is_inside = false;

void count(std::size_t bytes) noexcept {
  counted.fetch_add(1, std::memory_order_relaxed);
  instruments->allocations.inc();
  instruments->bytes.inc(static_cast<double>(bytes));
  instruments->in_use.inc();
  instruments->sizes.observe(static_cast<double>(bytes));
  instruments->native.observe(static_cast<double>(bytes));
  if (is_inside) return;
  is_inside = true;
  instruments->by_size(static_cast<int>(bytes / 8)).inc();
  is_inside = false;
}

}  // namespace

bool may_allocate(std::size_t bytes) noexcept {
  if (is_counting.load(std::memory_order_acquire)) count(bytes);
  return true;
}
void on_deallocation() noexcept {
  if (!is_counting.load(std::memory_order_acquire)) return;
  freed.fetch_add(1, std::memory_order_relaxed);
  instruments->in_use.dec();
}

int main(int arguments, char**) {
  alarm(100);
  if (arguments > 1) quipu::set_thread_cell_budget(0);
  instruments = new Instruments;
  is_counting = true;
  {
    const auto family = instruments->registry.counter({.name = "a_total"}, {"text"});
    const auto sizes = instruments->registry.histogram<int>({.name = "b"}, {"n"});
    const auto native = instruments->registry.native_histogram<int>(
        {.name = "c", .growth_factor = 1.01, .max_buckets = 20, .min_reset_interval = std::chrono::milliseconds(1)},
        {"n"});
    for (int round = 0; round < 5; ++round) {
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
          for (int i = 0; i < 300; ++i) {
            family("a text that is too long to be kept without memory, number " + std::to_string(t * 1000 + i)).inc();
            sizes(i).observe(i);
            native(i % 10).observe(1 + i * t);
            delete[] new int[static_cast<std::size_t>(i) * 8];
            if (i % 7 == t) sizes.remove(i);
            if (i % 100 == 99) static_cast<void>(quipu::render(instruments->registry));
          }
          family.clear();
          native.clear();
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
  }
  is_counting = false;
  const auto& all = *instruments;
  const bool is_well = all.allocations.value() == counted && all.sizes.snapshot().count() == counted &&
                       all.native.snapshot().count() == counted &&
                       all.in_use.value() == static_cast<double>(counted) - static_cast<double>(freed) &&
                       counted > 1000;
  if (!is_well) {
    std::printf("%lu counted of %lu, %lu in the histogram, %lu in the native one, %g in use\n",
                static_cast<unsigned long>(all.allocations.value()), static_cast<unsigned long>(counted),
                static_cast<unsigned long>(all.sizes.snapshot().count()),
                static_cast<unsigned long>(all.native.snapshot().count()), all.in_use.value());
  }
  return is_well ? 0 : 1;
}

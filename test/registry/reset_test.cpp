#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"
#include "support/shown.hpp"

namespace {

using quipu::testing::value_of;

enum class Phase { starting, serving };

const quipu::RegistryOptions plain{.process_metrics = false, .self_metrics = false};

}  // namespace

TEST_CASE("after a reset all values begin again at 0, and handles count on") {
  quipu::Registry registry(plain);
  const auto jobs = registry.counter({.name = "jobs_total", .help = "J."});
  const auto cpu = registry.fractional_counter({.name = "cpu_seconds_total", .help = "C."});
  const auto level = registry.gauge({.name = "level", .help = "L."});
  const auto busy = registry.gauge({.name = "busy", .help = "B."}, {"pool"})("a");
  const auto sizes = registry.histogram({.name = "size_bytes", .help = "S.", .buckets = {1, 2}});
  const auto lags = registry.native_histogram({.name = "lag_seconds", .help = "L.", .buckets = quipu::Buckets{1.0}});
  const auto phase = registry.stateset<Phase>({.name = "phase", .help = "P.", .first = Phase::starting});
  registry.info({.name = "build_info", .help = "B."}, {{"version", "1"}});
  const std::string before = quipu::render(registry).body;

  for (int round = 0; round < 3; ++round) {
    // In cells of this thread and, before those, in what threads share.
    for (int i = 0; i < 20; ++i) {
      jobs.inc(3);
      cpu.inc(0.1);
      level.set(i);
      busy.inc();
      busy.inc(0.1);
      sizes.observe(0.1);
      sizes.observe(1.7);
      lags.observe(0.1);
      lags.observe(100.0 * i);
      phase.set(Phase::serving);
    }
    std::thread([&] {
      jobs.inc();
      cpu.inc(0.7);
      busy.inc(0.7);
      sizes.observe(0.3);
      lags.observe(0.3);
    }).join();
    CHECK(jobs.value() == 61);
    CHECK(sizes.snapshot().count() == 41);
    CHECK(value_of(registry, "lag_seconds_count") == 41);

    registry.reset();
    CHECK(quipu::render(registry).body == before);
    jobs.inc(5);
    cpu.inc(0.5);
    level.inc();
    busy.inc(2);
    sizes.observe(0.5);
    lags.observe(0.5);
    CHECK(jobs.value() == 5);
    CHECK(cpu.value() == Approx(0.5));
    CHECK(level.value() == 1);
    CHECK(busy.value() == 2);
    CHECK(sizes.snapshot().counts == std::vector<std::uint64_t>{1, 0, 0});
    CHECK(sizes.snapshot().sum == Approx(0.5));
    CHECK(value_of(registry, "lag_seconds_bucket", {{"le", "1"}}) == 1);
    CHECK(value_of(registry, "lag_seconds_sum") == 0.5);
    CHECK(phase.is_in(Phase::starting));
    registry.reset();
    CHECK(quipu::render(registry).body == before);
  }
}

TEST_CASE("a family is reset by itself, with its exemplars and the times when its series were made") {
  quipu::Registry registry(plain);
  auto jobs = registry.counter({.name = "jobs_total", .help = "J."}, {"queue"});
  auto sizes = registry.histogram({.name = "size_bytes", .help = "S.", .buckets = {1}}, {"queue"});
  auto others = registry.counter({.name = "others_total", .help = "O."}, {"queue"});
  jobs("a").inc(1, quipu::Exemplar{{"id", "1"}});
  sizes("a").observe(0.5, quipu::Exemplar{{"id", "2"}});
  others("a").inc(1, quipu::Exemplar{{"id", "3"}});
  const auto first = shown::Everything(registry);
  CHECK(first.families.find("size_bytes")->second.series[0].exemplars.size() == 2);

  const auto made = *first.families.find("jobs_total")->second.series[0].created;
  while (std::chrono::system_clock::now() < made + std::chrono::milliseconds(1001)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  jobs.reset();
  sizes.reset();
  const auto second = shown::Everything(registry);
  const auto& job = second.families.find("jobs_total")->second.series[0];
  CHECK(job.value == 0);
  CHECK(!job.exemplar);
  CHECK(*job.created > made);
  const auto& size = second.families.find("size_bytes")->second.series[0];
  CHECK(size.counts == std::vector<std::uint64_t>{0, 0});
  CHECK(size.exemplars.empty());
  CHECK(*size.created > made);
  const auto& other = second.families.find("others_total")->second.series[0];
  CHECK(other.value == 1);
  CHECK(other.exemplar->value == 1);
  CHECK(*other.created == made);

  jobs("a").inc(1, [] { return quipu::Exemplar{{"id", "4"}}; });  // due at once
  CHECK(shown::Everything(registry).families.find("jobs_total")->second.series[0].exemplar->labels[0].second == "4");
}

TEST_CASE("a reset loses nothing that is recorded meanwhile") {
  quipu::Registry registry(plain);
  const auto jobs = registry.counter({.name = "jobs_total", .help = "J."});
  const auto cpu = registry.fractional_counter({.name = "cpu_seconds_total", .help = "C."});
  const auto busy = registry.gauge({.name = "busy", .help = "B."});
  const auto sizes = registry.histogram({.name = "size_bytes", .help = "S.", .buckets = {1}});
  constexpr std::uint64_t each = 20'000;
  std::atomic<int> running{3};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t n = 0; n < each; ++n) {
        jobs.inc();
        cpu.inc(0.5);
        busy.inc();
        sizes.observe(0.5);
      }
      --running;
    });
  }
  // What is on no page is in what the next reset takes off, so nothing is above what was recorded.
  std::uint64_t wrong = 0;
  while (running > 0) {
    registry.reset();
    wrong += static_cast<std::uint64_t>(jobs.value() > 3 * each);
    wrong += static_cast<std::uint64_t>(!(cpu.value() >= 0 && cpu.value() <= 1.5 * each));
    const auto snapshot = sizes.snapshot();
    wrong += static_cast<std::uint64_t>(snapshot.count() > 3 * each || snapshot.sum < 0);
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  registry.reset();
  jobs.inc();
  CHECK(jobs.value() == 1);
  CHECK(cpu.value() == 0);
  CHECK(busy.value() == 0);
  CHECK(sizes.snapshot().count() == 0);
  CHECK(sizes.snapshot().sum == 0);
}

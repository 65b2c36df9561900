#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"

namespace {

using namespace std::chrono_literals;
using quipu::testing::find_value;

enum class Phase { starting, serving };

const quipu::RegistryOptions plain{.process_metrics = false, .self_metrics = false};

static_assert(!std::is_copy_constructible_v<quipu::ScopedSeries<quipu::Counter>>);
static_assert(std::is_nothrow_move_constructible_v<quipu::ScopedSeries<quipu::Counter>>);
static_assert(std::is_nothrow_move_assignable_v<quipu::ScopedSeries<quipu::Counter>>);

template <class Series>
concept IsUsable = requires(Series series) {
  static_cast<Series>(series)->inc();
};
static_assert(IsUsable<quipu::ScopedSeries<quipu::Counter>&>);
static_assert(!IsUsable<quipu::ScopedSeries<quipu::Counter>&&>);  // its series would be gone at once

}  // namespace

TEST_CASE("a scoped series is on the page for as long as its object lives") {
  quipu::Registry registry(plain);
  auto sessions = registry.counter({.name = "moves_total", .help = "M."}, {"player"});
  const auto moves = [&](std::string_view player) { return find_value(registry, "moves_total", {{"player", player}}); };
  quipu::Counter copy;
  {
    auto session = sessions.scoped("player-17");
    CHECK(moves("player-17") == 0);
    session->inc();
    (*session).inc(2);
    copy = *session;
    sessions("player-17").inc();
    CHECK(moves("player-17") == 4);
  }
  CHECK(moves("player-17") == std::nullopt);
  copy.inc();
  CHECK(sessions.size() == 0);
  CHECK(sessions("player-17").value() == 0);  // another one, which stays
}

TEST_CASE("of several scoped series with the same labels, the last one removes it") {
  quipu::Registry registry(plain);
  auto sessions = registry.counter({.name = "moves_total", .help = "M."}, {"player"});
  std::optional first(sessions.scoped("a"));
  std::optional second(sessions.scoped("a"));
  (*first)->inc();
  first.reset();
  (*second)->inc();
  CHECK((*second)->value() == 2);
  CHECK(sessions.size() == 1);
  second.reset();
  CHECK(sessions.size() == 0);
}

TEST_CASE("a scoped series moves with its object") {
  quipu::Registry registry(plain);
  auto sessions = registry.counter({.name = "moves_total", .help = "M."}, {"player"});
  auto first = sessions.scoped("a");
  quipu::ScopedSeries<quipu::Counter> kept;
  kept->inc();  // nowhere
  kept = std::move(first);
  first->inc();  // nowhere
  kept->inc();
  CHECK(sessions("a").value() == 1);
  std::vector<quipu::ScopedSeries<quipu::Counter>> many;
  for (int i = 0; i < 10; ++i) many.push_back(sessions.scoped(std::to_string(i)));
  CHECK(sessions.size() == 11);
  kept = sessions.scoped("b");
  CHECK(sessions.size() == 11);
  kept.end();
  kept.end();
  kept->inc();
  many.clear();
  CHECK(sessions.size() == 0);
}

TEST_CASE("a scoped series that was removed otherwise leaves the next one alone") {
  quipu::Registry registry(plain);
  auto sessions = registry.counter({.name = "moves_total", .help = "M."}, {"player"});
  auto first = sessions.scoped("a");
  sessions.remove("a");
  first->inc();
  auto second = sessions.scoped("a");
  second->inc();
  first.end();
  CHECK(sessions("a").value() == 1);
  sessions.clear();
}

TEST_CASE("every instrument has scoped series") {
  quipu::Registry registry(plain);
  auto cpu = registry.fractional_counter({.name = "cpu_seconds_total", .help = "C."}, {"l"});
  auto level = registry.gauge<bool>({.name = "level", .help = "L."}, {"l"});
  auto sizes = registry.histogram({.name = "size_bytes", .help = "S.", .buckets = {1}}, {"l"});
  auto lags = registry.native_histogram({.name = "lag_seconds", .help = "L."}, {"l"});
  auto phases = registry.stateset<Phase>({.name = "phase", .help = "P.", .first = Phase::starting}, {"l"});
  {
    auto a = cpu.scoped("x");
    auto b = level.scoped(true);
    auto c = sizes.scoped("x");
    auto d = lags.scoped("x");
    auto e = phases.scoped("x");
    a->inc(0.5);
    b->set(3);
    const auto tracked = b->track();
    c->observe(0.5);
    d->time().stop();
    e->set(Phase::serving);
    CHECK(quipu::testing::difference(registry, R"(
      cpu_seconds_total{l="x"} 0.5
      lag_seconds_count{l="x"} 1
      level{l="true"} 4
      phase{l="x",phase="starting"} 0
      phase{l="x",phase="serving"} 1
      size_bytes_count{l="x"} 1
    )") == "");
  }
  CHECK(quipu::render(registry).body == "");
}

TEST_CASE("a scoped series does not expire, and is not removed to make room for others") {
  quipu::Registry registry(plain);
  auto sessions =
      registry.counter({.name = "moves_total", .help = "M.", .max_series = 2, .idle_expiry = 1ns}, {"player"});
  static_cast<void>(sessions("idle"));
  sessions("a").inc();
  for (int i = 0; i < 3; ++i) static_cast<void>(quipu::render(registry));
  auto session = sessions.scoped("a");  // hidden until now
  for (int i = 0; i < 3; ++i) CHECK(find_value(registry, "moves_total", {{"player", "a"}}) == 1);
  auto next = sessions.scoped("b");
  CHECK(sessions.size() == 2);
  CHECK(session->value() == 1);

  auto overflow = sessions.scoped("c");
  overflow->inc();
  overflow.end();
  CHECK(find_value(registry, "moves_total", {{"player", "overflow"}}) == 1);
}

TEST_CASE("a scoped series of a family that is nowhere records nowhere, and one may outlive its registry") {
  quipu::CounterFamily<std::string_view> nowhere;
  auto never = nowhere.scoped("a");
  never->inc();
  quipu::ScopedSeries<quipu::Counter> last;
  {
    quipu::Registry registry(plain);
    last = registry.counter({.name = "moves_total", .help = "M."}, {"player"}).scoped("a");
  }
  last->inc();
  CHECK(last->value() == 1);
}

TEST_CASE("scoped series of the same labels come and go in many threads, and each is there while it lives") {
  quipu::Registry registry(plain);
  auto sessions = registry.counter<int>({.name = "moves_total", .help = "M."}, {"player"});
  std::vector<int> lost(4);
  std::vector<std::thread> threads;
  for (int& mine : lost) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto session = sessions.scoped(i % 3);
        const std::uint64_t before = session->value();
        session->inc();
        mine += static_cast<int>(session->value() <= before);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lost == std::vector<int>(4));
  CHECK(sessions.size() == 0);
}

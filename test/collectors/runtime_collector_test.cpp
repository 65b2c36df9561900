#include "collectors/runtime_collector.hpp"

#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/sanitizers.hpp"
#include "support/shown.hpp"

namespace {

using Key = shown::Everything::Key;

/// A registry with a runtime collector alone.
quipu::Registry runtime_registry() {
  return quipu::Registry({.process_metrics = false, .self_metrics = false, .runtime_metrics = true});
}

double value(const quipu::Registry& registry, const Key& key) {
  const auto values = shown::Everything(registry).values();
  const auto found = values.find(key);
  INFO(key.front());
  REQUIRE(found != values.end());
  return found->second;
}

const Key free_bytes{"cxx_allocator_bytes", "free"};
const Key in_use{"cxx_allocator_bytes", "in_use"};
const Key mapped{"cxx_allocator_mapped_bytes"};
const Key user{"cxx_cpu_seconds_total", "user"};
const Key system_time{"cxx_cpu_seconds_total", "system"};

}  // namespace

TEST_CASE("runtime metrics are shown if an option says so, without a prefix, and with const labels") {
  const auto registry = quipu::Registry({.prefix = "shop", .const_labels = {{"env", "test"}}, .runtime_metrics = true});
  CHECK(page::value(registry, R"(cxx_cpu_seconds_total{env="test",mode="user"})") != page::absent);
  CHECK(page::body(quipu::Registry()).find("cxx_") == std::string::npos);
  CHECK(quipu::testing::lint(runtime_registry()).empty());
}

TEST_CASE("nothing that the process collector shows is shown by the runtime collector too") {
  for (const auto& family : quipu::detail::make_runtime_collector()->describe()) {
    CHECK(family.name.starts_with("cxx_"));
    CHECK_FALSE(family.help.empty());
  }
}

TEST_CASE("CPU time is counted by mode, and what is burnt is the user's") {
  const auto registry = runtime_registry();
  const double user_before = value(registry, user);
  const double sum_before = user_before + value(registry, system_time);
  const auto start = std::clock();
  while (std::clock() - start < CLOCKS_PER_SEC / 5) {
    // Most of it in user mode: clock() itself is a call of the system.
    for (int volatile i = 0; i < 100'000;) i = i + 1;
  }
  const double burnt = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  const double user_after = value(registry, user);
  const double sum_after = user_after + value(registry, system_time);
  CHECK(user_after - user_before >= burnt / 2);
  // Between the two readings each of the process' clocks has gone on a little.
  CHECK(sum_after - sum_before >= burnt * 0.95);
  CHECK(sum_after == Approx(static_cast<double>(std::clock()) / CLOCKS_PER_SEC).margin(0.5));
}

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33)

TEST_CASE("what is allocated is in use, and free again when it is freed") {
  if (is_sanitized) return;  // they have an allocator of their own
  constexpr std::size_t megabyte = 1 << 20;
  const auto registry = runtime_registry();
  static_cast<void>(shown::Everything(registry));  // what the first scrape allocates for good
  // A scrape allocates something itself.
  constexpr double slack = 100'000;

  const double in_use_before = value(registry, in_use);
  const double mapped_before = value(registry, mapped);
  CHECK(in_use_before >= mapped_before);
  {
    // In pieces that are too small for mappings of their own.
    std::vector<std::unique_ptr<char[]>> pieces(1024);
    for (auto& piece : pieces) {
      piece = std::make_unique<char[]>(megabyte / pieces.size());
      asm volatile("" ::"r"(piece.get()) : "memory");  // a compiler may leave out memory that nobody uses
    }
    CHECK(value(registry, in_use) == Approx(in_use_before + megabyte).margin(slack));
    CHECK(value(registry, mapped) == Approx(mapped_before).margin(slack));
    const double free_before = value(registry, free_bytes);
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) pieces[i].reset();  // but for the last one, above them
    CHECK(value(registry, free_bytes) == Approx(free_before + megabyte).margin(slack));
  }
  CHECK(value(registry, in_use) == Approx(in_use_before).margin(slack));

  // More than malloc takes from its heap, whatever it has learnt of the program: its limit goes up to 32 MiB.
  const auto large = std::make_unique<char[]>(40 * megabyte);
  asm volatile("" ::"r"(large.get()) : "memory");
  CHECK(value(registry, mapped) == Approx(mapped_before + 40 * megabyte).margin(slack));
  CHECK(value(registry, in_use) == Approx(in_use_before + 40 * megabyte).margin(slack));
}

#endif
#endif

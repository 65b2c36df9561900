#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/error.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/process.hpp"

// The registry of the process. Each test has a process of its own, which has none at first.

namespace {

using quipu::process_registry;
using quipu::testing::value_of;

bool refuses_options() {
  try {
    process_registry({.prefix = "late"});
    return false;
  } catch (const quipu::RegistrationError& error) {
    return std::string(error.what()).find("call this once, in main(), before anything") != std::string::npos;
  }
}

}  // namespace

TEST_CASE("the registry of the process is one, with the options that come first") {
  CHECK(status_of_child([] {
          const quipu::Registry mine = process_registry({.prefix = "shop"});
          process_registry().counter({.name = "orders_total"}).inc(3);
          mine.counter({.name = "orders_total"}).inc();
          if (value_of(process_registry(), "shop_orders_total") != 4) return 1;
          return refuses_options() ? 0 : 2;
        }) == 0);
  CHECK(status_of_child([] {
          process_registry().counter({.name = "orders_total"}).inc();
          if (!refuses_options()) return 1;
          return value_of(process_registry(), "orders_total") == 1 ? 0 : 2;
        }) == 0);
}

TEST_CASE("options that are refused leave the process without a registry, and can be mended") {
  CHECK(status_of_child([] {
          try {
            process_registry({.max_series = 0});
            return 1;
          } catch (const quipu::RegistrationError&) {
          }
          process_registry({.prefix = "shop"}).counter({.name = "orders_total"}).inc();
          return value_of(process_registry(), "shop_orders_total") == 1 ? 0 : 2;
        }) == 0);
}

TEST_CASE("threads that ask for the registry of the process at once get the same one, and one gives it options") {
  CHECK(status_of_child([] {
          std::atomic<int> waiting = 0;
          std::atomic<int> refused = 0;
          std::vector<std::thread> threads;
          for (int i = 0; i < 8; ++i) {
            threads.emplace_back([&, has_options = i % 2 == 0] {
              ++waiting;
              while (waiting < 8) std::this_thread::yield();
              try {
                if (has_options) process_registry({.process_metrics = false});
              } catch (const quipu::RegistrationError&) {
                ++refused;
              }
              process_registry().counter({.name = "calls_total"}).inc();
            });
          }
          for (std::thread& thread : threads) thread.join();
          if (refused < 3) return 1;
          return value_of(process_registry(), "calls_total") == 8 ? 0 : 2;
        }) == 0);
}

TEST_CASE("the registry of the process is there at the end of static objects, and in a forked child") {
  CHECK(status_of_child([]() -> int {
          // Made before the registry, and so ended after everything that is made then.
          static const struct AtTheEnd {
            ~AtTheEnd() {
              process_registry().counter({.name = "calls_total"}).inc();
              std::_Exit(value_of(process_registry(), "calls_total") == 2 ? 0 : 3);
            }
          } at_the_end;
          process_registry().counter({.name = "calls_total"}).inc();
          const bool is_in_child = in_child([] {
            process_registry().counter({.name = "calls_total"}).inc();
            return value_of(process_registry(), "calls_total") == 2;
          });
          std::exit(is_in_child ? 2 : 1);
        }) == 0);
}

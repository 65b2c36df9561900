#include "quipu/batch.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using namespace std::chrono_literals;
using Lines = std::vector<std::string>;
using page::missing;
using page::refusal;

enum class Operation { select, insert };

struct DbMetrics {
  quipu::Scope scope;
  quipu::CounterFamily<Operation> queries =
      scope.counter<Operation>({.name = "queries_total", .help = "Queries."}, {"operation"});
  quipu::Histogram time = scope.histogram({.name = "query_seconds", .help = "Time.", .buckets = {1}});
  quipu::Gauge connections = scope.gauge({.name = "connections", .help = "Open connections."});
};

/// Clashes at its fourth registration with a counter `clash`.
struct Clashing {
  quipu::Scope scope;
  quipu::Gauge first = scope.gauge({.name = "first"});
  quipu::CounterFamily<std::string_view> second = scope.counter({.name = "second_total"}, {"label"});
  quipu::Registration third = scope.gauge_callback({.name = "third"}, [] { return 3.0; });
  quipu::Gauge clash = scope.gauge({.name = "clash"});
  quipu::Gauge never = scope.gauge({.name = "never"});
};

class Pools : public quipu::Collector {
 public:
  std::vector<quipu::FamilyDescription> describe() const override {
    return {{.name = "pool_a", .labels = {"pool"}}, {.name = "pool_b"}};
  }
  void collect(quipu::Samples& samples) override {
    samples.add("pool_a", {"main"}, 1.0);
    samples.add("pool_b", 2.0);
  }
};

}  // namespace

TEST_CASE("a batch is a struct of metrics under a prefix") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  const auto db = quipu::batch<DbMetrics>(registry, "db");
  db.queries(Operation::insert).inc(2);
  db.connections.set(7);
  db.time.observe(0.5);
  CHECK(page::value(registry, "shop_db_queries_total{operation=\"insert\"}") == "2");
  CHECK(page::value(registry, "shop_db_connections") == "7");
  CHECK(page::value(registry, "shop_db_query_seconds_bucket{le=\"1\"}") == "1");
}

TEST_CASE("a batch may have the prefix that is there, and one that is known at run time") {
  const auto registry = page::empty_registry({.prefix = "shop"});
  quipu::batch<DbMetrics>(registry, "").connections.set(1);
  quipu::batch<DbMetrics>(registry, quipu::runtime("db")).connections.set(2);
  quipu::batch<DbMetrics>(registry.subsystem("a"), "b").connections.set(3);
  CHECK(page::value(registry, "shop_connections") == "1");
  CHECK(page::value(registry, "shop_db_connections") == "2");
  CHECK(page::value(registry, "shop_a_b_connections") == "3");
  CHECK(missing(refusal([&] { static_cast<void>(quipu::batch<DbMetrics>(registry, quipu::runtime("d b"))); }),
                {"prefix \"d b\""})
            .empty());
}

TEST_CASE("a batch may be made with arguments, and need not be movable") {
  struct Metrics {
    Metrics(const quipu::Scope& scope, quipu::LabelName label, std::unique_ptr<double> first)
        : family(scope.gauge({.name = "value"}, {label})), value(*first) {
      family("a").set(value);
    }
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;
    quipu::GaugeFamily<std::string_view> family;
    std::atomic<double> value;
  };
  const auto registry = page::empty_registry();
  const auto metrics =
      quipu::batch<Metrics>(registry, "some", quipu::LabelName("shelf"), std::make_unique<double>(2.5));
  CHECK(page::samples(registry) == Lines{R"(some_value{shelf="a"} 2.5)"});
}

TEST_CASE("a batch that clashes leaves nothing") {
  const auto registry = page::empty_registry();
  const auto clash = registry.counter({.name = "x_clash", .help = "Was here first."});
  registry.gauge({.name = "labels"}, {"a"})("b").set(1);
  const std::string before = page::body(registry);
  for (int i = 0; i < 3; ++i) {
    const auto message = refusal([&] { static_cast<void>(quipu::batch<Clashing>(registry, "x")); });
    CHECK(missing(message, {"gauge x_clash", "counter x_clash", "Was here first."}).empty());
    CHECK(page::body(registry) == before);
  }
  // The names are free, for other definitions and for names that would have clashed.
  static_cast<void>(registry.counter({.name = "x_first"}));
  registry.gauge({.name = "x_second"}).set(1);
  registry.info({.name = "x_third_info"}, {});
  CHECK(page::value(registry, "x_second") == "1");
  clash.inc();
  CHECK(page::value(registry, "x_clash") == "1");
}

TEST_CASE("handles of a batch that is taken back record nowhere") {
  struct Handles {
    std::optional<quipu::Gauge> gauge;
    std::optional<quipu::CounterFamily<std::string_view>> family;
    std::optional<quipu::Registration> callback;
  };
  struct Leaking {
    Leaking(const quipu::Scope& scope, Handles& handles) {
      handles.gauge = scope.gauge({.name = "gauge"});
      handles.family = scope.counter({.name = "family_total"}, {"label"});
      handles.callback = scope.gauge_callback({.name = "callback"}, [] { return 1.0; });
      throw 5;
    }
  };
  const auto registry = page::empty_registry();
  Handles handles;
  CHECK_THROWS_AS(quipu::batch<Leaking>(registry, "x", handles), int);
  static_cast<void>(registry.gauge({.name = "x_gauge"}));
  handles.gauge->set(1);
  (*handles.family)("a").inc();
  CHECK(page::samples(registry) == Lines{"x_gauge 0"});
  const auto again = registry.gauge_callback({.name = "x_callback"}, [] { return 2.0; });
  handles.callback.reset();
  CHECK(page::samples(registry) == Lines{"x_callback 2", "x_gauge 0"});
}

TEST_CASE("whatever making the struct throws takes the batch back") {
  struct Throwing {
    explicit Throwing(const quipu::Scope& scope) : gauge(scope.gauge({.name = "gauge"})) {
      throw std::logic_error("no");
    }
    quipu::Gauge gauge;
  };
  const auto registry = page::empty_registry();
  CHECK_THROWS_AS(quipu::batch<Throwing>(registry, "x"), std::logic_error);
  CHECK(page::body(registry).empty());
  static_cast<void>(registry.counter({.name = "x_gauge"}));
}

TEST_CASE("nothing of a batch is shown before all of it") {
  struct Looking {
    Looking(const quipu::Scope& scope, const quipu::Registry& registry, std::vector<Lines>& pages)
        : collected(scope.add(pools)) {
      pages.push_back(page::samples(registry));
      gauge = scope.gauge({.name = "gauge"});
      callback = scope.gauge_callback({.name = "callback"}, {{"n", "2"}}, [] { return 2.0; });
      scope.info({.name = "some_info"}, {{"n", "2"}});
      pages.push_back(page::samples(registry));
    }
    Pools pools;
    quipu::Registration collected;
    quipu::Gauge gauge;
    quipu::Registration callback;
  };
  const auto registry = page::empty_registry();
  const auto old_callback = registry.gauge_callback({.name = "callback"}, {{"n", "1"}}, [] { return 1.0; });
  registry.info({.name = "some_info"}, {{"n", "1"}});
  std::vector<Lines> pages;
  {
    const auto metrics = quipu::batch<Looking>(registry, "", registry, pages);
    CHECK(pages == std::vector<Lines>(2, {R"(callback{n="1"} 1)", R"(some_info{n="1"} 1)"}));
    CHECK(page::samples(registry) == Lines{R"(callback{n="1"} 1)", R"(callback{n="2"} 2)", "gauge 0",
                                           R"(pool_a{pool="main"} 1)", "pool_b 2", R"(some_info{n="1"} 1)",
                                           R"(some_info{n="2"} 1)"});
  }
  CHECK(page::samples(registry) ==
        Lines{R"(callback{n="1"} 1)", "gauge 0", R"(some_info{n="1"} 1)", R"(some_info{n="2"} 1)"});
}

TEST_CASE("a scrape that began before the end of a batch shows nothing of it") {
  struct Metrics {
    quipu::Scope scope;
    quipu::Gauge gauge = scope.gauge({.name = "gauge"});
    quipu::Registration callback = scope.gauge_callback({.name = "callback"}, [] { return 1.0; });
    bool has_infos = [this] {
      scope.info({.name = "new_info"}, {{"a", "b"}});
      scope.info({.name = "old_info"}, {{"a", "c"}});
      return true;
    }();
  };
  const auto registry = page::empty_registry();
  registry.info({.name = "old_info"}, {{"a", "b"}});
  std::optional<Metrics> made;
  const auto making = registry.gauge_callback({.name = "making"}, [&] {
    if (!made) made.emplace(quipu::batch<Metrics>(registry, ""));
    registry.gauge({.name = "at_once"}).set(1);
    return 1.0;
  });
  CHECK(page::samples(registry) == Lines{"at_once 1", "making 1", R"(old_info{a="b"} 1)"});
  CHECK(page::samples(registry) == Lines{"at_once 1", "callback 1", "gauge 0", "making 1", R"(new_info{a="b"} 1)",
                                         R"(old_info{a="b"} 1)", R"(old_info{a="c"} 1)"});
}

TEST_CASE("infos of a batch that fails are not added to families that were there before") {
  struct Infos {
    explicit Infos(const quipu::Scope& scope) {
      scope.info({.name = "plugin_info"}, {{"plugin", "b"}});
      scope.info({.name = "other_info"}, {{"plugin", "b"}});
      throw std::runtime_error("no");
    }
  };
  const auto registry = page::empty_registry();
  registry.info({.name = "plugin_info"}, {{"plugin", "a"}});
  CHECK_THROWS_AS(quipu::batch<Infos>(registry, ""), std::runtime_error);
  CHECK(page::samples(registry) == Lines{R"(plugin_info{plugin="a"} 1)"});
  static_cast<void>(registry.gauge({.name = "other"}));
}

TEST_CASE("a family that was there before stays when a batch that has it too fails") {
  const auto registry = page::empty_registry();
  registry.gauge({.name = "x_clash"}).set(1);
  static_cast<void>(registry.counter({.name = "x_never"}));
  const auto first = registry.gauge({.name = "x_first"});
  first.set(5);
  CHECK_THROWS_AS(quipu::batch<Clashing>(registry, "x"), quipu::RegistrationError);
  CHECK(page::samples(registry) == Lines{"x_clash 1", "x_first 5", "x_never 0"});
}

TEST_CASE("a family that something outside registers meanwhile belongs to all") {
  struct Shared {
    Shared(const quipu::Scope& scope, const quipu::Registry& registry, bool fails, Lines& seen)
        : gauge(scope.gauge({.name = "gauge"})) {
      scope.info({.name = "some_info"}, {{"from", "inside"}});
      registry.gauge({.name = "x_gauge"}).set(1);
      registry.info({.name = "x_some_info"}, {{"from", "outside"}});
      seen = page::samples(registry);
      if (fails) throw 5;
    }
    quipu::Gauge gauge;
  };
  for (const bool fails : {false, true}) {
    const auto registry = page::empty_registry();
    const Lines outside{"x_gauge 1", R"(x_some_info{from="outside"} 1)"};
    Lines seen;
    if (fails) {
      CHECK_THROWS_AS(quipu::batch<Shared>(registry, "x", registry, true, seen), int);
      CHECK(page::samples(registry) == outside);
    } else {
      quipu::batch<Shared>(registry, "x", registry, false, seen).gauge.inc();
      CHECK(page::samples(registry) ==
            Lines{"x_gauge 2", R"(x_some_info{from="outside"} 1)", R"(x_some_info{from="inside"} 1)"});
    }
    CHECK(seen == outside);
  }
}

TEST_CASE("of two batches at the same time with the same families, each stays or goes by itself") {
  struct Inner {
    quipu::Scope scope;
    bool fails;
    quipu::Gauge shared = scope.gauge({.name = "shared"});
    int thrown = fails ? throw 5 : 0;
  };
  // Not nested: through the registry itself, while this one is open.
  struct Outer {
    Outer(const quipu::Scope& scope, const quipu::Registry& registry, bool inner_fails, bool outer_fails, Lines& seen)
        : shared(scope.gauge({.name = "shared"})) {
      try {
        static_cast<void>(quipu::batch<Inner>(registry, "x", inner_fails));
      } catch (int) {
      }
      seen = page::samples(registry);
      if (outer_fails) throw 5;
    }
    quipu::Gauge shared;
  };
  for (const bool inner_fails : {false, true}) {
    for (const bool outer_fails : {false, true}) {
      const auto registry = page::empty_registry();
      Lines seen;
      try {
        static_cast<void>(quipu::batch<Outer>(registry, "x", registry, inner_fails, outer_fails, seen));
      } catch (int) {
      }
      CHECK(seen == (inner_fails ? Lines{} : Lines{"x_shared 0"}));
      CHECK(page::samples(registry) == (inner_fails && outer_fails ? Lines{} : Lines{"x_shared 0"}));
    }
  }
}

namespace {

struct Pool {
  quipu::Scope scope;
  bool fails = false;
  quipu::Gauge size = scope.gauge({.name = "size"});
  quipu::Gauge shared = scope.subsystem("").gauge({.name = "shared"});
  quipu::Registration callback = scope.gauge_callback({.name = "callback"}, [] { return 1.0; });
  int thrown = [this] {
    scope.info({.name = "pool_info"}, {{"a", "b"}});
    return fails ? throw 5 : 0;
  }();
};

}  // namespace

TEST_CASE("a batch in a batch is part of it") {
  struct Db {
    Db(const quipu::Scope& scope, const quipu::Registry& registry, bool fails, Lines& seen)
        : queries(scope.gauge({.name = "queries"})), pool(quipu::batch<Pool>(scope, "pool")) {
      seen = page::samples(registry);
      later = pool.scope.gauge({.name = "later"});  // closed, but inside of this one
      if (fails) throw 5;
    }
    quipu::Gauge queries;
    Pool pool;
    quipu::Gauge later;
  };
  const auto registry = page::empty_registry();
  Lines seen{"anything"};
  CHECK_THROWS_AS(quipu::batch<Db>(registry, "db", registry, true, seen), int);
  CHECK(seen.empty());
  CHECK(page::body(registry).empty());
  static_cast<void>(registry.gauge({.name = "db_pool_pool"}));  // would be the base of db_pool_pool_info
  const auto other = page::empty_registry();
  const auto db = quipu::batch<Db>(other, "db", other, false, seen);
  CHECK(seen.empty());
  CHECK(page::samples(other) == Lines{"db_pool_callback 1", "db_pool_later 0", R"(db_pool_pool_info{a="b"} 1)",
                                      "db_pool_shared 0", "db_pool_size 0", "db_queries 0"});
}

TEST_CASE("a batch may go on without a batch in it that failed") {
  struct Db {
    explicit Db(const quipu::Scope& scope) : shared(scope.gauge({.name = "pool_shared"})) {
      try {
        static_cast<void>(quipu::batch<Pool>(scope, "pool", true));
      } catch (int) {
      }
    }
    quipu::Gauge shared;
  };
  const auto registry = page::empty_registry();
  static_cast<void>(quipu::batch<Db>(registry, "db"));
  CHECK(page::samples(registry) == Lines{"db_pool_shared 0"});
}

TEST_CASE("the scope of a batch registers as usual afterwards, though the batch was taken back") {
  struct Keeping {
    Keeping(const quipu::Scope& scope, std::optional<quipu::Scope>& kept, bool fails)
        : gauge(scope.gauge({.name = "gauge"})) {
      kept = scope.subsystem("sub");
      if (fails) throw 5;
    }
    quipu::Gauge gauge;
  };
  for (const bool fails : {false, true}) {
    const auto registry = page::empty_registry();
    std::optional<quipu::Scope> kept;
    try {
      static_cast<void>(quipu::batch<Keeping>(registry, "x", kept, fails));
    } catch (int) {
    }
    const auto before = page::samples(registry);
    static_cast<void>(kept->gauge({.name = "later"}));
    kept->info({.name = "fact_info"}, {});
    const auto callback = kept->gauge_callback({.name = "read"}, [] { return 1.0; });
    auto expected = before;
    for (const char* const line : {"x_sub_fact_info 1", "x_sub_later 0", "x_sub_read 1"}) expected.push_back(line);
    CHECK(page::samples(registry) == expected);
  }
}

TEST_CASE("a batch may be made when its registry has no other handle") {
  auto db = [] { return quipu::batch<DbMetrics>(page::empty_registry(), "db"); }();
  db.connections.set(1);
  static_cast<void>(db.scope.gauge({.name = "more"}));
}

TEST_CASE("advice on a batch comes at once, whatever comes of the batch") {
  std::vector<std::string> advised;
  const auto registry = page::empty_registry(
      {.on_lint = [&](std::string_view family, std::string_view) { advised.emplace_back(family); }});
  static_cast<void>(registry.counter({.name = "x_clash", .help = "H."}));
  advised.clear();
  CHECK_THROWS_AS(quipu::batch<Clashing>(registry, "x"), quipu::RegistrationError);
  CHECK(std::ranges::count(advised, "x_first") == 1);
  CHECK(std::ranges::count(advised, "x_third") == 1);
}

TEST_CASE("a scrape in another thread sees all of a batch or nothing") {
  struct Metrics {
    Metrics(const quipu::Scope& scope, const char* value, bool fails) {
      static_cast<void>(scope.gauge({.name = "a"}));
      first = scope.gauge_callback({.name = "b"}, [] { return 1.0; });
      scope.info({.name = "c_info"}, {{"n", value}});
      scope.subsystem("").info({.name = "d_info"}, {{"n", value}});
      static_cast<void>(scope.counter({.name = "e"}));
      second = scope.gauge_callback({.name = "f"}, [] { return 1.0; });
      static_cast<void>(scope.gauge({.name = "g"}));
      if (fails) throw 5;
    }
    quipu::Registration first;
    quipu::Registration second;
  };
  std::atomic<bool> is_over{false};
  std::size_t halves = 0;
  std::size_t wholes = 0;
  std::size_t nothings = 0;
  std::size_t rounds = 0;
  const auto end = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < end || (rounds < 100'000 && (wholes == 0 || nothings == 0))) {
    ++rounds;
    const auto registry = page::empty_registry();
    registry.info({.name = "c_info"}, {{"n", "old"}});
    registry.info({.name = "d_info"}, {{"n", "old"}});
    is_over = false;
    std::thread scraper([&] {
      for (bool was_over = false; !was_over;) {
        was_over = is_over.load(std::memory_order_relaxed);
        const std::size_t size = shown::Everything(registry).values().size();
        ++(size == 2 ? nothings : size == 9 ? wholes : halves);
      }
    });
    static_cast<void>(shown::Everything(registry));
    for (int i = 0; i < 5; ++i) {
      try {
        static_cast<void>(quipu::batch<Metrics>(registry, "", "new", true));
      } catch (int) {
      }
    }
    const auto metrics = quipu::batch<Metrics>(registry, "", "new", false);
    is_over.store(true, std::memory_order_relaxed);
    scraper.join();
  }
  CHECK(halves == 0);
  CHECK(wholes > 0);
  CHECK(nothings > 0);
}

TEST_CASE("batches, and registrations of the same definitions, from several threads stay as wholes") {
  struct Metrics {
    Metrics(const quipu::Scope& scope, bool fails) {
      scope.gauge({.name = "a"}).inc();
      scope.counter({.name = "b_total"}, {"n"})("1").inc();
      scope.info({.name = "c_info"}, {{"n", "1"}});
      if (fails) throw 5;
      scope.gauge({.name = "d"}).inc();
    }
  };
  const auto registry = page::empty_registry();
  std::atomic<std::size_t> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const std::string prefix = "p" + std::to_string(i);
        const bool fails = t != 0 && i % 3 != 0;
        try {
          // Of every third prefix all threads make a whole batch; of the others the first one does, or registers.
          if (t == 0 && i % 3 == 1) {
            static_cast<void>(registry.subsystem(quipu::runtime(prefix)).gauge({.name = "a"}));
          } else if (t == 0 && i % 3 == 2) {
            continue;
          } else {
            static_cast<void>(quipu::batch<Metrics>(registry, quipu::runtime(prefix), fails));
          }
        } catch (int) {
        } catch (...) {
          ++wrong;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  std::size_t expected = 0;
  const auto values = shown::Everything(registry).values();
  std::size_t unexpected = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string prefix = "p" + std::to_string(i);
    const auto has = [&](const shown::Everything::Key& key) { return values.count(key) == 1; };
    const bool is_whole = has({prefix + "_a"}) && has({prefix + "_b_total", "1"}) && has({prefix + "_c_info", "1"}) &&
                          has({prefix + "_d"});
    const bool is_single = has({prefix + "_a"}) && !has({prefix + "_b_total", "1"}) && !has({prefix + "_d"});
    if (i % 3 == 0) {
      unexpected += static_cast<std::size_t>(!is_whole);
      expected += 4;
    } else if (i % 3 == 1) {
      unexpected += static_cast<std::size_t>(!is_single);
      expected += 1;
    }
  }
  CHECK(unexpected == 0);
  CHECK(values.size() == expected);
}

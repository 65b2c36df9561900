#include "quipu/observers.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"

namespace {

using Texts = std::vector<std::string>;
using quipu::Observers;

struct Started {
  int step;
};
struct Ended {
  int step;
};

/// Hears of both.
struct Log {
  void on(const Started& event) { texts.push_back("started " + std::to_string(event.step)); }
  void on(const Ended& event) { texts.push_back("ended " + std::to_string(event.step)); }
  Texts texts;
};

struct Endings {
  void on(const Ended& event) noexcept { last = event.step; }
  int last = 0;
};

Started made(int& count) {
  ++count;
  return {count};
}

}  // namespace

static_assert(std::is_empty_v<Observers<>>);
static_assert(Observers<Log, Endings>::hears<Started>);
static_assert(!Observers<Endings>::hears<Started>);
static_assert(!Observers<>::hears<Started>);

TEST_CASE("every listener hears of the events that it has a function for, in order") {
  Log log;
  Endings endings;
  Texts calls;
  Observers observers([&](const Started&) { calls.push_back("first"); }, std::ref(log), std::ref(endings),
                      [&](const Started&) { calls.push_back(std::to_string(log.texts.size())); });
  observers.notify(Started{1});
  observers.notify(Ended{2});
  CHECK(log.texts == Texts{"started 1", "ended 2"});
  CHECK(endings.last == 2);
  CHECK(calls == Texts{"first", "1"});
  CHECK(observers.failures() == 0);
}

TEST_CASE("a callable hears of all that it can be called with") {
  int events = 0;
  Observers observers([&](const auto&) { ++events; });
  observers.notify(Started{1});
  observers.notify(Ended{1});
  CHECK(events == 2);
}

TEST_CASE("a listener keeps what it is made with") {
  const auto registry = page::empty_registry();
  struct Metrics {
    quipu::CounterFamily<int> steps;
    void on(const Ended& event) { steps(event.step).inc(); }
  };
  Observers observers(Metrics{registry.counter<int>({.name = "steps_total"}, {"step"})});
  observers.notify(Ended{7});
  CHECK(page::value(registry, "steps_total{step=\"7\"}") == "1");
}

TEST_CASE("what a listener throws is counted, and the others are called") {
  Log log;
  Observers observers([](const Started&) { throw std::runtime_error("no"); }, [](const auto&) { throw 5; },
                      std::ref(log));
  observers.notify(Started{1});
  observers.notify(Ended{2});
  CHECK(log.texts == Texts{"started 1", "ended 2"});
  CHECK(observers.failures() == 3);
}

TEST_CASE("an event that nobody hears of is not made") {
  int count = 0;
  const auto make = [&] { return made(count); };
  Observers<>().notify<Started>(make);
  Observers endings{Endings()};
  endings.notify<Started>(make);
  CHECK(count == 0);
  Log log;
  Observers both(std::ref(log), [](const Started&) {});
  both.notify<Started>(make);
  CHECK(count == 1);
  CHECK(log.texts == Texts{"started 1"});
}

TEST_CASE("nobody listens to Observers without listeners") {
  const Observers observers;
  static_assert(std::is_same_v<decltype(observers), const Observers<>>);
  observers.notify(Started{1});
  CHECK(observers.failures() == 0);
}

TEST_CASE("a listener may notify again") {
  Log log;
  std::function<void(const Started&)> again;
  Observers observers(std::ref(again), std::ref(log));
  again = [&](const Started& event) {
    if (event.step < 3) observers.notify(Started{event.step + 1});
  };
  observers.notify(Started{1});
  CHECK(log.texts == Texts{"started 3", "started 2", "started 1"});
}

using List = quipu::ObserverList<Started, Ended>;

TEST_CASE("a list has listeners that are chosen at run time, and tells each of what it hears, in order") {
  struct Plugin {
    virtual ~Plugin() = default;
    virtual void on(const Ended& event) = 0;
  };
  struct Writer : Plugin {
    explicit Writer(Texts& to) : texts(to) {}
    void on(const Ended& event) override { texts.push_back("plugin " + std::to_string(event.step)); }
    Texts& texts;
  };
  Texts texts;
  Endings endings;
  List list;
  int made_count = 0;
  list.notify(Started{0});
  list.notify<Started>([&] { return made(made_count); });
  CHECK(made_count == 0);
  list.add([&texts](const Started& event) { texts.push_back("callable " + std::to_string(event.step)); });
  list.add(std::ref(endings));
  list.add(std::shared_ptr<Plugin>(std::make_shared<Writer>(texts)));
  list.add(std::shared_ptr<Plugin>());
  list.add([&texts](const Ended&) { texts.push_back("last"); });
  list.notify(Started{1});
  list.notify(Ended{2});
  list.notify<Started>([&] { return made(made_count); });
  CHECK(texts == Texts{"callable 1", "plugin 2", "last", "callable 1"});
  CHECK(endings.last == 2);
  CHECK(made_count == 1);
  CHECK(list.failures() == 0);
}

TEST_CASE("a list is a listener, of its own events only, and counts what its listeners throw") {
  struct Other {};
  Log log;
  List list;
  list.add([](const Ended&) { throw std::runtime_error("no"); });
  list.add(std::ref(log));
  Observers observers(std::ref(list));
  CHECK_FALSE(decltype(observers)::hears<Other>);
  observers.notify(Other{});
  observers.notify(Ended{1});
  CHECK(log.texts == Texts{"ended 1"});
  CHECK(list.failures() == 1);
  CHECK(observers.failures() == 0);
}

TEST_CASE("a list keeps what is moved in until it ends, however many there are") {
  const auto held = std::make_shared<int>(0);
  {
    List list;
    for (int i = 0; i < 1000; ++i) list.add([held](const Ended&) { ++*held; });
    CHECK(held.use_count() == 1001);
    list.notify(Ended{});
    CHECK(*held == 1000);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("listeners may be added while others notify, by several threads") {
  List list;
  std::atomic<int> heard = 0;
  std::atomic<bool> is_over = false;
  std::thread notifier([&] {
    while (!is_over) list.notify(Started{1});
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 25; ++j) list.add([&heard](const auto&) { ++heard; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  is_over = true;
  notifier.join();
  heard = 0;
  list.notify(Ended{1});
  CHECK(heard == 100);
}

TEST_CASE("several threads may notify") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "events_total"});
  Observers observers([counter](const Ended&) { counter.inc(); }, [](const Ended&) { throw 5; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) observers.notify(Ended{i});
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(page::value(registry, "events_total") == "600");
  CHECK(observers.failures() == 600);
}

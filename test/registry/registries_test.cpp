#include "quipu/registries.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/collector.hpp"
#include "quipu/exposition.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"
#include "support/waiting.hpp"

namespace {

enum class Phase { start, run };

using Lines = std::vector<std::string>;
using page::empty_registry;
using page::missing;
using page::refusal;
using quipu::MetricType;
using quipu::Registries;
using quipu::Registry;
using quipu::Samples;

std::string body(const Registries& registries) { return quipu::render(registries).body; }
Lines samples(const Registries& registries) { return page::samples(body(registries)); }

/// A registry that shows how many clashes it had.
Registry counting_registry() { return Registry({.process_metrics = false}); }

std::string clashes(const Registry& registry, std::string_view reason) {
  return page::value(registry, "quipu_page_clashes_total{reason=\"" + std::string(reason) + "\"}");
}

/// The families and reasons that a callback was told.
struct Told {
  std::vector<std::pair<std::string, std::string>> clashes{};
  auto callback() {
    return [this](std::string_view family, std::string_view why) { clashes.emplace_back(family, why); };
  }
};

}  // namespace

TEST_CASE("a page of several registries has the families of all in the order of their names") {
  const auto program = empty_registry({.prefix = "shop"});
  const auto library = empty_registry({.const_labels = {{"lib", "x"}}});
  program.counter({.name = "orders_total"}).inc();
  library.counter({.name = "calls_total"}).inc(2);
  const auto callback = library.gauge_callback({.name = "zzz"}, [] { return 3.0; });
  const Registries both({program, library});
  CHECK(samples(both) == Lines{R"(calls_total{lib="x"} 2)", "shop_orders_total 1", R"(zzz{lib="x"} 3)"});
  const std::vector<std::string> names{"zzz"};
  CHECK(page::samples(quipu::render(both, {.families = names}).body) == Lines{R"(zzz{lib="x"} 3)"});
  program.gauge({.name = "later"}).set(1);
  CHECK(samples(both).size() == 4);
  CHECK(quipu::page_source(both)({})->next() == body(both));
}

TEST_CASE("a family of several registries is one, with the help of the first") {
  const auto a = empty_registry({.const_labels = {{"shard", "2"}}});
  const auto b = empty_registry({.const_labels = {{"shard", "1"}}});
  a.counter({.name = "x_total", .help = "Of a."}, {"k"})("v").inc(1);
  b.counter<int>({.name = "x_total", .help = "Of b."}, {"k"})(7).inc(2);
  CHECK(body(Registries({a, b})) ==
        "# HELP x_total Of a.\n# TYPE x_total counter\n"
        "x_total{shard=\"1\",k=\"7\"} 2\nx_total{shard=\"2\",k=\"v\"} 1\n");
  const auto c = empty_registry();
  const auto d = empty_registry();
  c.counter({.name = "x_total", .help = "X."}, {"k"})("c").inc(1);
  d.counter({.name = "x_total", .help = "X."}, {"k"})("a").inc(2);
  CHECK(samples(Registries({c, d})) == Lines{R"(x_total{k="c"} 1)", R"(x_total{k="a"} 2)"});
}

TEST_CASE("families of several registries that clash are refused when the list is given") {
  const auto refused = [](auto first, auto second) {
    const auto a = empty_registry();
    const auto b = empty_registry();
    first(a);
    second(b);
    return refusal([&] { static_cast<void>(Registries({a, b})); });
  };
  const auto counter = [](const Registry& r) {
    static_cast<void>(r.counter({.name = "x_total", .help = "X."}, {"k"}));
  };
  const std::string first = R"(counter x_total{k text} "X.")";
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.gauge({.name = "x_total"}, {"k"})); }),
                {"gauge x_total{k text} \"\" cannot be on a page with " + first,
                 "type, unit and label names must be the same"}) == "");
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.counter({.name = "x_total"}, {"l"})); }),
                {"counter x_total{l text}", first}) == "");
  CHECK(
      missing(
          refused(counter,
                  [](auto& r) {
                    static_cast<void>(r.subsystem("", {{"s", "1"}}).counter({.name = "x_total", .help = "X."}, {"k"}));
                  }),
          {"counter x_total{s=\"1\", k text}", first}) == "");
  CHECK(missing(refused([](auto& r) { static_cast<void>(r.histogram({.name = "y"})); },
                        [](auto& r) { static_cast<void>(r.gauge({.name = "y_count"})); }),
                {"gauge y_count", "histogram y ", "both have samples named \"y_count\""}) == "");
  CHECK(missing(refused(counter, [](auto& r) { static_cast<void>(r.gauge({.name = "x"})); }), {"\"x\"", first}) == "");
  // Series.
  CHECK(missing(refused([](auto& r) { static_cast<void>(r.gauge({.name = "z"})); },
                        [](auto& r) { static_cast<void>(r.gauge({.name = "z"})); }),
                {"gauge z", "both have the same series"}) == "");
  const auto series = [](const Registry& r) { r.counter({.name = "x_total", .help = "X."}, {"k"})("v").inc(); };
  CHECK(missing(refused(series, series), {"the series {k=\"v\"} of " + first}) == "");

  const auto one = empty_registry();
  CHECK(missing(refusal([&] { static_cast<void>(Registries({one, one})); }), {"given twice"}) == "");
  CHECK(missing(refusal([&] { static_cast<void>(Registries({})); }), {"at least one"}) == "");
}

TEST_CASE("a family that clashes later is left out for the second registry, counted, and told once") {
  const auto a = counting_registry();
  const auto b = counting_registry();
  Told told;
  const Registries both({a, b}, told.callback());
  b.counter({.name = "x_total"}).inc(1);
  CHECK(page::value(body(both), "x_total") == "1");
  a.gauge({.name = "x"}).set(5);  // b's counter may have samples of this name
  const std::string page = body(both);
  CHECK(page::value(page, "x") == "5");
  CHECK(page::value(page, "x_total") == page::absent);
  static_cast<void>(body(both));
  REQUIRE(told.clashes.size() == 1);
  CHECK(told.clashes[0].first == "x_total");
  CHECK(missing(told.clashes[0].second, {"counter x_total", "gauge x ", "both have samples named \"x\""}) == "");
  CHECK(clashes(b, "family") == "2");
  CHECK(clashes(a, "family") == page::absent);
  // It counts on the page that left it out, too.
  CHECK(page::value(body(both), "quipu_page_clashes_total{reason=\"family\"}") == "2");
  // The first one goes, and the second is shown again.
  CHECK(a.remove("x"));
  CHECK(page::value(body(both), "x_total") == "1");
}

TEST_CASE("of equal series the first registry's is shown, and the other is counted and told once") {
  const auto a = counting_registry();
  const auto b = counting_registry();
  Told told;
  const Registries both({a, b}, told.callback());
  const auto of_a = a.counter({.name = "x_total"}, {"k", "l"});
  const auto of_b = b.counter({.name = "x_total"}, {"k", "l"});
  of_a("1", "23").inc(1);
  of_b("12", "3").inc(2);
  CHECK(page::value(body(both), R"(x_total{k="1",l="23"})") == "1");
  CHECK(told.clashes.empty());
  of_b("1", "23").inc(9);
  const std::string page = body(both);
  CHECK(page::value(page, R"(x_total{k="1",l="23"})") == "1");
  CHECK(page::value(page, R"(x_total{k="12",l="3"})") == "2");
  static_cast<void>(body(both));
  CHECK(clashes(b, "series") == "2");
  REQUIRE(told.clashes.size() == 1);
  CHECK(missing(told.clashes[0].second, {R"({k="1",l="23"} of counter x_total{k text, l text})"}) == "");

  // Of callbacks and instruments, too.
  const auto gauge = a.gauge({.name = "y"});
  const auto callback = b.gauge_callback({.name = "y"}, [] { return 2.0; });
  gauge.set(1);
  CHECK(page::value(body(both), "y") == "1");
  CHECK(a.remove(gauge));
  CHECK(page::value(body(both), "y") == "2");
}

TEST_CASE("what the library shows of the process is there once, and what it counts of registries is added up") {
  const Registry a({.runtime_metrics = true});
  const Registry b({.runtime_metrics = true});
  const auto throws = []() -> double { throw 1; };
  const auto of_a = a.gauge_callback({.name = "a"}, throws);
  const auto of_b = b.gauge_callback({.name = "b"}, throws);
  const auto family = b.counter({.name = "x_total", .max_series = 1}, {"k"});
  family("1").inc();
  family("2").inc();
  Told told;
  const Registries both({a, b}, told.callback());
  static_cast<void>(body(both));
  const auto page = quipu::render(both, {.accept = "application/openmetrics-text;version=1.0.0"});
  const auto read = quipu::testing::read_page(page.body, page.content_type);  // refuses what is there twice
  using quipu::testing::value_of;
  CHECK(value_of(read, "process_resident_memory_bytes") > 0);
  const auto exceptions = [&read](std::string_view collector) {
    return value_of(read, "quipu_collector_errors_total", {{"collector", collector}, {"reason", "exception"}});
  };
  CHECK(exceptions("a") == 1);
  CHECK(exceptions("b") == 1);
  CHECK(value_of(read, "quipu_overflowed_lookups_total", {{"family", "x_total"}}) == 1);
  CHECK(value_of(read, "quipu_collector_up", {{"collector", "a"}}) == 0);
  CHECK(value_of(read, "quipu_collector_up", {{"collector", "cxx_allocator_bytes"}}) == 1);
  CHECK(told.clashes.empty());
  CHECK(clashes(b, "family") == page::absent);
}

TEST_CASE("families that collectors have not described are joined with the equal ones of other registries") {
  const auto a = empty_registry();
  const auto b = counting_registry();
  const auto show = [](const char* help, const char* label) {
    return [=](Samples& samples) {
      samples.family({.name = "x", .help = help, .labels = {"k"}}).add({label}, 1);
      samples.family({.name = "y_total", .help = help, .type = MetricType::counter}).add(2);
    };
  };
  const auto of_b = b.add(show("Of b.", "b"));
  const auto of_a = a.add(show("Of a.", "c"));
  b.gauge({.name = "z", .help = "Z."}, {"k"})("instrument").set(3);
  const auto more = a.add([](Samples& samples) {
    samples.family({.name = "z", .labels = {"k"}}).add({"collected"}, 4);
    samples.family({.name = "z", .labels = {"k"}}).add({"instrument"}, 5);
  });
  Told told;
  const Registries both({a, b}, told.callback());
  const std::string page = body(both);
  CHECK_NOTHROW(quipu::testing::read_page(page, "text/plain"));
  CHECK(missing(page, {"# HELP x Of a.\n# TYPE x gauge\nx{k=\"c\"} 1\nx{k=\"b\"} 1\n",
                       "# HELP y_total Of a.\n# TYPE y_total counter\ny_total 2\n",
                       "z{k=\"collected\"} 4\nz{k=\"instrument\"} 5\n"}) == "");
  // b's y_total and z{k="instrument"} were shown already.
  CHECK(clashes(b, "series") == "2");
  CHECK(clashes(b, "family") == page::absent);
  CHECK(told.clashes.size() == 2);
  const std::vector<std::string> names{"x"};
  CHECK(page::samples(quipu::render(both, {.families = names}).body) == Lines{R"(x{k="c"} 1)", R"(x{k="b"} 1)"});
}

TEST_CASE("a family that a collector has not described and that clashes on a joined page is left out and reported") {
  std::vector<std::string> reports;
  const auto report_to = [&reports](std::string registry) {
    return [&reports, registry](std::string_view collector, std::string_view what) {
      reports.push_back(registry + ": " + std::string(collector) + ": " + std::string(what));
    };
  };
  const Registry a({.on_error = report_to("a"), .process_metrics = false});
  const Registry b({.on_error = report_to("b"), .process_metrics = false});
  b.histogram({.name = "m", .help = "M.", .buckets = {1.0}}).observe(1);
  const auto of_a = a.add(
      [](Samples& samples) {
        samples.family({.name = "m_count"}).add(1);  // what b has registered comes first
        samples.family({.name = "x"}).add(2);
      },
      "one");
  const auto of_b = b.add(
      [](Samples& samples) {
        samples.family({.name = "x_total", .type = MetricType::counter}).add(3);  // may have samples named "x"
        samples.family({.name = "y"}).add(4);
      },
      "two");
  const auto also_of_b =
      b.add([](Samples& samples) { samples.family({.name = "x_total", .type = MetricType::counter}).add(5); }, "three");
  Told told;
  const Registries both({a, b}, told.callback());
  CHECK(reports.empty());
  const std::string page = body(both);
  CHECK_NOTHROW(quipu::testing::read_page(page, "text/plain"));
  CHECK(page::value(page, "m_count") == "1");
  CHECK(page::value(page, "x") == "2");
  CHECK(page::value(page, "x_total") == page::absent);
  CHECK(page::value(page, "y") == "4");
  CHECK(page::value(page, R"(quipu_collector_up{collector="two"})") == "1");
  REQUIRE(reports.size() == 3);
  CHECK(missing(reports[0], {"a: one: family m_count is left out", "gauge m_count", "histogram m "}) == "");
  CHECK(missing(reports[1], {"b: two: family x_total is left out", "counter x_total", "gauge x "}) == "");
  CHECK(missing(reports[2], {"b: three: family x_total is left out"}) == "");
  CHECK(told.clashes.empty());

  const std::string next = body(both);
  const auto clash_of = [&next](const std::string& collector) {
    return page::value(next, "quipu_collector_errors_total{collector=\"" + collector + "\",reason=\"clash\"}");
  };
  CHECK(clash_of("one") == "1");
  CHECK(clash_of("two") == "1");
  CHECK(clash_of("three") == "1");
  CHECK(clashes(b, "family") == page::absent);
  // A page of some families leaves out the same.
  const std::vector<std::string> names{"x_total", "y"};
  CHECK(page::samples(quipu::render(both, {.families = names}).body) == Lines{"y 4"});
  // On the pages of one registry nothing clashes.
  CHECK(page::value(a, "m_count") == "1");
  CHECK(page::value(b, "x_total") == "3");
}

TEST_CASE("a stateset that one registry collects and another one records is shown once for equal labels") {
  const auto a = empty_registry();
  const auto b = empty_registry();
  const auto phase = a.stateset<Phase>({.name = "phase", .help = "Phase."}, {"part"});
  phase("left").set(Phase::run);
  const auto of_b = b.add([](Samples& samples) {
    const auto family =
        samples.family({.name = "phase", .help = "Phase.", .type = MetricType::stateset, .labels = {"part"}});
    family.add({"left"}, quipu::StateSetValue{.states = {{"start", true}, {"run", false}}});
    family.add({"right"}, quipu::StateSetValue{.states = {{"start", true}, {"run", false}}});
  });
  const Lines all{R"(phase{part="left",phase="start"} 0)", R"(phase{part="left",phase="run"} 1)",
                  R"(phase{part="right",phase="start"} 1)", R"(phase{part="right",phase="run"} 0)"};
  CHECK(samples(Registries({a, b})) == all);
  // The collected one is first: instruments, too, are left out as a whole.
  CHECK(samples(Registries({b, a})) ==
        Lines{R"(phase{part="left",phase="start"} 1)", R"(phase{part="left",phase="run"} 0)", all[2], all[3]});
}

TEST_CASE("errors and durations of collectors of one name are added up over the registries of a page") {
  const auto a = counting_registry();
  const auto b = counting_registry();
  const auto sleep = [](Samples& samples) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    samples.family({.name = "x", .labels = {"k"}});
  };
  const auto fails = [](Samples&) { throw 5; };
  const auto slow_of_a = a.add(sleep, "slow");
  const auto slow_of_b = b.add(sleep, "slow");
  const auto bad_of_a = a.add(fails, "half");
  const auto good_of_b = b.add(sleep, "half");
  const auto bad_1 = a.add(fails, "bad");
  const auto bad_2 = b.add(fails, "bad");
  const Registries both({a, b});
  static_cast<void>(body(both));
  const auto read = quipu::testing::read_page(body(both), "text/plain");
  const auto value = [&read](std::string_view family, std::string_view collector) {
    return quipu::testing::value_of(read, family, {{"collector", collector}});
  };
  const auto exceptions = [&read](std::string_view collector) {
    return quipu::testing::value_of(read, "quipu_collector_errors_total",
                                    {{"collector", collector}, {"reason", "exception"}});
  };
  CHECK(value("quipu_collector_duration_seconds", "slow") >= 0.04);
  CHECK(value("quipu_collector_duration_seconds", "half") >= 0.02);
  CHECK(value("quipu_collector_duration_seconds", "bad") > 0);
  CHECK(value("quipu_collector_up", "slow") == 1);
  CHECK(value("quipu_collector_up", "half") == 0);
  CHECK(value("quipu_collector_up", "bad") == 0);
  CHECK(exceptions("slow") == 0);
  CHECK(exceptions("half") == 1);
  CHECK(exceptions("bad") == 2);
}

TEST_CASE("a list of registries is checked without a call of their collectors") {
  const auto a = empty_registry();
  const auto b = empty_registry();
  static_cast<void>(a.counter({.name = "x_total"}, {"k"})("a"));
  static_cast<void>(b.counter({.name = "x_total"}, {"k"})("b"));
  int calls = 0;
  const auto collector = a.add([&calls](Samples&) { ++calls; });
  const Registries both({a, b});
  CHECK(calls == 0);
  static_cast<void>(body(both));
  CHECK(calls == 1);
}

TEST_CASE("a collector that hangs costs its own families only, whichever registry it is of") {
  const auto a = empty_registry();
  const auto b = empty_registry();
  Gate gate;
  const auto hangs = a.gauge_callback({.name = "hangs"}, [&gate] {
    gate.pass();
    return 1.0;
  });
  const auto works = b.gauge_callback({.name = "works"}, [] { return 2.0; });
  const Registries both({a, b});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  CHECK(page::samples(quipu::render(both, {.deadline = deadline}).body) == Lines{"works 2"});
  gate.open();
  CHECK(soon([&gate] { return gate.passed() == gate.entered(); }));
}

TEST_CASE("a visitor sees the parts of several registries, and a page keeps their metrics") {
  struct : quipu::Visitor {
    std::string text;
    void family(const quipu::FamilyView& family) override { text += std::string(family.name) + ":"; }
    void part(const quipu::FamilyView& family) override { text += std::string(family.const_labels[0].value) + ":"; }
    void sample(const quipu::Sample& sample) override { text += std::to_string(sample.value.whole()) + ";"; }
    void histogram(const quipu::HistogramSample&) override {}
    void summary(const quipu::SummarySample&) override {}
  } visitor;
  std::unique_ptr<quipu::PageStream> page;
  {
    const auto a = empty_registry({.const_labels = {{"shard", "1"}}});
    const auto b = empty_registry({.const_labels = {{"shard", "2"}}});
    a.counter({.name = "x_total"}).inc(1);
    b.counter({.name = "x_total"}).inc(2);
    const Registries both({a, b});
    both.collect(visitor);
    page = quipu::open_page(both);
  }
  CHECK(visitor.text == "x_total:1;2:2;");
  CHECK(page::samples(page->next()) == Lines{R"(x_total{shard="1"} 1)", R"(x_total{shard="2"} 2)"});
}

#include "quipu/exemplar.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "quipu/registry.hpp"
#include "quipu/requests.hpp"
#include "support/page.hpp"
#include "support/shown.hpp"

namespace {

using quipu::Exemplar;
using shown::Labels;
using namespace std::chrono_literals;

static_assert(noexcept(quipu::Counter().inc(1, Exemplar())));
static_assert(noexcept(quipu::Histogram().observe(1, Exemplar())));

constexpr double infinity = std::numeric_limits<double>::infinity();

std::uint64_t dropped(const std::string& reason) {
  const quipu::Registry registry({.process_metrics = false});
  return std::stoull(page::value(registry, "quipu_dropped_exemplars_total{reason=\"" + reason + "\"}"));
}

std::optional<shown::Exemplar> exemplar(const quipu::Registry& registry, const std::string& name) {
  return shown::series(registry, name).exemplar;
}

/// Sets the interval until the end of the scope.
class Interval {
 public:
  explicit Interval(std::chrono::milliseconds interval) { quipu::set_exemplar_interval(interval); }
  Interval(const Interval&) = delete;
  Interval& operator=(const Interval&) = delete;
  ~Interval() { quipu::set_exemplar_interval(1s); }
};

}  // namespace

TEST_CASE("a counter has the newest exemplar that it was given, with the step and the time") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  counter.inc();
  CHECK_FALSE(exemplar(registry, "x_total").has_value());
  const auto before = std::chrono::system_clock::now();
  const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
  counter.inc(3, Exemplar{{"trace_id", id}, {"span_id", "00f067aa0ba902b7"}});
  const auto after = std::chrono::system_clock::now();
  auto found = exemplar(registry, "x_total");
  REQUIRE(found.has_value());
  CHECK(found->labels == Labels{{"trace_id", id}, {"span_id", "00f067aa0ba902b7"}});
  CHECK(found->value == 3);
  CHECK(found->time >= before);
  CHECK(found->time <= after);
  counter.inc(2u, {{"trace_id", "b"}});
  found = exemplar(registry, "x_total");
  CHECK(found->labels == Labels{{"trace_id", "b"}});
  CHECK(found->value == 2);
  counter.inc();
  CHECK(exemplar(registry, "x_total")->labels == Labels{{"trace_id", "b"}});
  CHECK(counter.value() == 7);
}

TEST_CASE("an exemplar alone is that of a step of one") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "a_total"});
  counter.inc(Exemplar{{"id", "x"}});
  CHECK(exemplar(registry, "a_total")->labels == Labels{{"id", "x"}});
  CHECK(exemplar(registry, "a_total")->value == 1);
  counter.inc([] { return Exemplar{{"id", "not due"}}; });
  CHECK(exemplar(registry, "a_total")->labels == Labels{{"id", "x"}});
  {
    const Interval always(0ms);
    counter.inc([] { return Exemplar{{"id", "due"}}; });
  }
  CHECK(exemplar(registry, "a_total")->labels == Labels{{"id", "due"}});
  counter.inc({{"id", "y"}});
  CHECK(exemplar(registry, "a_total")->labels == Labels{{"id", "y"}});
  CHECK(counter.value() == 4);
}

TEST_CASE("a fractional counter has exemplars too") {
  const auto registry = page::empty_registry();
  const auto counter = registry.fractional_counter({.name = "x_total"});
  counter.inc(0.5, Exemplar{{"trace_id", "a"}});
  counter.inc(0.25, [] { return Exemplar{{"trace_id", "b"}}; });
  CHECK(counter.value() == 0.75);
  CHECK(exemplar(registry, "x_total")->labels == Labels{{"trace_id", "a"}});
  CHECK(exemplar(registry, "x_total")->value == 0.5);
}

TEST_CASE("each bucket of a histogram has an exemplar of its own, whose value lies in it") {
  const auto registry = page::empty_registry();
  const auto histogram = registry.histogram({.name = "sizes", .buckets = {1.0, 2.0, 4.0}});
  histogram.observe(1);
  CHECK(shown::series(registry, "sizes").exemplars.empty());
  histogram.observe(2, Exemplar{{"id", "two"}});
  histogram.observe(2.001, Exemplar{{"id", "more"}});
  histogram.observe(infinity, Exemplar{{"id", "most"}});
  auto found = shown::series(registry, "sizes");
  REQUIRE(found.exemplars.size() == 4);
  CHECK_FALSE(found.exemplars[0].has_value());
  CHECK(found.exemplars[1]->labels == Labels{{"id", "two"}});
  CHECK(found.exemplars[1]->value == 2);
  CHECK(found.exemplars[2]->labels == Labels{{"id", "more"}});
  CHECK(found.exemplars[3]->value == infinity);
  CHECK(found.counts == std::vector<std::uint64_t>{1, 1, 1, 1});
  histogram.observe(-infinity, Exemplar{{"id", "least"}});
  histogram.observe(1.5, Exemplar{{"id", "newer"}});
  found = shown::series(registry, "sizes");
  CHECK(found.exemplars[0]->value == -infinity);
  CHECK(found.exemplars[1]->labels == Labels{{"id", "newer"}});
}

TEST_CASE("a duration's exemplar has seconds, and is in the bucket that counts it") {
  const auto registry = page::empty_registry();
  const auto latency = registry.histogram({.name = "seconds", .buckets = {1ms, 2ms, 4ms}});
  for (const auto time : {999'999ns, 1'000'000ns, 1'000'001ns, 2'000'000ns, 4'000'000ns, 4'000'001ns}) {
    const auto before = shown::series(registry, "seconds").counts;
    latency.observe(time, Exemplar{{"ns", std::to_string(time.count())}});
    const auto found = shown::series(registry, "seconds");
    for (std::size_t i = 0; i < found.counts.size(); ++i) {
      if (found.counts[i] == before[i]) continue;
      CHECK(found.exemplars[i]->labels == Labels{{"ns", std::to_string(time.count())}});
      CHECK(found.exemplars[i]->value == std::chrono::duration<double>(time).count());
    }
  }
}

TEST_CASE("a timer may be stopped with an exemplar") {
  const auto registry = page::empty_registry();
  const auto latency = registry.histogram({.name = "seconds", .buckets = {1h}}, {"route"});
  auto timer = latency("/").time();
  CHECK(timer.stop(Exemplar{{"id", "a"}}) > 0s);
  CHECK(timer.stop(Exemplar{{"id", "b"}}) == 0s);
  CHECK(timer.stop([] { return Exemplar{{"id", "b"}}; }) == 0s);
  auto found = shown::series(registry, "seconds");
  CHECK(found.exemplars[0]->labels == Labels{{"id", "a"}});
  CHECK(found.exemplars[0]->value == found.value);
  auto later = latency.time();
  later.labels("/");
  later.stop(Exemplar{{"id", "c"}});
  found = shown::series(registry, "seconds");
  CHECK(found.exemplars[0]->labels == Labels{{"id", "c"}});
  CHECK(found.counts[0] == 2);
}

TEST_CASE("what is not counted has no exemplar") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto real = registry.fractional_counter({.name = "y_total"});
  const auto sizes = registry.histogram({.name = "sizes"});
  const Exemplar some{{"id", "a"}};
  counter.inc(-1, some);
  real.inc(-0.5, some);
  real.inc(infinity, some);
  real.inc(std::numeric_limits<double>::quiet_NaN(), some);
  sizes.observe(std::numeric_limits<double>::quiet_NaN(), some);
  sizes.observe(std::numeric_limits<double>::quiet_NaN(), [&] { return some; });
  CHECK_FALSE(exemplar(registry, "x_total").has_value());
  CHECK_FALSE(exemplar(registry, "y_total").has_value());
  CHECK(shown::series(registry, "sizes").exemplars.empty());
}

TEST_CASE("an exemplar has at most 128 code points, names and values together") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto before = dropped("too_long");
  std::string wide;  // of 4 bytes each
  for (int i = 0; i < 120; ++i) wide += "\U0001F600";
  const std::string a(120, 'a');
  const std::string b(60, 'b');
  for (const Exemplar& fits :
       {Exemplar{{"a2345678", wide}}, Exemplar{{"a2345678", a}}, Exemplar{{"a23", b}, {"b2345", b}}}) {
    counter.inc(1, fits);
    CHECK(exemplar(registry, "x_total")->labels == shown::copy(fits.labels()));
  }
  CHECK(dropped("too_long") == before);
  const auto last = exemplar(registry, "x_total")->labels;
  const std::string huge(10'000'000, 'a');
  for (const Exemplar& too_long : {Exemplar{{"a23456789", a}}, Exemplar{{"a23456789", wide}},
                                   Exemplar{{"a234", b}, {"b2345", b}}, Exemplar{{"a", huge}}, Exemplar{{huge, "a"}}}) {
    counter.inc(1, too_long);
    CHECK(exemplar(registry, "x_total")->labels == last);
  }
  CHECK(dropped("too_long") == before + 5);
  CHECK(counter.value() == 8);
}

TEST_CASE("an exemplar has at most 8 labels") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto before = dropped("too_long");
  counter.inc(1, {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}, {"f", "6"}, {"g", "7"}, {"h", "8"}});
  CHECK(exemplar(registry, "x_total")->labels.size() == 8);
  counter.inc(1, {{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}, {"e", ""}, {"f", ""}, {"g", ""}, {"h", ""}, {"i", ""}});
  CHECK(exemplar(registry, "x_total")->labels[0].second == "1");
  CHECK(dropped("too_long") == before + 1);
}

TEST_CASE("an exemplar that a page could not show is dropped and counted, and its recording counts") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto bad_labels = dropped("bad_label");
  const auto not_utf8 = dropped("not_utf8");
  for (const std::string_view name : {"", "1a", "a-b", "a.b", "__name__", "a:b", "\u00E9", "a\n"}) {
    INFO(name);
    counter.inc(1, Exemplar{{name, "x"}});
    CHECK_FALSE(exemplar(registry, "x_total").has_value());
  }
  counter.inc(1, Exemplar{{"a", "1"}, {"b", "2"}, {"a", "3"}});
  CHECK(dropped("bad_label") == bad_labels + 9);
  counter.inc(1, Exemplar{{"a", "x\xFFy"}});
  counter.inc(1, Exemplar{{"a", "\xC3"}});
  CHECK(dropped("not_utf8") == not_utf8 + 2);
  CHECK_FALSE(exemplar(registry, "x_total").has_value());
  CHECK(counter.value() == 11);
}

TEST_CASE("an exemplar's values may be empty, and hold what formats escape") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  counter.inc(1, Exemplar{{"a", ""}, {"b", "\\ \" \n"}, {"c", std::string_view("\0", 1)}});
  CHECK(exemplar(registry, "x_total")->labels == Labels{{"a", ""}, {"b", "\\ \" \n"}, {"c", std::string(1, '\0')}});
}

TEST_CASE("an empty exemplar is none") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  counter.inc(1, Exemplar{});
  CHECK_FALSE(exemplar(registry, "x_total").has_value());
  counter.inc(1, Exemplar{{"a", "1"}});
  counter.inc(1, Exemplar{});
  CHECK(exemplar(registry, "x_total")->labels == Labels{{"a", "1"}});
}

TEST_CASE("an exemplar is made only when the last one is older than the interval") {
  const Interval interval(60s);
  const auto registry = page::empty_registry();
  const auto counters = registry.counter({.name = "x_total"}, {"a"});
  const auto sizes = registry.histogram({.name = "sizes", .buckets = {1.0}});
  int made = 0;
  std::string id;
  const auto make = [&] {
    id = std::to_string(++made);
    return Exemplar{{"id", id}};
  };
  for (int i = 0; i < 100; ++i) counters("1").inc(1, make);
  CHECK(made == 1);
  for (int i = 0; i < 100; ++i) counters("2").inc(1, make);
  CHECK(made == 2);
  for (int i = 0; i < 100; ++i) sizes.observe(i % 2 * 2, make);
  CHECK(made == 4);
  counters("1").inc(1, Exemplar{{"id", "given"}});
  counters("1").inc(1, make);
  CHECK(made == 4);
  CHECK(counters("1").value() == 102);
  const auto shown = shown::family(registry, "x_total").series;
  CHECK(shown[0].exemplar->labels == Labels{{"id", "given"}});
  CHECK(shown[1].exemplar->labels == Labels{{"id", "2"}});

  quipu::set_exemplar_interval(20ms);
  std::this_thread::sleep_for(50ms);
  counters("1").inc(1, make);
  CHECK(made == 5);
  quipu::set_exemplar_interval(0ms);
  for (int i = 0; i < 10; ++i) counters("1").inc(1, make);
  CHECK(made == 15);
  CHECK(shown::family(registry, "x_total").series[0].exemplar->labels == Labels{{"id", "15"}});
}

TEST_CASE("what makes exemplars may have none, and is asked again") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  int asked = 0;
  for (int i = 0; i < 10; ++i) {
    counter.inc(1, [&] { return ++asked < 5 ? Exemplar{} : Exemplar{{"id", "5"}}; });
  }
  CHECK(asked == 5);
  CHECK(exemplar(registry, "x_total")->labels == Labels{{"id", "5"}});
}

TEST_CASE("what throws while it makes an exemplar throws after the recording was counted") {
  const auto registry = page::empty_registry();
  const auto counter = registry.counter({.name = "x_total"});
  CHECK_THROWS_AS(counter.inc(2, []() -> Exemplar { throw 1; }), int);
  CHECK(counter.value() == 2);
  CHECK_FALSE(exemplar(registry, "x_total").has_value());
}

TEST_CASE("a series that takes the place of a removed one does not have its exemplars") {
  const auto registry = page::empty_registry();
  const auto counters = registry.counter({.name = "x_total"}, {"a"});
  const auto sizes = registry.histogram({.name = "sizes", .buckets = {1.0}}, {"a"});
  for (int i = 0; i < 3; ++i) {
    const auto counter = counters("1");
    const auto size = sizes("1");
    CHECK_FALSE(exemplar(registry, "x_total").has_value());
    CHECK(shown::series(registry, "sizes").exemplars.empty());
    int asked = 0;
    counter.inc(1, [&] { return ++asked, Exemplar{{"id", "old"}}; });
    CHECK(asked == 1);
    size.observe(1, Exemplar{{"id", "old"}});
    counters.remove("1");
    sizes.remove("1");
    counters.create("1");
    sizes.create("1");
    // Handles of what was removed.
    counter.inc(1, Exemplar{{"id", "stale"}});
    counter.inc(1, [&] { return ++asked, Exemplar{{"id", "stale"}}; });
    size.observe(1, Exemplar{{"id", "stale"}});
    CHECK(asked == 1);
    CHECK_FALSE(exemplar(registry, "x_total").has_value());
    CHECK(shown::series(registry, "sizes").exemplars.empty());
    counters("1").inc(1, Exemplar{{"id", "new"}});
    counter.inc(1, Exemplar{{"id", "stale"}});
    REQUIRE(exemplar(registry, "x_total").has_value());
    CHECK(exemplar(registry, "x_total")->labels == Labels{{"id", "new"}});
    counters.clear();
    sizes.clear();
  }
}

TEST_CASE("instruments without a series take exemplars, and do nothing with them") {
  const Exemplar some{{"id", "a"}};
  int asked = 0;
  const auto make = [&] { return ++asked, some; };
  quipu::Counter().inc(1, some);
  quipu::Counter().inc(1, make);
  quipu::FractionalCounter().inc(1, some);
  quipu::Histogram().observe(1, some);
  quipu::Histogram().observe(1ms, make);
  quipu::Timer(quipu::Histogram()).stop(make);
  CHECK(asked == 0);
}

TEST_CASE("every series of a large family has its own exemplar") {
  const auto registry = page::empty_registry();
  const auto family = registry.counter<int>({.name = "x_total"}, {"n"});
  const auto sizes = registry.histogram<int>({.name = "sizes"}, {"n"});
  for (int i = 0; i < 1000; ++i) {
    const std::string id = std::to_string(i);
    if (i % 3 != 0) family(i).inc(i, Exemplar{{"id", id}});
    if (i % 3 == 0) family.create(i);
    sizes(i).observe(i % 13, Exemplar{{"id", id}});
  }
  for (const auto& series : shown::family(registry, "x_total").series) {
    const int i = std::stoi(series.labels[0].second);
    REQUIRE(series.exemplar.has_value() == (i % 3 != 0));
    if (i % 3 != 0) REQUIRE(series.exemplar->labels == Labels{{"id", std::to_string(i)}});
    if (i % 3 != 0) REQUIRE(series.exemplar->value == i);
  }
  for (const auto& series : shown::family(registry, "sizes").series) {
    std::size_t there = 0;
    for (std::size_t i = 0; i < series.exemplars.size(); ++i) {
      REQUIRE(series.exemplars[i].has_value() == (series.counts[i] != 0));
      if (!series.exemplars[i].has_value()) continue;
      ++there;
      REQUIRE(series.exemplars[i]->labels[0].second == series.labels[0].second);
      REQUIRE(series.exemplars[i]->value == series.value);
    }
    REQUIRE(there == 1);
  }
}

TEST_CASE("every bucket of the largest histogram has an exemplar of its own") {
  const auto registry = page::empty_registry();
  const auto sizes = registry.histogram({.name = "sizes", .buckets = quipu::buckets::linear(0, 1, 500)});
  for (int i = 0; i <= 500; ++i) sizes.observe(i, Exemplar{{"id", std::to_string(i)}});
  const auto series = shown::series(registry, "sizes");
  REQUIRE(series.exemplars.size() == 501);
  for (std::size_t i = 0; i <= 500; ++i) {
    REQUIRE(series.exemplars[i].has_value());
    CHECK(series.exemplars[i]->labels[0].second == std::to_string(i));
  }
}

TEST_CASE("a series that has no thread cells has no exemplars, and drops them") {
  using namespace quipu::detail;
  static Cell cell;
  const CellRef series = begin_series(cell, cells_per_block + 1, 0);
  REQUIRE(series.slot == 0);
  const auto before = dropped("no_room");
  keep_exemplar(series, counter_place, 1, Exemplar{{"id", "a"}}, false);
  ExemplarCopy copy;
  CHECK_FALSE(read_exemplar(series, counter_place, copy));
  CHECK(dropped("no_room") == before + 1);
}

TEST_CASE("a native histogram has an exemplar, or one for each classic bucket") {
  const auto registry = page::empty_registry();
  const auto native = registry.native_histogram({.name = "a"});
  native.observe(2, Exemplar{{"trace_id", "first"}});
  native.observe(20ms, Exemplar{{"trace_id", "second"}});
  const auto both = registry.native_histogram({.name = "b", .buckets = quipu::Buckets{1.0, 10.0}});
  both.observe(10, Exemplar{{"trace_id", "ten"}});
  both.observe(11, [] { return Exemplar{{"trace_id", "eleven"}}; });
  both.observe(std::numeric_limits<double>::quiet_NaN(), Exemplar{{"trace_id", "none"}});

  const auto a = shown::series(registry, "a").exemplars;
  REQUIRE(a.size() == 1);
  CHECK(a[0]->labels == Labels{{"trace_id", "second"}});
  CHECK(a[0]->value == 0.02);
  const auto b = shown::series(registry, "b").exemplars;
  REQUIRE(b.size() == 3);
  CHECK_FALSE(b[0].has_value());
  CHECK(b[1]->labels == Labels{{"trace_id", "ten"}});
  CHECK(b[2]->labels == Labels{{"trace_id", "eleven"}});
  CHECK(both.snapshot().count() == 2);
  CHECK(native.snapshot().count() == 2);

  quipu::NativeTimer(registry.native_histogram({.name = "c"})).stop(Exemplar{{"trace_id", "timed"}});
  CHECK(shown::series(registry, "c").exemplars[0]->labels == Labels{{"trace_id", "timed"}});
}

namespace {

// What a source of exemplars, which captures nothing, reads.
thread_local std::string trace;  // the thread works on; empty for none
thread_local int asked = 0;
std::optional<Exemplar> current_trace() {
  ++asked;
  if (trace == "broken") throw std::runtime_error("no trace");
  return trace.empty() ? std::nullopt : std::optional(Exemplar{{"trace_id", trace}});
}

quipu::Registry traced_registry() {
  return page::empty_registry({.exemplars = [] { return current_trace(); }});
}

Labels labels_of(const std::optional<shown::Exemplar>& exemplar) { return exemplar ? exemplar->labels : Labels{}; }

}  // namespace

TEST_CASE("a registry's source of exemplars is asked by timers, and by recordings that say so") {
  const auto registry = traced_registry();
  const auto counter = registry.counter({.name = "a_total"});
  const auto real = registry.fractional_counter({.name = "b_total"});
  const auto sizes = registry.histogram({.name = "c", .buckets = {60.0}});
  const auto native = registry.native_histogram({.name = "d"}, {"route"});
  const auto latency = registry.histogram({.name = "e", .buckets = {60.0}}, {"route"});
  trace = "one";
  asked = 0;
  counter.inc();
  real.inc(0.5);
  sizes.observe(1);
  sizes.observe(1ms);
  native("/").observe(1);
  CHECK(asked == 0);
  for (const char* const name : {"a_total", "b_total"}) CHECK_FALSE(exemplar(registry, name).has_value());

  counter.inc(1, quipu::current_exemplar);
  real.inc(0.5, quipu::current_exemplar);
  { const auto timer = sizes.time(); }
  { const auto timer = native("/").time(); }
  auto timer = latency.time();
  timer.stop("/");
  CHECK(asked == 5);
  for (const char* const name : {"a_total", "b_total"}) {
    CHECK(labels_of(exemplar(registry, name)) == Labels{{"trace_id", "one"}});
  }
  for (const char* const name : {"c", "d", "e"}) {
    CHECK(labels_of(shown::series(registry, name).exemplars.at(0)) == Labels{{"trace_id", "one"}});
  }
  sizes.observe(120s, quipu::current_exemplar);
  native("/cart").observe(1, quipu::current_exemplar);
  CHECK(asked == 7);
  CHECK(labels_of(shown::series(registry, "c").exemplars.at(1)) == Labels{{"trace_id", "one"}});
}

TEST_CASE("requests take the exemplars of their durations and errors from the registry's source") {
  const auto registry = traced_registry();
  const quipu::Requests requests(registry, {.buckets = {60}});
  const quipu::RequestFamily by_code(registry.subsystem("http"), {.buckets = {60}}, {"route"}, {"code"});
  const auto of_duration = [&](const std::string& prefix) {
    return labels_of(shown::series(registry, prefix + "request_duration_seconds").exemplars.at(0));
  };
  trace = "one";
  static_cast<void>(requests.start());
  by_code("/").start("500").end("200");
  CHECK(of_duration("") == Labels{{"trace_id", "one"}});
  CHECK(of_duration("http_") == Labels{{"trace_id", "one"}});
  CHECK_FALSE(exemplar(registry, "request_errors_total").has_value());
  {
    auto request = requests.start();
    request.fail();
    trace = "two";
  }
  CHECK(labels_of(exemplar(registry, "request_errors_total")) == Labels{{"trace_id", "two"}});
  CHECK(of_duration("") == Labels{{"trace_id", "one"}});

  // What is said at the end goes before the source.
  asked = 0;
  {
    auto request = by_code("/").start("500");
    request.fail();
    request.end(Exemplar{{"trace_id", "given"}});
  }
  CHECK(asked == 0);
  CHECK(of_duration("http_") == Labels{{"trace_id", "given"}});
  CHECK(labels_of(exemplar(registry, "http_request_errors_total")) == Labels{{"trace_id", "given"}});
}

TEST_CASE("a registry's source of exemplars is asked only when one is due, and again if it has none") {
  const Interval interval(60s);
  const auto registry = traced_registry();
  const auto latency = registry.histogram({.name = "seconds", .buckets = {60.0}});
  trace.clear();
  asked = 0;
  for (int i = 0; i < 10; ++i) static_cast<void>(latency.time());
  CHECK(asked == 10);
  CHECK(shown::series(registry, "seconds").exemplars.empty());
  trace = "one";
  for (int i = 0; i < 10; ++i) static_cast<void>(latency.time());
  CHECK(asked == 11);
}

TEST_CASE("what a source of exemplars throws is dropped and counted, and the recording counts") {
  const auto registry = traced_registry();
  const auto counter = registry.counter({.name = "x_total"});
  const auto before = dropped("source_threw");
  trace = "broken";
  counter.inc(2, quipu::current_exemplar);
  CHECK(counter.value() == 2);
  CHECK(dropped("source_threw") == before + 1);
  trace = "mended";
  counter.inc(1, quipu::current_exemplar);
  CHECK(labels_of(exemplar(registry, "x_total")) == Labels{{"trace_id", "mended"}});
}

TEST_CASE("a source of exemplars may register, record and scrape, and is not asked within itself") {
  static const quipu::Registry registry = page::empty_registry({.exemplars = [] {
    const auto timer = registry.histogram({.name = "source_seconds"}).time();
    static_cast<void>(page::body(registry));
    ++asked;
    return Exemplar{{"trace_id", "a"}};
  }});
  asked = 0;
  registry.counter({.name = "x_total"}).inc(1, quipu::current_exemplar);
  CHECK(asked == 1);
  CHECK(labels_of(exemplar(registry, "x_total")) == Labels{{"trace_id", "a"}});
  CHECK(shown::series(registry, "source_seconds").exemplars.empty());
}

TEST_CASE("only the series of a registry with a source ask it, however series come and go") {
  asked = 0;
  trace = "one";
  for (int i = 0; i < 10; ++i) {
    const bool is_traced = i % 2 == 0;
    const auto registry = is_traced ? traced_registry() : page::empty_registry();
    const auto counters = registry.counter<int>({.name = "x_total"}, {"n"});
    for (int n = 0; n < 20; ++n) counters(n).inc(1, quipu::current_exemplar);
    for (const auto& series : shown::family(registry, "x_total").series) {
      REQUIRE(labels_of(series.exemplar) == (is_traced ? Labels{{"trace_id", "one"}} : Labels{}));
    }
  }
  CHECK(asked == 5 * 20);
}

TEST_CASE("handles that outlive a registry with a source do no harm") {
  quipu::Counter gone;
  std::optional<quipu::CounterFamily<int>> family;
  {
    const auto registry = traced_registry();
    gone = registry.counter({.name = "x_total"});
    family = registry.counter<int>({.name = "y_total"}, {"n"});
  }
  trace = "one";
  asked = 0;
  gone.inc(1, quipu::current_exemplar);
  quipu::Counter().inc(1, quipu::current_exemplar);
  quipu::Timer(quipu::Histogram()).stop();
  CHECK(asked == 0);
  (*family)(1).inc(1, quipu::current_exemplar);
  CHECK(asked == 1);
}

#include "quipu/recorder.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <limits>
#include <memory>
#include <ostream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "quipu/quipu.hpp"
#include "quipu/testing.hpp"

using namespace std::chrono_literals;
using quipu::Recorder;
using quipu::RegistryRecorder;
using quipu::RegistryRecorderOptions;
using quipu::testing::difference;
using quipu::testing::find_value;
using quipu::testing::histogram_of;
using quipu::testing::value_of;

namespace {

quipu::Registry bare() { return quipu::Registry({.process_metrics = false, .self_metrics = false}); }

/// Keeps what it is told, as text.
class Notes : public quipu::RecorderBackend {
 public:
  void increment(std::string_view name, quipu::Number step, quipu::Labels labels) override {
    note("increment", name, step.is_whole() ? std::to_string(step.whole()) : std::to_string(step.real()), labels);
  }
  void gauge(std::string_view name, double value, quipu::Labels labels) override {
    note("gauge", name, std::to_string(value), labels);
  }
  void histogram(std::string_view name, double value, quipu::Labels labels) override {
    note("histogram", name, std::to_string(value), labels);
  }
  void time(std::string_view name, std::chrono::nanoseconds time, quipu::Labels labels) override {
    last_time = time;
    note("time", name, "", labels);
  }
  void flush() override { ++flushes; }

  std::vector<std::string> lines;
  std::chrono::nanoseconds last_time{};
  int flushes = 0;

 private:
  void note(std::string line, std::string_view name, const std::string& value, quipu::Labels labels) {
    line.append(" ").append(name);
    if (!value.empty()) line.append(" ").append(value);
    for (const quipu::Label& label : labels) line.append(" ").append(label.name).append("=").append(label.value);
    lines.push_back(line);
  }
};

/// Fails at everything.
class Broken : public quipu::RecorderBackend {
 public:
  void increment(std::string_view, quipu::Number, quipu::Labels) override { throw std::runtime_error("broken"); }
  void gauge(std::string_view, double, quipu::Labels) override { throw 1; }
  void histogram(std::string_view, double, quipu::Labels) override { throw std::runtime_error("broken"); }
  void time(std::string_view, std::chrono::nanoseconds, quipu::Labels) override { throw std::runtime_error("broken"); }
  void flush() override { throw std::runtime_error("broken"); }
};

struct Recording {
  explicit Recording(quipu::Registry made = bare(), RegistryRecorderOptions options = {}) : registry(std::move(made)) {
    options.on_error = [this](std::string_view name, std::string_view why) {
      errors.emplace_back(std::string(name), std::string(why));
    };
    backend = std::make_shared<RegistryRecorder>(registry, std::move(options));
    recorder = Recorder(backend);
  }

  [[nodiscard]] double dropped(std::string_view reason) const {
    return value_of(registry, "quipu_recorder_dropped_total", {{"reason", reason}});
  }

  quipu::Registry registry;
  std::vector<std::pair<std::string, std::string>> errors;
  std::shared_ptr<RegistryRecorder> backend;
  Recorder recorder;
};

}  // namespace

// The facade.

TEST_CASE("a recorder hands every recording to each of its backends, in their order") {
  const auto first = std::make_shared<Notes>();
  const auto second = std::make_shared<Notes>();
  const Recorder recorder({first, nullptr, second});

  recorder.increment("comments.created");
  recorder.increment("comments.created", 3, {{"kind", "reply"}, {"region", "eu"}});
  recorder.gauge("users.online", 12, {{"region", "eu"}});
  recorder.histogram("size", 1500);
  recorder.time("took", 20ms, {{"step", "load"}});
  recorder.flush();

  const std::vector<std::string> expected = {
      "increment comments.created 1", "increment comments.created 3 kind=reply region=eu",
      "gauge users.online 12.000000 region=eu", "histogram size 1500.000000", "time took step=load"};
  CHECK(first->lines == expected);
  CHECK(second->lines == expected);
  CHECK(first->last_time == 20ms);
  CHECK(first->flushes == 1);
  CHECK(recorder.failures() == 0);
}

TEST_CASE("a step may be any whole number or a fraction, and what is no number goes to no backend") {
  const quipu::Registry registry;
  const auto rejected = [&registry](std::string_view reason) {
    return value_of(registry, "quipu_rejected_recordings_total", {{"reason", reason}});
  };
  const double negative = rejected("negative_step");
  const double not_a_number = rejected("not_a_number");
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder(notes);
  recorder.increment("x", std::numeric_limits<std::uint64_t>::max());
  recorder.increment("x", std::size_t{2}, {{"a", "1"}});
  recorder.increment("x", short{3});
  recorder.increment("x", 0.5, {{"a", "1"}});
  recorder.increment("x", 0.25F);
  recorder.increment("x", 2.0);
  recorder.increment("x", -0.5);
  recorder.increment("x", std::numeric_limits<double>::quiet_NaN());
  recorder.increment("x", std::numeric_limits<double>::infinity());
  CHECK(notes->lines == std::vector<std::string>{"increment x 18446744073709551615", "increment x 2 a=1",
                                                 "increment x 3", "increment x 0.500000 a=1", "increment x 0.250000",
                                                 "increment x 2.000000"});
  CHECK(rejected("negative_step") == negative + 1);
  CHECK(rejected("not_a_number") == not_a_number + 2);
}

TEST_CASE("a recorder takes labels as a list, an array, a vector or a span") {
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder(notes);
  const std::array<quipu::Label, 2> array = {{{"a", "1"}, {"b", "2"}}};
  const std::vector<quipu::Label> vector(array.begin(), array.end());

  recorder.increment("x", 1, array);
  recorder.increment("x", 1, vector);
  recorder.increment("x", 1, quipu::Labels(array));
  recorder.increment("x", 1, {{"a", "1"}, {"b", "2"}});
  recorder.increment("x", 1, {});

  CHECK(notes->lines == std::vector<std::string>{"increment x 1 a=1 b=2", "increment x 1 a=1 b=2",
                                                 "increment x 1 a=1 b=2", "increment x 1 a=1 b=2", "increment x 1"});
}

TEST_CASE("a recorder without backends records nowhere") {
  const Recorder recorder;
  recorder.increment("x");
  recorder.gauge("x", 1);
  recorder.histogram("x", 1);
  recorder.time("x", 1s);
  { auto timer = recorder.time("x"); }
  recorder.flush();
  CHECK(recorder.failures() == 0);
}

TEST_CASE("a backend that throws costs neither the caller nor the other backends anything, and is counted") {
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder({std::make_shared<Broken>(), notes, std::make_shared<Broken>()});

  recorder.increment("x");
  recorder.gauge("x", 1);
  recorder.histogram("x", 1);
  recorder.time("x", 1s);
  recorder.flush();

  CHECK(notes->lines.size() == 4);
  CHECK(notes->flushes == 1);
  CHECK(recorder.failures() == 10);
}

TEST_CASE("a negative step goes to no backend and is counted as a rejected recording") {
  const quipu::Registry registry({.process_metrics = false});
  const auto rejected = [&] {
    return value_of(registry, "quipu_rejected_recordings_total", {{"reason", "negative_step"}});
  };
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder(notes);
  const double before = rejected();
  recorder.increment("x", -1);
  recorder.increment("x", 0);
  CHECK(notes->lines == std::vector<std::string>{"increment x 0"});
  CHECK(rejected() == before + 1);
}

TEST_CASE("a copy of a recorder records to the same backends and keeps them") {
  const auto notes = std::make_shared<Notes>();
  Recorder copy;
  {
    const Recorder recorder({notes, std::make_shared<Broken>()});
    copy = recorder;
    recorder.increment("x");
  }
  copy.increment("y");
  CHECK(notes->lines == std::vector<std::string>{"increment x 1", "increment y 1"});
  CHECK(copy.failures() == 2);
}

TEST_CASE("a recorder's timer records the time until the end of the scope, with its own copy of name and labels") {
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder(notes);
  const auto start = std::chrono::steady_clock::now();
  {
    auto name = std::make_unique<std::string>("a name that is too long to be kept inside of a string");
    auto value = std::make_unique<std::string>("a value that is too long to be kept inside of a string");
    auto timer = recorder.time(*name, {{"label", *value}});
    name.reset();
    value.reset();
    CHECK(notes->lines.empty());
    while (timer.elapsed() < 1ms) std::this_thread::yield();
  }
  CHECK(notes->lines == std::vector<std::string>{"time a name that is too long to be kept inside of a string "
                                                 "label=a value that is too long to be kept inside of a string"});
  CHECK(notes->last_time >= 1ms);
  CHECK(notes->last_time <= std::chrono::steady_clock::now() - start);
}

TEST_CASE("a recorder's timer records once, when it is stopped; not when it is discarded; and can be moved") {
  const auto notes = std::make_shared<Notes>();
  const Recorder recorder(notes);
  {
    auto stopped = recorder.time("stopped");
    while (stopped.elapsed() == 0ns) {
    }
    CHECK(stopped.stop() == notes->last_time);
    CHECK(stopped.stop() == 0ns);

    auto discarded = recorder.time("discarded");
    discarded.discard();

    auto moved = recorder.time("moved", {{"from", "here"}});
    auto target = std::move(moved);
    auto replaced = recorder.time("replaced");
    replaced = std::move(target);
    CHECK(notes->lines == std::vector<std::string>{"time stopped", "time replaced"});
  }
  CHECK(notes->lines == std::vector<std::string>{"time stopped", "time replaced", "time moved from=here"});
}

TEST_CASE("a label of a recorder's timer may be given later, and given again") {
  const auto notes = std::make_shared<Notes>();
  {
    auto timer = Recorder(notes).time("request", {{"route", "/"}});
    timer.label("status", "500");
    timer.label("status", "200");
    timer.label("route", "/cart");
  }
  CHECK(notes->lines == std::vector<std::string>{"time request route=/cart status=200"});
}

// To a registry.

TEST_CASE("what is recorded is on the page, under legal names") {
  const Recording to;
  to.recorder.increment("comments.created", 1, {{"kind", "reply"}});
  to.recorder.increment("comments.created", 2, {{"kind", "reply"}});
  to.recorder.increment("jobs.total");
  to.recorder.increment("9 lives::überall");
  to.recorder.increment("");
  to.recorder.gauge("users-online", -2.5, {{"geo.region", "eu"}});
  to.recorder.gauge("x", 1, {{"__name__", "a"}, {"1st", "b"}, {"___", "c"}, {"e:f", "e"}});
  to.recorder.histogram("message.size.bytes", 4);
  to.recorder.histogram("message.size.bytes", 5e6);
  to.recorder.time("database.query.duration", 20ms, {{"operation", "select"}});
  to.recorder.time("wait_seconds", 1s);

  CHECK(difference(to.registry, R"(
    # HELP comments_created_total Recorded as "comments.created".
    # TYPE comments_created_total counter
    comments_created_total{kind="reply"} 3
    # TYPE jobs_total counter
    jobs_total 1
    # TYPE users_online gauge
    users_online{geo_region="eu"} -2.5
    # TYPE x gauge
    x{_name__="a",_1st="b",_="c",e_f="e"} 1
    # TYPE message_size_bytes histogram
    message_size_bytes_bucket{le="1"} 0
    message_size_bytes_bucket{le="4"} 1
    message_size_bytes_bucket{le="16"} 1
    message_size_bytes_bucket{le="64"} 1
    message_size_bytes_bucket{le="256"} 1
    message_size_bytes_bucket{le="1024"} 1
    message_size_bytes_bucket{le="4096"} 1
    message_size_bytes_bucket{le="16384"} 1
    message_size_bytes_bucket{le="65536"} 1
    message_size_bytes_bucket{le="262144"} 1
    message_size_bytes_bucket{le="1.048576e+06"} 1
    message_size_bytes_bucket{le="4.194304e+06"} 1
    message_size_bytes_bucket{le="+Inf"} 2
    message_size_bytes_sum 5000004
    message_size_bytes_count 2
    database_query_duration_seconds_sum{operation="select"} 0.02
    wait_seconds_sum 1
    _9_lives____berall_total 1
    __total 1
    # TYPE quipu_recorder_dropped_total counter
    quipu_recorder_dropped_total{reason="fraction"} 0
    quipu_recorder_dropped_total{reason="label"} 0
    quipu_recorder_dropped_total{reason="refused"} 0
    quipu_recorder_dropped_total{reason="too_many_names"} 0
  )") == "");
  const auto times = histogram_of(to.registry, "database_query_duration_seconds", {{"operation", "select"}});
  CHECK(times.buckets.size() == 12);
  CHECK(times.buckets[1] == quipu::testing::ParsedHistogram::Bucket{0.01, 0});
  CHECK(times.buckets[2] == quipu::testing::ParsedHistogram::Bucket{0.025, 1});
  CHECK(to.errors.empty());
}

TEST_CASE("recorded names get the prefix and the const labels of their scope; what is dropped is told without prefix") {
  const Recording to(quipu::Registry(
      {.prefix = "shop", .const_labels = {{"env", "prod"}}, .process_metrics = false, .self_metrics = false}));
  to.recorder.increment("x", 1, {{"a", "1"}});
  CHECK(value_of(to.registry, "shop_x_total", {{"env", "prod"}, {"a", "1"}}) == 1);
  CHECK(value_of(to.registry, "quipu_recorder_dropped_total", {{"env", "prod"}, {"reason", "label"}}) == 0);
}

TEST_CASE("help and buckets of recorded names may be given beforehand") {
  const Recording to(
      bare(), {.time_buckets = {0.1, 0.2},
               .value_buckets = {1, 2, 3},
               .metrics = {{.name = "a.size", .help = "Sizes.", .buckets = quipu::Buckets{10, 20}}, {.name = "b"}}});
  to.recorder.histogram("a.size", 15);
  to.recorder.histogram("b", 2.5);
  to.recorder.time("b", 150ms);
  CHECK(difference(to.registry, R"(
    # HELP a_size Sizes.
    # TYPE a_size histogram
    a_size_bucket{le="10"} 0
    a_size_bucket{le="20"} 1
    a_size_bucket{le="+Inf"} 1
    a_size_sum 15
    a_size_count 1
    # HELP b Recorded as "b".
    # TYPE b histogram
    b_bucket{le="1"} 0
    b_bucket{le="2"} 0
    b_bucket{le="3"} 1
    b_bucket{le="+Inf"} 1
    b_sum 2.5
    b_count 1
    b_seconds_bucket{le="0.1"} 0
    b_seconds_bucket{le="0.2"} 1
    b_seconds_bucket{le="+Inf"} 1
  )") == "");
}

TEST_CASE("options of a registry recorder that make no sense are refused with their name") {
  CHECK_THROWS_WITH(RegistryRecorder(bare(), {.max_series = 0}), Catch::Matchers::ContainsSubstring("max_series is 0"));
  const auto registry = bare();
  using Catch::Matchers::ContainsSubstring;
  CHECK_THROWS_WITH(RegistryRecorder(registry, {.metrics = {{.name = "a"}, {.name = "a"}}}),
                    ContainsSubstring("\"a\""));
  CHECK_THROWS_WITH(RegistryRecorder(registry, {.max_names = 0}), ContainsSubstring("max_names is 0"));
  CHECK_THROWS_AS(RegistryRecorder(registry, {.max_names = 1'000'001}), quipu::RegistrationError);
}

TEST_CASE("labels in another order are the same series; one that is not given is empty") {
  const Recording to;
  to.recorder.increment("x", 1, {{"b", "1"}, {"a", "2"}});
  to.recorder.increment("x", 5, {{"b", "2"}, {"a", "1"}});
  to.recorder.increment("x", 10, {{"a", "2"}, {"b", "1"}});
  to.recorder.increment("x", 100, {{"a", "2"}});
  to.recorder.increment("x", 1000);
  to.recorder.increment("x", 10000, {{"a", ""}, {"b", ""}});
  CHECK(difference(to.registry, R"(
    x_total{b="1",a="2"} 11
    x_total{b="2",a="1"} 5
    x_total{b="",a="2"} 100
    x_total{b="",a=""} 11000
    quipu_recorder_dropped_total{reason="fraction"} 0
    quipu_recorder_dropped_total{reason="label"} 0
    quipu_recorder_dropped_total{reason="refused"} 0
    quipu_recorder_dropped_total{reason="too_many_names"} 0
  )") == "");
}

TEST_CASE("a counter whose first step is a real number is a sum of fractions, which takes whole steps too") {
  Recording to;
  to.recorder.increment("spent.euros", 0.25, {{"by", "ann"}});
  to.recorder.increment("spent.euros", 2, {{"by", "ann"}});
  to.recorder.increment("spent.euros", 0.5, {{"by", "ben"}});
  to.recorder.increment("real", 3.0);
  to.recorder.increment("real", 0.5);
  CHECK(difference(to.registry, R"(
    spent_euros_total{by="ann"} 2.25
    spent_euros_total{by="ben"} 0.5
    real_total 3.5
    quipu_recorder_dropped_total{reason="fraction"} 0
    quipu_recorder_dropped_total{reason="label"} 0
    quipu_recorder_dropped_total{reason="refused"} 0
    quipu_recorder_dropped_total{reason="too_many_names"} 0
  )") == "");
  CHECK(to.errors.empty());
}

TEST_CASE("a total of whole numbers takes no fraction, which is counted and told once, and stays exact") {
  Recording to;
  constexpr std::uint64_t large = (std::uint64_t{1} << 60) + 1;
  to.recorder.increment("x", large);
  to.recorder.increment("x", 2.0);
  for (const double step : {0.5, 1.5, 1e300}) to.recorder.increment("x", step);
  CHECK(to.registry.counter({.name = "x_total", .help = "Recorded as \"x\"."}).value() == large + 2);
  CHECK(to.dropped("fraction") == 3);
  CHECK(to.backend->dropped() == 3);
  REQUIRE(to.errors.size() == 1);
  CHECK(to.errors[0].first == "x");
  CHECK(to.errors[0].second ==
        "cannot add 0.5 to \"x\", a total of whole numbers because its first step was one; name it in "
        "RegistryRecorderOptions::metrics, with is_fractional");
}

TEST_CASE("options say that a counter is a sum of fractions, and which counters have no suffix") {
  RegistryRecorderOptions options;
  options.metrics = {{.name = "spent", .is_fractional = true}, {.name = "orders", .total_suffix = false}};
  Recording to(bare(), options);
  to.recorder.increment("spent", 1);
  to.recorder.increment("spent", 0.5);
  to.recorder.increment("orders", 2);
  to.recorder.increment("other");
  CHECK(value_of(to.registry, "spent_total") == 1.5);
  CHECK(value_of(to.registry, "orders") == 2);
  CHECK(value_of(to.registry, "other_total") == 1);

  options.total_suffix = false;
  Recording none(bare(), options);
  none.recorder.increment("spent", 0.5);
  none.recorder.increment("sent_total", 2);
  none.recorder.time("took", 1s);
  CHECK(value_of(none.registry, "spent") == 0.5);
  CHECK(value_of(none.registry, "sent_total") == 2);
  CHECK(histogram_of(none.registry, "took_seconds").count == 1);
}

TEST_CASE("any number of labels is found again, by all of their values") {
  const Recording to;
  const std::array<std::string, 7> names = {"a", "b", "c", "d", "e", "f", "g"};
  for (int round = 0; round < 3; ++round) {
    for (std::size_t count = 0; count <= names.size(); ++count) {
      std::vector<quipu::Label> labels;
      for (std::size_t i = 0; i < count; ++i) labels.push_back({names[i], "1"});
      const std::string name = "with." + std::to_string(count);
      to.recorder.increment(name, 1, labels);
      for (quipu::Label& label : labels) {
        label.value = "2";
        to.recorder.increment(name, 10, labels);
        label.value = "1";
      }
    }
  }
  for (std::size_t count = 0; count <= names.size(); ++count) {
    const auto page = quipu::testing::read_page(to.registry);
    const auto* family = page.family("with_" + std::to_string(count) + "_total");
    REQUIRE(family != nullptr);
    CHECK(family->samples.size() == count + 1);
    for (const auto& sample : family->samples) CHECK(sample.value == (&sample == &family->samples[0] ? 3 : 30));
  }
  CHECK(to.backend->dropped() == 0);
}

TEST_CASE("a label that a name does not have is left out and counted") {
  const Recording to;
  to.recorder.increment("x", 1, {{"a", "1"}});
  to.recorder.increment("x", 1, {{"a", "1"}, {"b", "2"}});
  to.recorder.increment("x", 1, {{"b", "2"}, {"c", "3"}, {"a", "1"}});
  to.recorder.increment("x", 1, {{"a", "1"}, {"a", "2"}});
  CHECK(value_of(to.registry, "x_total", {{"a", "1"}}) == 4);
  CHECK(to.dropped("label") == 4);

  to.recorder.gauge("none", 1);
  to.recorder.gauge("none", 2, {{"a", "1"}});
  CHECK(value_of(to.registry, "none") == 2);
  CHECK(to.dropped("label") == 5);

  to.recorder.gauge("twice", 1, {{"a", "1"}, {"a", "2"}});
  CHECK(value_of(to.registry, "twice", {{"a", "1"}}) == 1);
  CHECK(to.dropped("label") == 6);
  CHECK(to.backend->dropped() == 6);
}

TEST_CASE("one name of two kinds is one of the first kind; the second is dropped, counted, and told once") {
  const Recording to;
  to.recorder.increment("x");
  for (int i = 0; i < 3; ++i) to.recorder.gauge("x", 5);
  to.recorder.increment("x");

  CHECK(value_of(to.registry, "x_total") == 2);
  CHECK_FALSE(find_value(to.registry, "x"));
  CHECK(to.dropped("refused") == 3);
  REQUIRE(to.errors.size() == 1);
  CHECK(to.errors[0].first == "x");
  CHECK_THAT(to.errors[0].second, Catch::Matchers::ContainsSubstring("cannot record \"x\": cannot register gauge x") &&
                                      Catch::Matchers::ContainsSubstring("counter x_total"));

  // Where the names on the page differ, both are there.
  to.recorder.histogram("y", 1);
  to.recorder.time("y", 1s);
  to.recorder.increment("z.duration");
  to.recorder.time("z.duration", 1s);
  CHECK(value_of(to.registry, "y_count") == 1);
  CHECK(value_of(to.registry, "y_seconds_count") == 1);
  CHECK(value_of(to.registry, "z_duration_total") == 1);
  CHECK(value_of(to.registry, "z_duration_seconds_count") == 1);
}

TEST_CASE("what the registry refuses for any other reason is dropped and told too") {
  const Recording to(
      quipu::Registry({.const_labels = {{"env", "prod"}}, .process_metrics = false, .self_metrics = false}));
  to.recorder.histogram("sizes", 1, {{"le", "1"}});
  to.recorder.increment("x", 1, {{"env", "test"}});
  to.recorder.increment("y", 1, {{"a.b", "1"}, {"a_b", "2"}});
  to.recorder.increment("z");
  CHECK(to.backend->dropped() == 3);
  REQUIRE(to.errors.size() == 3);
  CHECK_THAT(to.errors[0].second, Catch::Matchers::ContainsSubstring("label \"le\""));
  CHECK_THAT(to.errors[1].second, Catch::Matchers::ContainsSubstring("const label"));
  CHECK_THAT(to.errors[2].second, Catch::Matchers::ContainsSubstring("\"a_b\" is given twice"));
  CHECK(value_of(to.registry, "z_total", {{"env", "prod"}}) == 1);
}

TEST_CASE("names beyond the limit are dropped, counted, and told once; known ones go on") {
  const Recording to(bare(), {.max_names = 2});
  to.recorder.increment("a");
  to.recorder.gauge("a", 1);  // refused, which is a name too
  for (int i = 0; i < 3; ++i) to.recorder.increment("b");
  to.recorder.gauge("c", 1);
  to.recorder.increment("a");
  CHECK(value_of(to.registry, "a_total") == 2);
  CHECK_FALSE(find_value(to.registry, "b_total"));
  CHECK(to.dropped("too_many_names") == 4);
  REQUIRE(to.errors.size() == 2);
  CHECK(to.errors[1].first == "b");
  CHECK_THAT(to.errors[1].second, Catch::Matchers::ContainsSubstring("2 names are recorded already"));
}

TEST_CASE("series of a recorded name beyond the limit are counted together") {
  const Recording to(bare(), {.max_series = 2});
  for (const char* value : {"1", "2", "3", "4"}) to.recorder.increment("x", 1, {{"a", value}});
  CHECK(value_of(to.registry, "x_total", {{"a", "overflow"}}) == 2);
}

TEST_CASE("a recorder counts what it drops in a registry that is full, too") {
  const Recording to(quipu::Registry({.max_series = 1, .process_metrics = false, .self_metrics = false}));
  to.recorder.increment("x");
  to.recorder.gauge("x", 1);
  to.recorder.gauge("x", 1);
  to.recorder.increment("x", 1, {{"a", "1"}});
  CHECK(to.dropped("refused") == 2);
  CHECK(to.dropped("label") == 1);
  CHECK(to.backend->dropped() == 3);
}

TEST_CASE("recorders of one registry share their names and what they dropped") {
  const Recording to;
  const RegistryRecorder other(to.registry);
  Recorder(std::make_shared<RegistryRecorder>(to.registry)).increment("x", 1, {{"a", "1"}});
  to.recorder.increment("x", 1, {{"a", "1"}, {"b", "1"}});  // other labels than the family has
  to.recorder.increment("y", 1);
  Recorder(std::make_shared<RegistryRecorder>(to.registry)).increment("y", 1);
  CHECK(value_of(to.registry, "y_total") == 2);
  CHECK(to.dropped("refused") == 1);
  CHECK(other.dropped() == 1);
}

TEST_CASE("label values that are not UTF-8, long names and long values are recorded") {
  const Recording to(quipu::Registry({.max_label_value_size = 2000, .process_metrics = false, .self_metrics = false}));
  const std::string name(300, 'n');
  const std::string label(300, 'l');
  const std::string value(2000, 'v');
  for (int i = 0; i < 2; ++i) {
    to.recorder.increment(name, 1, {{label, value}, {"second", "\xFF"}});
    to.recorder.increment(name, 1, {{label, value}, {"second", "x"}});
    to.recorder.increment(name + "x", 1, {{label, value}});
  }
  CHECK(value_of(to.registry, name + "_total", {{label, value}, {"second", "\xEF\xBF\xBD"}}) == 2);
  CHECK(value_of(to.registry, name + "_total", {{label, value}, {"second", "x"}}) == 2);
  CHECK(value_of(to.registry, name + "x_total", {{label, value}}) == 2);
  CHECK(to.backend->dropped() == 0);
}

TEST_CASE("names that are the beginning of each other, and differ in the end only, are told apart") {
  const Recording to(bare(), {.max_names = 500});
  std::string name;
  for (int i = 0; i < 200; ++i) to.recorder.increment(name += static_cast<char>('a' + i % 26), 1);
  for (int i = 0; i < 200; ++i) to.recorder.increment(name + std::to_string(i), 2);
  double sum = 0;
  for (const auto& family : quipu::testing::read_page(to.registry).families) {
    if (family.name.starts_with("abc")) REQUIRE(family.samples.size() == 1);
    if (family.name.starts_with("a")) sum += family.samples[0].value;
  }
  CHECK(sum == 200 + 400);
  CHECK(to.backend->dropped() == 0);
}

TEST_CASE("a function that is called while a name is registered may record, the same name too") {
  std::shared_ptr<RegistryRecorder> backend;
  const quipu::Registry registry({.on_lint =
                                      [&](std::string_view family, std::string_view) {
                                        const Recorder recorder(backend);
                                        recorder.increment("advice.given");
                                        if (family.starts_with("camel")) recorder.increment("camelCase");
                                      },
                                  .process_metrics = false,
                                  .self_metrics = false});
  backend = std::make_shared<RegistryRecorder>(
      registry, RegistryRecorderOptions{.on_error = [&](std::string_view name, std::string_view) {
        const Recorder recorder(backend);
        recorder.increment("errors.told", 1, {{"name", name}});
        recorder.gauge("camelCase", 1);
      }});
  const Recorder recorder(backend);
  recorder.increment("camelCase");
  recorder.gauge("camelCase", 1);
  CHECK(value_of(registry, "camelCase_total") == 2);
  CHECK(value_of(registry, "advice_given_total") >= 1);
  CHECK(value_of(registry, "errors_told_total", {{"name", "camelCase"}}) == 1);
  CHECK(backend->dropped() == 2);
  backend.reset();
}

TEST_CASE("the last of the names there may be is recorded while it is still being registered") {
  std::shared_ptr<RegistryRecorder> backend;
  const quipu::Registry registry({.on_lint =
                                      [&](std::string_view family, std::string_view) {
                                        if (family != "camelCase_total") return;
                                        const Recorder recorder(backend);
                                        recorder.increment("second");
                                        recorder.increment("camelCase");
                                      },
                                  .process_metrics = false,
                                  .self_metrics = false});
  backend = std::make_shared<RegistryRecorder>(registry, RegistryRecorderOptions{.max_names = 2});
  Recorder(backend).increment("camelCase");
  CHECK(value_of(registry, "camelCase_total") == 2);
  CHECK(value_of(registry, "second_total") == 1);
  CHECK(backend->dropped() == 0);
}

TEST_CASE("a recorder outlives its registry") {
  Recorder recorder;
  {
    const auto registry = bare();
    recorder = Recorder(std::make_shared<RegistryRecorder>(registry));
    recorder.increment("x", 1, {{"a", "1"}});
  }
  recorder.increment("x", 1, {{"a", "1"}});
  recorder.increment("y");
  CHECK(recorder.failures() == 0);
}

TEST_CASE("threads that record new and known names at once lose nothing") {
  constexpr int threads = 4;
  constexpr int names = 300;
  constexpr int rounds = 20;
  const Recording to(bare(), {.max_names = 2 * names});
  std::atomic<int> ready{0};
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t) {
    crowd.emplace_back([&, t] {
      ++ready;
      while (ready != threads) std::this_thread::yield();
      for (int round = 0; round < rounds; ++round) {
        for (int i = 0; i < names; ++i) {
          const std::string name = "name." + std::to_string(i);
          const std::string value = std::to_string((i + round) % 3);
          // Whichever comes first says in which order the labels are.
          if (t % 2 == 0) to.recorder.increment(name, 1, {{"a", value}, {"b", "x"}});
          if (t % 2 == 1) to.recorder.increment(name, 1, {{"b", "x"}, {"a", value}});
          to.recorder.time(name, 1s);
        }
      }
    });
  }
  for (auto& thread : crowd) thread.join();

  double increments = 0;
  double times = 0;
  int families = 0;
  for (const auto& family : quipu::testing::read_page(to.registry).families) {
    if (!family.name.starts_with("name_")) continue;
    ++families;
    for (const auto& sample : family.samples) {
      if (sample.name.ends_with("_total")) increments += sample.value;
      if (sample.name.ends_with("_count")) times += sample.value;
    }
  }
  CHECK(families == 2 * names);
  CHECK(increments == threads * names * rounds);
  CHECK(times == threads * names * rounds);
  CHECK(to.backend->dropped() == 0);
  CHECK(to.recorder.failures() == 0);
}

TEST_CASE("threads that fill the names of a recorder drop what is beyond them, and nothing else") {
  constexpr int threads = 4;
  constexpr int names = 64;
  constexpr int rounds = 200;
  const Recording to(bare(), {.max_names = names / 2});
  std::atomic<int> ready{0};
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t) {
    crowd.emplace_back([&] {
      ++ready;
      while (ready != threads) std::this_thread::yield();
      for (int round = 0; round < rounds; ++round) {
        for (int i = 0; i < names; ++i) to.recorder.increment("name." + std::to_string(i));
      }
    });
  }
  for (auto& thread : crowd) thread.join();
  int families = 0;
  bool are_whole = true;
  for (const auto& family : quipu::testing::read_page(to.registry).families) {
    if (!family.name.starts_with("name_")) continue;
    ++families;
    are_whole = are_whole && family.samples.at(0).value == threads * rounds;
  }
  CHECK(families == names / 2);
  CHECK(are_whole);
  CHECK(to.dropped("too_many_names") == threads * rounds * names / 2);
  CHECK(to.errors.size() == 1);
}

// As lines of JSON.

TEST_CASE("a JSON recorder writes one object a line") {
  std::ostringstream out;
  const Recorder recorder(std::make_shared<quipu::JsonRecorder>(out));
  recorder.increment("comments.created", 2, {{"kind", "reply"}, {"by", "a \"b\"\n"}});
  recorder.gauge("g", 0.5);
  recorder.gauge("g", std::numeric_limits<double>::infinity());
  recorder.histogram("h", 1500);
  recorder.time("t\xFF", 20ms);

  const std::string lines =
      std::regex_replace(out.str(), std::regex(R"("time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")"), "TIME");
  CHECK(lines ==
        "{TIME,\"kind\":\"increment\",\"name\":\"comments.created\",\"step\":2,"
        "\"labels\":{\"kind\":\"reply\",\"by\":\"a \\\"b\\\"\\n\"}}\n"
        "{TIME,\"kind\":\"gauge\",\"name\":\"g\",\"value\":0.5,\"labels\":{}}\n"
        "{TIME,\"kind\":\"gauge\",\"name\":\"g\",\"value\":null,\"labels\":{}}\n"
        "{TIME,\"kind\":\"histogram\",\"name\":\"h\",\"value\":1500,\"labels\":{}}\n"
        "{TIME,\"kind\":\"time\",\"name\":\"t\xEF\xBF\xBD\",\"seconds\":0.02,\"labels\":{}}\n");
}

TEST_CASE("each line of a JSON recorder has the fields that it was made with, and a fraction as it is") {
  std::string lines;
  const Recorder recorder(
      std::make_shared<quipu::JsonRecorder>([&lines](std::string_view line) { lines += line; },
                                            quipu::JsonRecorderOptions{{{"service", "shop"}, {"a\"\xFF", "\n"}}}));
  recorder.increment("spent", 0.25);
  recorder.gauge("g", 1);
  CHECK(std::regex_replace(lines, std::regex(R"("time":"[^"]*")"), "TIME") ==
        "{TIME,\"service\":\"shop\",\"a\\\"\xEF\xBF\xBD\":\"\\n\",\"kind\":\"increment\",\"name\":\"spent\","
        "\"step\":0.25,\"labels\":{}}\n"
        "{TIME,\"service\":\"shop\",\"a\\\"\xEF\xBF\xBD\":\"\\n\",\"kind\":\"gauge\",\"name\":\"g\","
        "\"value\":1,\"labels\":{}}\n");

  const auto refusal = [](quipu::JsonRecorderOptions options) {
    try {
      const quipu::JsonRecorder refused([](std::string_view) {}, std::move(options));
      return std::string("no error");
    } catch (const quipu::RegistrationError& error) {
      return std::string(error.what());
    }
  };
  CHECK(refusal({}) == "no error");
  CHECK(refusal({{{"name", "x"}}}) ==
        "JsonRecorderOptions::fields: a line has \"name\" already; choose another name for the field");
  CHECK_THAT(refusal({{{"a", "x"}, {"a", "y"}}}), Catch::Matchers::ContainsSubstring("a line has \"a\" already"));
}

TEST_CASE("a JSON recorder tells the time of the recording, in UTC") {
  std::string line;
  quipu::JsonRecorder recorder([&](std::string_view written) { line = written; });
  const auto whole_second = [] { return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()); };
  const std::time_t before = whole_second();
  recorder.gauge("g", 1, {});
  const std::time_t after = whole_second();
  std::tm utc{};
  std::istringstream text(line.substr(9, 19));
  text >> std::get_time(&utc, "%Y-%m-%dT%H:%M:%S");
  REQUIRE(text);
  CHECK(timegm(&utc) >= before);
  CHECK(timegm(&utc) <= after);
}

TEST_CASE("JSON lines of several threads do not mix, and are flushed when that is asked for") {
  constexpr int threads = 4;
  constexpr int rounds = 500;
  std::ostringstream out;
  const Recorder recorder(std::make_shared<quipu::JsonRecorder>(out));
  std::vector<std::thread> crowd;
  for (int t = 0; t < threads; ++t) {
    crowd.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) recorder.increment("x", 1, {{"thread", std::to_string(t)}});
    });
  }
  for (auto& thread : crowd) thread.join();
  recorder.flush();
  std::istringstream lines(out.str());
  int whole = 0;
  for (std::string line; std::getline(lines, line);) {
    whole += static_cast<int>(line.starts_with("{\"time\":\"") && line.ends_with("\"}}") && line.find('{', 1) > 60 &&
                              line.find("{\"time", 1) == line.npos);
  }
  CHECK(whole == threads * rounds);
}

TEST_CASE("lines that a stream does not take are counted") {
  struct Full : std::streambuf {
    int overflow(int) override { return traits_type::eof(); }
  };
  Full full;
  std::ostream out(&full);
  const auto backend = std::make_shared<quipu::JsonRecorder>(out);
  const Recorder recorder(backend);
  recorder.increment("x");
  recorder.increment("x");
  CHECK(backend->dropped() == 2);
  out.clear();
  out.exceptions(std::ios::badbit);
  recorder.increment("x");
  recorder.flush();
  CHECK(backend->dropped() == 3);
  CHECK(recorder.failures() == 0);
}

TEST_CASE("a full disk costs a JSON recorder lines, which are counted, and nothing else") {
  if (!std::filesystem::exists("/dev/full")) return;
  const bool throws = GENERATE(false, true);
  std::ofstream disk("/dev/full");
  if (throws) disk.exceptions(std::ios::badbit | std::ios::failbit);
  const auto backend = std::make_shared<quipu::JsonRecorder>(disk);
  const Recorder recorder(backend);
  // A few lines fit into the buffer of the stream, and are lost when it is flushed.
  for (int i = 0; i < 3; ++i) recorder.gauge("g", 1);
  recorder.flush();
  CHECK(backend->dropped() == 3);
  for (int i = 0; i < 1'000; ++i) recorder.increment("x", 1, {{"a", "some value"}});
  recorder.flush();
  CHECK(backend->dropped() == 1'003);
  CHECK(recorder.failures() == 0);
  disk.exceptions(std::ios::goodbit);
}

TEST_CASE("lines that were lost are told by the first line that is written again") {
  /// Takes bytes while there is room, as a disk does.
  struct Disk : std::streambuf {
    int overflow(int c) override {
      if (room == 0) return traits_type::eof();
      --room;
      text += static_cast<char>(c);
      return c;
    }
    std::size_t room = 1'000'000;
    std::string text;
  } disk;
  std::ostream out(&disk);
  const auto backend = std::make_shared<quipu::JsonRecorder>(out, quipu::JsonRecorderOptions{{{"by", "us"}}});
  const Recorder recorder(backend);
  recorder.gauge("g", 1);
  recorder.flush();
  disk.room = 0;
  for (int i = 0; i < 5; ++i) recorder.gauge("g", 2);
  disk.room = 1'000'000;
  recorder.gauge("g", 3);
  recorder.gauge("g", 4);
  CHECK(backend->dropped() == 5);
  recorder.flush();
  disk.room = 7;
  recorder.gauge("g", 5);
  disk.room = 5;
  recorder.gauge("g", 5);
  disk.room = 1'000'000;
  recorder.gauge("g", 6);
  CHECK(backend->dropped() == 7);
  const std::string lines = std::regex_replace(disk.text, std::regex(R"("time":"[^"]*")"), "TIME");
  CHECK(lines ==
        "{TIME,\"by\":\"us\",\"kind\":\"gauge\",\"name\":\"g\",\"value\":1,\"labels\":{}}\n"
        "{TIME,\"by\":\"us\",\"kind\":\"dropped\",\"lines\":5}\n"
        "{TIME,\"by\":\"us\",\"kind\":\"gauge\",\"name\":\"g\",\"value\":3,\"labels\":{}}\n"
        "{TIME,\"by\":\"us\",\"kind\":\"gauge\",\"name\":\"g\",\"value\":4,\"labels\":{}}\n"
        "{\"time\"\n{\"ti\n"  // what there was room for
        "{TIME,\"by\":\"us\",\"kind\":\"dropped\",\"lines\":2}\n"
        "{TIME,\"by\":\"us\",\"kind\":\"gauge\",\"name\":\"g\",\"value\":6,\"labels\":{}}\n");
}

TEST_CASE("a long label value is cut in a line of JSON, in a registry and in a timer, at no cost for the rest of it") {
  std::size_t longest = 0;
  std::string last;
  const auto json = std::make_shared<quipu::JsonRecorder>([&](std::string_view line) {
    longest = std::max(longest, line.size());
    last = line;
  });
  const auto registry = bare();
  const Recorder recorder({json, std::make_shared<RegistryRecorder>(registry)});
  const std::string huge(10'000'000, 'y');
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 300; ++i) {
    recorder.increment("x", 1, {{"a", huge}});
    recorder.increment("x", 1, {{"b", "unknown"}, {"a", huge}});
    auto timer = recorder.time("t", {{"a", huge}, {"b", ""}});
    timer.label("b", huge);
  }
  CHECK(std::chrono::steady_clock::now() - begin < 10s);  // minutes, if all of it was read
  CHECK(longest < 3'000);
  CHECK(last.find("\"" + std::string(1024, 'y') + "\"}") != last.npos);
  CHECK(value_of(registry, "x_total", {{"a", std::string(1024, 'y')}}) == 600);
}

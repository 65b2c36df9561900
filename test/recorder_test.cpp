#include "quipu/recorder.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
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
#include "sanitizers.hpp"

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
  void increment(std::string_view name, std::uint64_t step, quipu::Labels labels) override {
    note("increment", name, std::to_string(step), labels);
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
  void increment(std::string_view, std::uint64_t, quipu::Labels) override { throw std::runtime_error("broken"); }
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

  const std::vector<std::string> expected = {"increment comments.created 1",
                                             "increment comments.created 3 kind=reply region=eu",
                                             "gauge users.online 12.000000 region=eu", "histogram size 1500.000000",
                                             "time took step=load"};
  CHECK(first->lines == expected);
  CHECK(second->lines == expected);
  CHECK(first->last_time == 20ms);
  CHECK(first->flushes == 1);
  CHECK(recorder.failures() == 0);
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
  to.recorder.gauge("users-online", -2.5, {{"geo.region", "eu"}});
  to.recorder.histogram("message.size.bytes", 1500);
  to.recorder.time("database.query.duration", 20ms, {{"operation", "select"}});
  to.recorder.time("wait_seconds", 1s);
  to.recorder.increment("9 lives: überall");
  to.recorder.increment("");
  to.recorder.gauge("x", 1, {{"__name__", "a"}, {"1st", "b"}, {"", "c"}, {"__", "d"}, {"e:f", "e"}});

  CHECK(difference(to.registry, R"(
    # HELP comments_created_total Recorded as "comments.created".
    # TYPE comments_created_total counter
    comments_created_total{kind="reply"} 3
    # TYPE jobs_total counter
    jobs_total 1
    # TYPE users_online gauge
    users_online{geo_region="eu"} -2.5
    # TYPE message_size_bytes histogram
    message_size_bytes_bucket{le="1"} 0
    message_size_bytes_bucket{le="4"} 0
    message_size_bytes_bucket{le="16"} 0
    message_size_bytes_bucket{le="64"} 0
    message_size_bytes_bucket{le="256"} 0
    message_size_bytes_bucket{le="1024"} 0
    message_size_bytes_bucket{le="4096"} 1
    message_size_bytes_bucket{le="16384"} 1
    message_size_bytes_bucket{le="65536"} 1
    message_size_bytes_bucket{le="262144"} 1
    message_size_bytes_bucket{le="1048576"} 1
    message_size_bytes_bucket{le="4194304"} 1
    message_size_bytes_bucket{le="+Inf"} 1
    message_size_bytes_sum 1500
    message_size_bytes_count 1
    database_query_duration_seconds_sum{operation="select"} 0.02
    wait_seconds_sum 1
    _9_lives___berall_total 1
    __total 1
  )") != "");  // "__total" and the like are looked at below
  CHECK(value_of(to.registry, "comments_created_total", {{"kind", "reply"}}) == 3);
  CHECK(value_of(to.registry, "database_query_duration_seconds_sum", {{"operation", "select"}}) == 0.02);
  CHECK(to.errors.size() == 1);
  CHECK(to.backend->dropped() == 1);
}

// A pipeline: a graph of steps with a cache and retries. The graph tells its observers what happens, and knows none of
// them: one keeps numbers for Prometheus, one writes log lines in JSON if the command line wants them, one is a line of
// this program's own.
//
// The work is made up, and so is the time that it takes; the same execution is the same each time.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <quipu/batch.hpp>
#include <quipu/observers.hpp>
#include <quipu/quipu.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "program.hpp"

using namespace std::chrono_literals;
using std::chrono::milliseconds;

// What happens.

enum class Status { success, error, panic };  // panic: what was thrown is no std::exception

struct Step {
  std::string_view name;
  std::string_view type;
};

// Events are plain structs, which refer to what is there while they are told.
struct GraphStarted {
  std::string_view execution;
};
struct GraphEnded {
  std::string_view execution;
  std::string_view output_type;
  Status status;
  milliseconds time;
};
struct StepStarted {
  std::string_view execution;
  const Step& step;
  int attempt;  // from 1; told for each
};
struct CacheChecked {
  std::string_view execution;
  const Step& step;
  bool is_hit;
  milliseconds time;
};
struct StepRetried {
  std::string_view execution;
  const Step& step;
  int attempt;  // that has failed
  std::string_view error;
};
struct StepFailed {
  std::string_view execution;
  const Step& step;
  int attempt;
  std::string_view error;
};
struct StepEnded {
  std::string_view execution;
  const Step& step;
  Status status;
  int attempts;  // 0 if its output was in the cache
  milliseconds time;
};

// Those who listen.

// Registered as a whole, see quipu::batch. No label holds the execution: each would be new series. It is an exemplar,
// by which one gets from a number to one of the executions behind it.
struct Metrics {
  quipu::Scope scope;

  quipu::HistogramFamily<std::string_view, Status> graph_duration = scope.histogram<std::string_view, Status>(
      {.name = "graph_duration_seconds", .help = "Time of executions."}, {"output_type", "status"});
  quipu::HistogramFamily<std::string_view, std::string_view, Status> step_duration =
      scope.histogram<std::string_view, std::string_view, Status>(
          {.name = "step_duration_seconds", .help = "Time of steps, with all attempts."},
          {"step_name", "step_type", "status"});
  quipu::CounterFamily<std::string_view, std::string_view> cache_hits = scope.counter(
      {.name = "cache_hits_total", .help = "Steps whose output was in the cache."}, {"step_name", "step_type"});
  quipu::CounterFamily<std::string_view, std::string_view> cache_misses = scope.counter(
      {.name = "cache_misses_total", .help = "Steps whose output was not in the cache."}, {"step_name", "step_type"});
  quipu::HistogramFamily<std::string_view, std::string_view> cache_check_latency =
      scope.histogram({.name = "cache_check_latency_seconds",
                       .help = "Time to look into the cache.",
                       .buckets = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1}},
                      {"step_name", "step_type"});
  quipu::CounterFamily<std::string_view> step_retries =
      scope.counter({.name = "step_retries_total", .help = "Attempts after the first one."}, {"step_name"});
  quipu::CounterFamily<std::string_view> step_errors =
      scope.counter({.name = "step_errors_total", .help = "Steps that failed."}, {"step_name"});

  // On the page at 0 before anything happens, so that a rate sees the first time.
  void create(const Step& step) const {
    step_duration.create(step.name, step.type, Status::success);
    cache_hits.create(step.name, step.type);
    cache_misses.create(step.name, step.type);
    step_retries.create(step.name);
    step_errors.create(step.name);
  }

  void on(const CacheChecked& event) const {
    (event.is_hit ? cache_hits : cache_misses)(event.step.name, event.step.type).inc();
    cache_check_latency(event.step.name, event.step.type).observe(event.time);
  }
  void on(const StepRetried& event) const { step_retries(event.step.name).inc(); }
  void on(const StepFailed& event) const { step_errors(event.step.name).inc(); }
  void on(const StepEnded& event) const {
    step_duration(event.step.name, event.step.type, event.status).observe(event.time);
  }
  void on(const GraphEnded& event) const {
    graph_duration(event.output_type, event.status).observe(event.time, [&event] {
      return quipu::Exemplar{{"execution_id", event.execution}};
    });
  }
};

enum class Level { debug, info, warn, error, off };

constexpr std::array<std::string_view, 5> level_names = {"debug", "info", "warn", "error", "off"};

std::string_view name_of(Level level) { return level_names[static_cast<std::size_t>(level)]; }

// A line of JSON, member by member.
class JsonLine {
 public:
  JsonLine(std::string_view level, std::string_view message) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto seconds = static_cast<std::time_t>(std::chrono::floor<std::chrono::seconds>(now).count());
    char time[32];
    std::tm utc{};
    std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&seconds, &utc));
    text("time", time).text("level", level).text("msg", message);
  }

  JsonLine& text(std::string_view name, std::string_view value) { return raw(name, quoted(value)); }
  JsonLine& number(std::string_view name, int value) { return raw(name, std::to_string(value)); }
  JsonLine& seconds(std::string_view name, milliseconds value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.3f", std::chrono::duration<double>(value).count());
    return raw(name, digits);
  }
  JsonLine& boolean(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }

  [[nodiscard]] std::string end() const { return line_ + "}\n"; }

 private:
  JsonLine& raw(std::string_view name, std::string_view value) {
    line_ += line_.empty() ? "{" : ",";
    line_ += quoted(name) + ":";
    line_ += value;
    return *this;
  }

  static std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        result += '\\';
        result += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
        result += escape;
      } else {
        result += c;
      }
    }
    return result + '"';
  }

  std::string line_;
};

// Each line is written in one piece. Those below the level are not made.
class JsonLog {
 public:
  JsonLog(std::ostream& stream, Level level) : out(stream), least(level) {}

  void on(const GraphStarted& event) const {
    write(Level::info, "graph started", event, [](JsonLine&) {});
  }
  void on(const GraphEnded& event) const {
    write(event.status == Status::success ? Level::info : Level::error, "graph ended", event,
          [&](JsonLine& line) { line.seconds("duration", event.time); });
  }
  void on(const StepStarted& event) const {
    write(Level::info, "step started", event, [&](JsonLine& line) { line.number("attempt", event.attempt); });
  }
  void on(const CacheChecked& event) const {
    write(Level::debug, "cache checked", event,
          [&](JsonLine& line) { line.boolean("cached", event.is_hit).seconds("duration", event.time); });
  }
  void on(const StepRetried& event) const {
    write(Level::warn, "step retried", event,
          [&](JsonLine& line) { line.number("attempt", event.attempt).text("error", event.error); });
  }
  void on(const StepFailed& event) const {
    write(Level::error, "step failed", event,
          [&](JsonLine& line) { line.number("attempt", event.attempt).text("error", event.error); });
  }
  void on(const StepEnded& event) const {
    write(Level::info, "step ended", event, [&](JsonLine& line) {
      line.number("attempt", event.attempts).seconds("duration", event.time).boolean("cached", event.attempts == 0);
    });
  }

 private:
  template <class Event, class Add>
  void write(Level level, std::string_view message, const Event& event, Add add) const {
    if (level < least) return;
    JsonLine line(name_of(level), message);
    line.text("execution_id", event.execution);
    if constexpr (requires { event.step; }) line.text("step_name", event.step.name).text("step_type", event.step.type);
    add(line);
    out << line.end();
  }

  std::ostream& out;
  const Level least;
};

// The graph.

// Each step needs the output of the one before.
constexpr std::array<Step, 4> steps{{{"fetch", "io"}, {"parse", "cpu"}, {"enrich", "io"}, {"report", "cpu"}}};

constexpr int most_attempts = 3;

// Work that is made up.
bool is_cached(int execution, int step) { return (execution * 7 + step * 3) % 4 == 0; }

milliseconds check_time(int execution, int step) { return 1ms + (execution * 5 + step) % 6 * 3ms; }

milliseconds work_time(int execution, int step) { return 2ms + (execution * 31 + step * 17) % 97 * 5ms; }

void work(int execution, int step, int attempt) {
  if (step == 1 && execution % 37 == 36) throw 37;
  const bool fails_for_good = step == 2 && execution % 29 == 5;
  const bool fails_once = (execution * 11 + step * 5) % 13 == 0;
  if (fails_for_good || (fails_once && attempt == 1)) throw std::runtime_error("lost \"the store\":\n\ttry again");
}

// The type of the observers is known to the compiler, which makes them a part of the graph. With quipu::Observers<> it
// leaves not even an event.
template <class Observers>
class Graph {
 public:
  explicit Graph(Observers& observers) : observers_(observers) {}

  void execute(int number) {
    const std::string execution = "execution-" + std::to_string(number);
    observers_.notify(GraphStarted{execution});
    milliseconds time{0};
    auto status = Status::success;
    for (std::size_t i = 0; i < steps.size() && status == Status::success; ++i) {
      status = execute(execution, number, static_cast<int>(i), time);
    }
    observers_.notify(
        GraphEnded{execution, "report", status == Status::success ? Status::success : Status::error, time});
  }

 private:
  Status execute(std::string_view execution, int number, int index, milliseconds& graph_time) {
    const Step& step = steps[static_cast<std::size_t>(index)];
    observers_.notify(StepStarted{execution, step, 1});
    milliseconds time = check_time(number, index);
    const bool is_hit = is_cached(number, index);
    observers_.notify(CacheChecked{execution, step, is_hit, time});
    auto status = Status::success;
    int attempt = 0;
    for (bool is_done = is_hit; !is_done;) {
      ++attempt;
      time += work_time(number, index);
      try {
        work(number, index, attempt);
        is_done = true;
      } catch (const std::exception& error) {
        is_done = attempt == most_attempts;
        if (is_done) {
          status = Status::error;
          observers_.notify(StepFailed{execution, step, attempt, error.what()});
        } else {
          observers_.notify(StepRetried{execution, step, attempt, error.what()});
          observers_.notify(StepStarted{execution, step, attempt + 1});
        }
      } catch (...) {
        is_done = true;
        status = Status::panic;
        observers_.notify(StepFailed{execution, step, attempt, "panic"});
      }
    }
    observers_.notify(StepEnded{execution, step, status, attempt, time});
    graph_time += time;
    return status;
  }

  Observers& observers_;
};

// The program.

int main(int argc, char** argv) {
  Level level = Level::info;
  const example::Option log_option{"--log", "LEVEL", "of the log lines: debug, info, warn, error or off (info)",
                                   [&level](std::string_view text) {
                                     const auto found = std::find(level_names.begin(), level_names.end(), text);
                                     level = static_cast<Level>(found - level_names.begin());
                                     return found != level_names.end();
                                   }};
  const auto body = [&level](const auto& arguments, const auto& signals) {
    quipu::Observers<> nobody;
    Graph(nobody).execute(0);  // a rehearsal, which nobody hears of

    const quipu::Registry registry({.prefix = "example"});
    const auto metrics = quipu::batch<Metrics>(registry, "docket");
    for (const Step& step : steps) metrics.create(step);

    // Whether there is a log, on standard error, is known at run time only.
    quipu::ObserverList<GraphStarted, GraphEnded, StepStarted, CacheChecked, StepRetried, StepFailed, StepEnded> chosen;
    if (level != Level::off) chosen.add(JsonLog(std::cerr, level));

    // Of what fails, the program says something on its standard output.
    quipu::Observers observers(metrics, std::ref(chosen), [](const StepFailed& event) {
      std::cout << event.execution << ": " << event.step.name << " failed" << std::endl;
    });
    // How often a listener has thrown is worth a number too.
    const auto failures =
        registry.counter_callback({.name = "observer_failures_total", .help = "Listeners that threw."},
                                  [&] { return static_cast<double>(observers.failures() + chosen.failures()); });

    const quipu::Exposer endpoint(registry, {.listen = arguments.listen});
    std::cout << "metrics: " << endpoint.url() << std::endl;

    Graph graph(observers);
    example::run(arguments, signals, 20ms, [&](int round) { graph.execute(round); });
  };
  return example::program("pipeline", argc, argv, body, {log_option});
}

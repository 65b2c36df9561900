// An exporter of a film collection: fetches it from one service (here, one that this program plays), and writes it to
// files for another one. It counts what it does, says whether it is in good health, and shows both to Prometheus.

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <quipu/health.hpp>
#include <quipu/quipu.hpp>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "program.hpp"

using namespace std::chrono_literals;

// The numbers.

enum class Type { movies, ratings, watchlist };

enum class Status { success, error };

constexpr std::string_view version = "2.0.0";

struct Metrics {
  quipu::Registry registry{{.prefix = "export_trakt"}};

  quipu::CounterFamily<Status, Type, std::string_view> exports = registry.counter<Status, Type, std::string_view>(
      {.name = "exports_total", .help = "Exports."}, {"status", "type", "format"});

  quipu::HistogramFamily<Type, Status> export_duration =
      registry.histogram<Type, Status>({.name = "export_duration_seconds",
                                        .help = "Time of an export.",
                                        .buckets = {0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}},
                                       {"type", "status"});

  quipu::CounterFamily<Type, std::string_view, std::string_view> export_errors =
      registry.counter<Type, std::string_view, std::string_view>(
          {.name = "export_errors_total", .help = "Exports that failed, by what went wrong and where."},
          {"type", "error_code", "component"});

  quipu::CounterFamily<std::string_view, std::string_view, std::string_view, int> api_calls =
      registry.counter<std::string_view, std::string_view, std::string_view, int>(
          {.name = "api_calls_total", .help = "Calls of other services."},
          {"service", "endpoint", "method", "status_code"});

  quipu::HistogramFamily<std::string_view, std::string_view, std::string_view> api_call_duration =
      registry.histogram({.name = "api_call_duration_seconds",
                          .help = "Time of a call.",
                          .buckets = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}},
                         {"service", "endpoint", "method"});

  quipu::CounterFamily<std::string_view, std::string_view, std::string_view> api_call_errors = registry.counter(
      {.name = "api_call_errors_total", .help = "Calls that failed."}, {"service", "endpoint", "error_type"});

  quipu::CounterFamily<std::string_view, std::string_view> movies =
      registry.counter({.name = "movies_exported_total", .help = "Movies in exports."}, {"category", "status"});

  quipu::CounterFamily<int> ratings =
      registry.counter<int>({.name = "ratings_exported_total", .help = "Ratings in exports."}, {"rating_value"});

  quipu::CounterFamily<std::string_view> watchlist = registry.counter(
      {.name = "watchlist_exported_total", .help = "What is on watchlists in exports."}, {"item_type"});

  quipu::GaugeFamily<std::string_view> cache_hit_rate = registry.gauge(
      {.name = "cache_hit_rate", .help = "Per cent of the look-ups that found something."}, {"cache_type"});

  quipu::Gauge cpu_usage = registry.gauge(
      {.name = "cpu_usage_percent", .help = "CPU time of this process per cent of the time, since the last check."});

  quipu::Gauge start_time =
      registry.gauge({.name = "start_time_seconds", .help = "When the exporter began, since the epoch."});
};

// What the system knows already is read at each scrape.
struct Memory {
  double total_bytes = 0;
  double resident_bytes = 0;
};

Memory memory() {
  Memory pages;
  std::ifstream("/proc/self/statm") >> pages.total_bytes >> pages.resident_bytes;
  const auto page_size = static_cast<double>(::sysconf(_SC_PAGESIZE));
  return {pages.total_bytes * page_size, pages.resident_bytes * page_size};
}

std::int64_t threads() {
  std::error_code error;  // where there is no such folder there are none to count
  const std::filesystem::directory_iterator folder("/proc/self/task", error);
  return error ? 0 : std::distance(begin(folder), end(folder));
}

class System final : public quipu::Collector {
 public:
  std::vector<quipu::FamilyDescription> describe() const override {
    // The name is the one that the dashboards know; a C++ program has threads.
    return {{.name = "goroutines_count", .help = "Threads of this process."},
            {.name = "memory_usage_bytes", .help = "Memory of this process.", .labels = {"type"}}};
  }
  void collect(quipu::Samples& samples) override {
    samples.add("goroutines_count", static_cast<double>(threads()));
    const auto [total, resident] = memory();
    samples.add("memory_usage_bytes", {"virtual"}, total);
    samples.add("memory_usage_bytes", {"resident"}, resident);
  }
};

// The service that is exported from.

class Service {
 public:
  Service(example::Dice& dice, std::filesystem::path outage) : dice_(dice), outage_(std::move(outage)) {}

  struct Answer {
    int status;
    std::chrono::milliseconds time;  // that it would have taken
  };

  Answer get() {
    auto time = 20ms + dice_.throw_one(400) * 1ms;
    if (dice_.throw_one(40) == 0) time += 3s;
    const int mishap = dice_.throw_one(25);
    return {.status = mishap == 0 ? 502 : mishap == 1 ? 429 : 200, .time = time};
  }

  // Whether it answers. It does not as long as there is a certain file.
  quipu::HealthResult check(const std::stop_token& stop) const {
    while (std::filesystem::exists(outage_) && !stop.stop_requested()) std::this_thread::sleep_for(10ms);
    return {.message = "answers"};
  }

 private:
  example::Dice& dice_;
  const std::filesystem::path outage_;
};

// The exporter.

class Exporter {
 public:
  Exporter(Metrics& metrics, Service& service, example::Dice& dice, std::filesystem::path folder)
      : metrics_(metrics), service_(service), dice_(dice), folder_(std::move(folder)) {
    // Rates begin with these at 0, not with the first error.
    for (const Type type : {Type::movies, Type::ratings, Type::watchlist}) {
      for (const Status status : {Status::success, Status::error}) {
        for (const auto* const format : {"csv", "json"}) metrics_.exports.create(status, type, format);
      }
    }
  }

  void run(int number) {
    const auto type = static_cast<Type>(number % 3);
    auto time = 0ms;
    auto problem = fetch(type, time);
    if (!problem) problem = write(type);
    const Status status = problem ? Status::error : Status::success;
    if (problem) metrics_.export_errors(type, problem->code, problem->component).inc();
    metrics_.exports(status, type, number % 5 == 0 ? "json" : "csv").inc();
    metrics_.export_duration(type, status).observe(time);
  }

  // Whether files can be written.
  quipu::HealthResult check() const {
    const auto path = folder_ / ".health";
    const bool is_written = (std::ofstream(path) << "x").flush().good();
    std::filesystem::remove(path);
    if (!is_written) return {quipu::HealthStatus::unhealthy, "cannot write to " + folder_.string()};
    const auto space = std::filesystem::space(folder_);
    return {.message = "writable", .details = {{"available_mb", static_cast<double>(space.available) / 1e6}}};
  }

 private:
  struct Problem {
    std::string_view code;
    std::string_view component;
  };

  std::optional<Problem> fetch(Type type, std::chrono::milliseconds& time) {
    const std::string_view endpoint = type == Type::movies    ? "/sync/watched"
                                      : type == Type::ratings ? "/sync/ratings"
                                                              : "/sync/watchlist";
    for (int pages = 1 + dice_.throw_one(3); pages > 0; --pages) {
      const auto [status, call_time] = service_.get();
      time += call_time;
      metrics_.api_calls("trakt", endpoint, "GET", status).inc();
      metrics_.api_call_duration("trakt", endpoint, "GET").observe(call_time);
      if (status == 200) continue;
      const std::string_view error = status == 429 ? "rate_limit" : "server_error";
      metrics_.api_call_errors("trakt", endpoint, error).inc();
      return Problem{error, "trakt_api"};
    }
    return std::nullopt;
  }

  std::optional<Problem> write(Type type) {
    const bool is_written = (std::ofstream(folder_ / "export.csv") << "Title,Year\n").flush().good();
    if (!is_written) return Problem{"write_failed", "file_system"};
    switch (type) {
      case Type::movies:
        metrics_.movies("watched", "success").inc(static_cast<unsigned>(10 + dice_.throw_one(40)));
        metrics_.movies("watched", "skipped").inc(static_cast<unsigned>(dice_.throw_one(5)));
        break;
      case Type::ratings:
        for (int left = 5 + dice_.throw_one(10); left > 0; --left) metrics_.ratings(1 + dice_.throw_one(10)).inc();
        break;
      case Type::watchlist:
        metrics_.watchlist("movie").inc(static_cast<unsigned>(dice_.throw_one(20)));
        metrics_.watchlist("show").inc(static_cast<unsigned>(dice_.throw_one(10)));
        break;
    }
    lookups_ += 20;
    hits_ += dice_.throw_one(21);
    metrics_.cache_hit_rate("metadata").set(100.0 * hits_ / lookups_);
    return std::nullopt;
  }

  Metrics& metrics_;
  Service& service_;
  example::Dice& dice_;
  const std::filesystem::path folder_;
  int lookups_ = 0;
  int hits_ = 0;
};

// Whether the program has what it needs of the machine; besides, it measures the CPU usage since the last check.
class SystemCheck {
 public:
  explicit SystemCheck(quipu::Gauge cpu_usage) : cpu_usage_(cpu_usage) {}

  quipu::HealthResult operator()() {
    const auto now = Clock::now();
    const std::clock_t cpu = std::clock();
    const std::chrono::duration<double> time = now - std::exchange(before_, now);
    const double cpu_time = static_cast<double>(cpu - std::exchange(cpu_before_, cpu)) / CLOCKS_PER_SEC;
    if (time > 0s) cpu_usage_.set(100 * cpu_time / time.count());

    const double mb = memory().resident_bytes / 1e6;
    const auto status = mb < 500 ? quipu::HealthStatus::healthy : quipu::HealthStatus::degraded;
    return {.status = status,
            .message = status == quipu::HealthStatus::healthy ? "enough of everything" : "much memory is in use",
            .details = {{"memory_alloc_mb", mb},
                        {"num_threads", threads()},
                        {"num_cpu", static_cast<std::int64_t>(std::thread::hardware_concurrency())}}};
  }

 private:
  using Clock = std::chrono::steady_clock;
  quipu::Gauge cpu_usage_;
  Clock::time_point before_ = Clock::now();
  std::clock_t cpu_before_ = std::clock();
};

// The program.

// A folder of this run's own, which goes with it.
class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_ / "exports"); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("quipu-exporter-" + std::to_string(::getpid()));
};

void body(const example::Arguments& arguments, const example::EndSignals& signals) {
  const Folder folder;
  Metrics metrics;
  metrics.start_time.set(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  System system;
  const auto system_registration = metrics.registry.add(system);
  example::Dice dice;
  Service service(dice, folder.path() / "outage");
  Exporter exporter(metrics, service, dice, folder.path() / "exports");

  // Checks run in the background, so that a probe never waits for one. The exporter can do without the service for a
  // while, and is only degraded then; without a place to write to it is of no use.
  quipu::Health health({.version = std::string(version), .version_label = true});
  health.add({.name = "system", .check = SystemCheck(metrics.cpu_usage), .interval = 250ms, .is_critical = false});
  health.add({.name = "trakt_api",
              .check = [&service](const std::stop_token& stop) { return service.check(stop); },
              .interval = 250ms,
              .timeout = 500ms,
              .is_critical = false});
  health.add({.name = "file_system", .check = [&exporter] { return exporter.check(); }, .interval = 250ms});
  const auto health_registration = health.expose(metrics.registry);

  const quipu::Exposer endpoint(metrics.registry, {.listen = arguments.listen, .routes = health.routes()});
  const std::string root = endpoint.url().substr(0, endpoint.url().rfind('/'));
  std::cout << "metrics: " << endpoint.url() << "\nhealth:  " << root << "/health\nfiles:   " << folder.path().string()
            << "\n\ntry:     curl " << root << "/health\n         rm -r " << folder.path().string()
            << "/exports       (unhealthy; mkdir it again)\n         touch " << folder.path().string()
            << "/outage  (the service hangs; rm it again)\n"
            << std::flush;

  example::run(arguments, signals, 20ms, [&exporter](int number) { exporter.run(number); });
}

int main(int argc, char** argv) { return example::program("exporter", argc, argv, body); }

// Measures what recording costs, in nanoseconds and in units of an atomic addition on the same machine, how much memory
// series take up, and what scrapes cost, in units of plain code that does what they cannot do without. Usage: see
// below.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "rows.hpp"

namespace bench {
namespace {

constexpr std::string_view usage = "Usage: bench/run [--quick] [--json FILE] [NAME...]\n";
constexpr std::string_view prometheus_cpp = "prometheus_cpp_";

constexpr Plan full_plan = {.rounds = 150, .seconds = 190, .stall_seconds = 8};
constexpr Plan quick_plan = {.rounds = 20, .seconds = 20, .stall_seconds = 2};

struct Options {
  bool is_quick = false;
  std::string json = {};
  std::vector<std::string_view> names = {};
};

template <class Any>
void append(std::vector<Any>& to, const std::vector<Any>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// Each of `others`, named as one of `rows` is but for the prefix, after that one.
template <class AnyRow>
[[maybe_unused]] void put_beside(std::vector<AnyRow>& rows, const std::vector<AnyRow>& others) {
  for (const AnyRow& other : others) {
    const std::string_view name = other.name.substr(prometheus_cpp.size());
    const auto beside = std::ranges::find(rows, name, &AnyRow::name);
    rows.insert(beside == rows.end() ? beside : beside + 1, other);
  }
}

std::vector<Row> all_rows() {
  std::vector<Row> rows = recording_rows();
  append(rows, lookup_rows());
  append(rows, scraping_rows());
#ifdef QUIPU_BENCH_ENDPOINT
  append(rows, endpoint_rows());
#endif
#ifdef QUIPU_BENCH_PROMETHEUS_CPP
  put_beside(rows, prometheus_cpp_rows());
#endif
  return rows;
}

std::vector<Baseline> all_baselines() {
  std::vector<Baseline> baselines = recording_baselines();
  append(baselines, lookup_baselines());
  append(baselines, scraping_baselines());
#ifdef QUIPU_BENCH_ENDPOINT
  append(baselines, endpoint_baselines());
#endif
  return baselines;
}

std::vector<MemoryRow> all_memory_rows() {
  std::vector<MemoryRow> rows = memory_rows();
#ifdef QUIPU_BENCH_PROMETHEUS_CPP
  put_beside(rows, prometheus_cpp_memory_rows());
#endif
  return rows;
}

template <class AnyRow>
std::vector<AnyRow> chosen(std::vector<AnyRow> rows, const std::vector<std::string_view>& names) {
  std::erase_if(rows, [&](const AnyRow& row) {
    return !names.empty() && std::ranges::none_of(names, [&](auto name) { return row.name.starts_with(name); });
  });
  return rows;
}

/// Says what is wrong. The exit code.
int wrong(std::string_view what) {
  fmt::print(stderr, "bench: {}\n{}A NAME chooses the rows that begin with it, of:\n", what, usage);
  for (const Row& row : all_rows()) fmt::print(stderr, "  {}\n", row.name);
  for (const MemoryRow& row : all_memory_rows()) fmt::print(stderr, "  {}\n", row.name);
  for (const StallRow& row : stall_rows()) fmt::print(stderr, "  {}\n", row.name);
  return 2;
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown processor";
}

void print_machine() {
#ifdef __clang__
  constexpr std::string_view compiler = __VERSION__;
#else
  constexpr std::string_view compiler = "g++ " __VERSION__;
#endif
  fmt::print("{}, {} processors; {}\n", cpu_model(), std::thread::hardware_concurrency(), compiler);
}

/// The rows that read the clock twice.
constexpr std::array<std::string_view, 2> timed_rows = {"timer", "request"};

/// What they cost besides the two readings of the clock that they cannot do without.
void add_timed_differences(std::vector<Result>& results) {
  for (const std::string_view name : timed_rows) {
    for (std::size_t threads = 1; threads <= 2; ++threads) {
      const auto find = [&](std::string_view wanted) {
        return std::ranges::find_if(results, [&](auto& one) { return one.name == wanted && one.threads == threads; });
      };
      const auto timed = find(name);
      const auto clocks = find("two_clock_reads");
      if (timed == results.end() || clocks == results.end()) continue;
      Result difference{.name = fmt::format("{}_minus_two_clock_reads", name), .threads = threads, .baseline = 'A'};
      for (std::size_t i = 0; i < std::min(timed->ns.size(), clocks->ns.size()); ++i) {
        difference.ns.push_back(timed->ns[i] - clocks->ns[i]);
        difference.ratios.push_back(timed->ratios[i] - clocks->ratios[i]);
      }
      results.insert(clocks + 1, std::move(difference));
    }
  }
}

/// Two digits after the point where they say something.
std::string figure(double ns) { return fmt::format("{:.{}f}", ns, ns < 10'000 ? 2 : 0); }

void print_table(const std::vector<Result>& results, const std::vector<Result>& of_baselines) {
  for (const Baseline& baseline : all_baselines()) {
    const auto same = [&](const Result& result) { return result.name[0] == baseline.letter; };
    const auto found = std::ranges::find_if(of_baselines, same);
    if (found == of_baselines.end() || found->ns.empty()) continue;
    const auto [min, max] = std::ranges::minmax(found->ns);
    fmt::print("{} = {}: {} ns ({} to {})\n", baseline.letter, baseline.what, figure(median(found->ns)), figure(min),
               figure(max));
  }
  fmt::print("\n{:<38}{:>8}{:>10}{:>10}{:>10}{:>10}{:>9}\n", "name", "threads", "ns", "min", "max", "ratio", "rounds");
  std::size_t rounds = 0;
  std::size_t left_out = 0;
  for (const Result& result : results) {
    rounds += result.ns.size() + result.left_out;
    left_out += result.left_out;
    fmt::print("{:<38}{:>8}", result.name, result.threads);
    if (result.baseline == 0) {
      fmt::print("{:>10.1f} bytes per series\n", result.bytes);
    } else if (result.ns.empty()) {
      fmt::print("{:>10}{:>10}{:>10}{:>10}{:>9}\n", "-", "-", "-", "-", 0);
    } else {
      const auto [min, max] = std::ranges::minmax(result.ns);
      fmt::print("{:>10}{:>10}{:>10}{:>8.2f} {}{:>9}\n", figure(median(result.ns)), figure(min), figure(max),
                 median(result.ratios), result.baseline, result.ns.size());
    }
  }
  if (std::ranges::any_of(results, [](const Result& result) { return result.per > 1; })) {
    fmt::print("\nWhole pages (text_, render_) are told per series, all else per operation.\n");
  }
  if (left_out > 0) {
    fmt::print("\nLeft out {} of {} rounds: the processors were busy, or in each other's way.\n", left_out, rounds);
  }
}

void print_stalls(const std::vector<Stalls>& stalls) {
  if (stalls.empty()) return;
  fmt::print("\n{:<38}{:>10}{:>10}{:>10}{:>10}{:>14}\n", "batches of 64, in microseconds", "batches", "median",
             "99.9 %", "worst", "undisturbed");
  for (const Stalls& one : stalls) {
    fmt::print("{:<38}{:>10}{:>10.1f}{:>10.1f}{:>10.1f}{:>14.1f}\n", one.name, one.batches, one.median / 1000,
               one.p999 / 1000, one.worst / 1000, one.worst_undisturbed / 1000);
  }
  fmt::print("\nUndisturbed: the worst of those during which the system left both threads their processors.\n");
}

void write_json(std::FILE* file, const std::vector<Result>& results, const std::vector<Stalls>& stalls) {
  const auto number = [](double value, int digits) {
    return std::isnan(value) ? std::string("null") : fmt::format("{:.{}f}", value, digits);
  };
  std::string_view separator = "[\n";
  for (const Result& result : results) {
    fmt::print(file, "{}  {{\"name\": \"{}\", \"threads\": {}, ", separator, result.name, result.threads);
    if (result.baseline == 0) {
      fmt::print(file, R"("ns": null, "baseline": null, "ratio": null, "bytes": {:.0f}}})", result.bytes);
    } else {
      fmt::print(file, R"("ns": {}, "baseline": "{}", "ratio": {}}})", number(median(result.ns), 3), result.baseline,
                 number(median(result.ratios), 4));
    }
    separator = ",\n";
  }
  for (const Stalls& one : stalls) {
    fmt::print(file, R"({}  {{"name": "{}", "threads": 1, "ns": {:.0f}, "baseline": null, "ratio": null, )", separator,
               one.name, one.median);
    fmt::print(file, R"("p999": {:.0f}, "worst": {:.0f}, "worst_undisturbed": {:.0f}}})", one.p999, one.worst,
               one.worst_undisturbed);
    separator = ",\n";
  }
  fmt::print(file, "\n]\n");
}

int run(const Options& options) {
  std::vector<std::string_view> names = options.names;
  if (std::ranges::find_first_of(names, timed_rows) != names.end()) names.push_back("two_clock_reads");
  for (const std::string_view name : names) {
    if (chosen(all_rows(), {name}).empty() && chosen(all_memory_rows(), {name}).empty() &&
        chosen(stall_rows(), {name}).empty()) {
      return wrong(fmt::format("there is no row '{}'", name));
    }
  }
  std::FILE* json = nullptr;
  if (!options.json.empty()) {
    json = std::fopen(options.json.c_str(), "w");
    if (json == nullptr) return wrong(fmt::format("cannot write '{}'", options.json));
  }

  print_machine();
  std::fflush(stdout);
  // Memory first: a process that is small is quickly forked.
  std::vector<Result> of_memory;
  for (const MemoryRow& row : chosen(all_memory_rows(), names)) of_memory.push_back(measure_bytes(row));
  std::vector<Result> results;
  std::vector<Result> of_baselines;
  const Plan& plan = options.is_quick ? quick_plan : full_plan;
  auto rows = chosen(all_rows(), names);
  const auto is_left_out = [&](const Row& row) {
    return row.is_long && std::ranges::find(names, row.name) == names.end();
  };
  if (options.is_quick) std::erase_if(rows, is_left_out);
  if (!rows.empty()) results = measure(rows, all_baselines(), plan, of_baselines);
  add_timed_differences(results);
  results.insert(results.end(), of_memory.begin(), of_memory.end());

  std::vector<Stalls> stalls;
  for (const StallRow& row : chosen(stall_rows(), names)) append(stalls, measure_stalls(row, plan));

  if (!results.empty()) print_table(results, of_baselines);
  print_stalls(stalls);
  if (json != nullptr) {
    write_json(json, results, stalls);
    std::fclose(json);
  }
  return 0;
}

int print_bytes(std::string_view name) {
  const auto rows = all_memory_rows();
  const auto row = std::ranges::find(rows, name, &MemoryRow::name);
  if (row == rows.end()) return 2;
  fmt::print("{}\n", row->bytes());
  return 0;
}

int main(const std::vector<std::string_view>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const bool has_next = i + 1 < arguments.size();
    if (argument == "--bytes" && has_next) return print_bytes(arguments[i + 1]);
    if (argument == "--quick") {
      options.is_quick = true;
    } else if (argument == "--json" && has_next) {
      options.json = arguments[++i];
    } else if (argument.starts_with('-')) {
      return wrong(fmt::format("unknown argument, or one without its value: {}", argument));
    } else {
      options.names.push_back(argument);
    }
  }
  return run(options);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    return bench::main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench: {}\n", error.what());
    return 1;
  }
}

#include "harness.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t max_threads = 2;
constexpr double row_ns = 3e6;       // how long one measurement takes
constexpr double baseline_ns = 1e6;  // the same of a baseline
constexpr std::size_t warm_up = 16;  // one part in so many is done beforehand, unmeasured
constexpr std::size_t line_bytes = 128;

/// A on two threads should take as long as A on one. Where it does not, the two processors are halves of one, or busy
/// with something else, and two-thread figures mean nothing. This is how far the two may be apart.
constexpr double fair = 1.3;

/// Two processors that this thread may use, of different cores if there are such.
std::array<int, max_threads> choose_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::array<int, max_threads> chosen = {-1, -1};
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return chosen;
  const auto core = [](int cpu) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    int package = 0;
    int id = cpu;
    std::ifstream(folder + "physical_package_id") >> package;
    std::ifstream(folder + "core_id") >> id;
    return std::pair(package, id);
  };
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (chosen[0] < 0) {
      chosen[0] = cpu;
    } else if (chosen[1] < 0) {
      chosen[1] = cpu;
    } else if (core(chosen[1]) == core(chosen[0]) && core(cpu) != core(chosen[0])) {
      chosen[1] = cpu;
    }
  }
  return chosen;
}

/// Where it does not work, the system chooses.
void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(cpu), &only);
  sched_setaffinity(0, sizeof only, &only);
}

/// How often the system took the processor away from this thread, which wanted to go on.
long preemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

/// This thread and another one, which sleeps while it has nothing to do.
class Crew {
 public:
  Crew() : cpus_(choose_cpus()), second_([this] { work(); }) { pin(cpus_[0]); }
  ~Crew() {
    body_ = nullptr;
    call_second();
    second_.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Nanoseconds from the release of the threads until the last has done its `operations`. Each goes on in the numbers
  /// from where it stopped the last time. Afterwards `is_disturbed()` says whether one was late or had to stop in
  /// between.
  double run(const Body& body, std::size_t threads, std::array<std::size_t, max_threads>& next,
             std::size_t operations) {
    preempted_ = {};
    body_ = &body;
    next_ = &next;
    operations_ = operations;
    threads_ = threads;
    if (threads > 1) call_second();
    take_part(0);
    if (threads > 1) wait_until([this] { return finished_.load(std::memory_order_acquire) == calls_; });
    const auto [released, last_begin] = std::ranges::minmax(std::span(begin_).first(threads));
    const auto time = std::ranges::max(std::span(end_).first(threads)) - released;
    is_disturbed_ = (last_begin - released) * 20 > time || std::ranges::find(preempted_, true) != preempted_.end();
    return std::chrono::duration<double, std::nano>(time).count();
  }

  [[nodiscard]] bool is_disturbed() const { return is_disturbed_; }

 private:
  void call_second() {
    arrived_.store(0, std::memory_order_relaxed);
    ++calls_;
    called_.store(calls_, std::memory_order_release);
    called_.notify_one();
  }

  void work() {
    pin(cpus_[1]);
    for (std::uint32_t call = 1;; ++call) {
      called_.wait(call - 1, std::memory_order_acquire);
      if (body_ == nullptr) return;
      take_part(1);
      finished_.store(call, std::memory_order_release);
    }
  }

  void take_part(std::size_t thread) {
    std::size_t& next = (*next_)[thread];
    const std::size_t from = std::exchange(next, next + operations_);
    if (threads_ > 1) {
      arrived_.fetch_add(1, std::memory_order_acq_rel);
      wait_until([this] { return arrived_.load(std::memory_order_acquire) == threads_; });
    }
    const long before = preemptions();
    begin_[thread] = Clock::now();
    (*body_)(from, from + operations_);
    end_[thread] = Clock::now();
    preempted_[thread] = preemptions() != before;
  }

  /// Spins, but not for long: the other thread may need this processor.
  template <class Condition>
  static void wait_until(Condition condition) {
    for (int i = 0; !condition(); ++i) {
      if (i > 10'000) std::this_thread::yield();
    }
  }

  const std::array<int, max_threads> cpus_;
  const Body* body_ = nullptr;
  std::array<std::size_t, max_threads>* next_ = nullptr;
  std::size_t operations_ = 0;
  std::size_t threads_ = 0;
  std::uint32_t calls_ = 0;
  std::array<Clock::time_point, max_threads> begin_;
  std::array<Clock::time_point, max_threads> end_;
  std::array<bool, max_threads> preempted_ = {};
  bool is_disturbed_ = false;

  alignas(line_bytes) std::atomic<std::uint32_t> called_{0};
  alignas(line_bytes) std::atomic<std::size_t> arrived_{0};
  alignas(line_bytes) std::atomic<std::uint32_t> finished_{0};
  std::thread second_;
};

/// Something whose operations take so many nanoseconds.
class Timed {
 public:
  Timed(Crew& crew, const Body& body, std::size_t threads, double target_ns, std::size_t working_set = 0)
      : crew_(crew), body_(body), threads_(threads), target_ns_(target_ns), working_set_(working_set) {
    while (run() < target_ns_ / 2) {
    }
  }

  /// Nanoseconds per operation, of each thread; nothing if the system interrupted a thread.
  std::optional<double> measure() {
    crew_.run(body_, threads_, next_, std::max(operations_ / warm_up, working_set_));
    const auto operations = static_cast<double>(operations_);
    const double ns = run();
    if (crew_.is_disturbed()) return {};
    return ns / operations;
  }

 private:
  /// Does more or fewer of them the next time, so that they take as long as they should.
  double run() {
    const double ns = crew_.run(body_, threads_, next_, operations_);
    const double factor = std::clamp(target_ns_ / std::max(ns, 1.0), 0.5, 10.0);
    operations_ = std::max<std::size_t>(std::max<std::size_t>(1, working_set_),
                                        static_cast<std::size_t>(static_cast<double>(operations_) * factor));
    return ns;
  }

  Crew& crew_;
  const Body& body_;
  const std::size_t threads_;
  const double target_ns_;
  const std::size_t working_set_;
  std::size_t operations_ = 16;
  std::array<std::size_t, max_threads> next_ = {0, 54'321};  // not side by side through what they go through
};

void measure_memory_in_child(const MemoryRow& row, int to) {
  dup2(to, STDOUT_FILENO);
  execl("/proc/self/exe", "bench", "--bytes", std::string(row.name).c_str(), nullptr);
  _exit(127);
}

double resident_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    double kib = 0;
    if (word == "Rss:" && rollup >> kib) return kib * 1024;
  }
  double pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::vector<Baseline> baselines() {
  const auto on_private_line = [](std::size_t from, std::size_t to) {
    alignas(line_bytes) std::atomic<std::uint64_t> line{0};
    for (; from != to; ++from) {
      line.fetch_add(1, std::memory_order_relaxed);
      asm volatile("" ::"r"(&line) : "memory");
    }
  };
  const auto on_shared_line = [](std::size_t) {
    alignas(line_bytes) static std::atomic<std::uint64_t> line{0};
    line.fetch_add(1, std::memory_order_relaxed);
  };
  return {
      {'A', 1, "a relaxed fetch_add on a cache line of the thread's own", on_private_line},
      {'S', 2, "the same on a line that two threads share", each(on_shared_line)},
  };
}

std::vector<Result> measure(std::span<const Row> rows, const Plan& plan, std::vector<Result>& of_baselines) {
  Crew crew;
  const std::vector<Baseline> known = baselines();
  std::map<char, Timed> baseline;
  for (const Baseline& one : known) {
    baseline.try_emplace(one.letter, crew, one.body, one.threads, baseline_ns);
    of_baselines.push_back({.name = std::string(1, one.letter), .threads = one.threads});
  }
  Timed private_lines(crew, known[0].body, max_threads, baseline_ns);

  struct Case {
    Result result;
    Timed row;
  };
  std::vector<std::unique_ptr<Body>> bodies;
  std::vector<Case> cases;
  for (const Row& row : rows) {
    const Body& body = *bodies.emplace_back(std::make_unique<Body>(row.make()));
    for (std::size_t threads = 1; threads <= row.baselines.size(); ++threads) {
      Result result{.name = std::string(row.name), .threads = threads, .baseline = row.baselines[threads - 1]};
      cases.push_back({std::move(result), Timed(crew, body, threads, row_ns, row.working_set)});
    }
  }

  // One round of one row: whether it counts.
  const auto measure_one = [&](Case& one) {
    const auto a = baseline.at('A').measure();
    if (!a) return false;
    if (one.result.threads > 1) {
      const auto a_twice = private_lines.measure();
      if (!a_twice || *a_twice > fair * *a || *a > fair * *a_twice) return false;
    }
    const auto compared = one.result.baseline == 'A' ? a : baseline.at(one.result.baseline).measure();
    if (!compared) return false;
    const auto ns = one.row.measure();
    if (!ns) return false;
    one.result.ns.push_back(*ns);
    one.result.ratios.push_back(*ns / *compared);
    const auto is_it = [&](const Result& result) { return result.name[0] == one.result.baseline; };
    std::ranges::find_if(of_baselines, is_it)->ns.push_back(*compared);
    return true;
  };
  const auto lacks_rounds = [&](const Case& one) { return one.result.ns.size() < plan.rounds; };
  const auto deadline = Clock::now() + std::chrono::duration<double>(plan.seconds);
  while (std::ranges::any_of(cases, lacks_rounds) && Clock::now() < deadline) {
    for (Case& one : cases) {
      if (lacks_rounds(one) && !measure_one(one)) ++one.result.left_out;
    }
  }

  std::vector<Result> results;
  for (Case& one : cases) results.push_back(std::move(one.result));
  return results;
}

Result measure_bytes(const MemoryRow& row) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot start a process");
  if (child == 0) measure_memory_in_child(row, ends[1]);
  close(ends[1]);
  std::FILE* from = fdopen(ends[0], "r");
  Result result{.name = std::string(row.name)};
  const bool is_read = std::fscanf(from, "%lf", &result.bytes) == 1;
  std::fclose(from);
  waitpid(child, nullptr, 0);
  if (!is_read) throw std::runtime_error("the process that measures " + result.name + " has failed");
  return result;
}

double resident_growth(const std::function<void()>& fill) {
  const double before = resident_bytes();
  fill();
  return resident_bytes() - before;
}

double median(std::vector<double> numbers) {
  if (numbers.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::ranges::sort(numbers);
  return (numbers[(numbers.size() - 1) / 2] + numbers[numbers.size() / 2]) / 2;
}

}  // namespace bench

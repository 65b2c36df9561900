#include "harness.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
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

/// A long measurement is hardly ever left alone. It still counts if the system took no more than this part of it.
constexpr double bearable = 0.01;

/// The same of a batch whose worst time is looked for.
constexpr double noticeable_ns = 20e3;

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

/// How long a thread of this process could have gone on, but had no processor. Coming back from a wait counts too.
double ns_without_processor(pid_t thread) {
  double used = 0;
  double lacked = 0;
  std::ifstream("/proc/self/task/" + std::to_string(thread) + "/schedstat") >> used >> lacked;
  return lacked;
}

/// Watches what this thread has of its time, from its making until stop().
class Watch {
 public:
  void stop() {
    end = Clock::now();
    const auto time = end - begin;
    const auto lost = time - (used_time() - used_);
    is_disturbed = preemptions() != preemptions_ &&
                   static_cast<double>(lost.count()) > bearable * static_cast<double>(time.count());
  }

 private:
  static Clock::duration used_time() {
    timespec used{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  }

  long preemptions_ = preemptions();
  Clock::duration used_ = used_time();

 public:  // made last, so that the time begins with what is measured
  Clock::time_point begin = Clock::now();
  Clock::time_point end = begin;
  bool is_disturbed = false;
};

/// What is measured, of a row or a baseline.
struct Job {
  const Body* body = nullptr;
  const Body* companion = nullptr;
  std::size_t threads = 1;
  std::size_t working_set = 0;
  std::size_t per = 1;
  bool waits = false;
};

/// This thread and a second one. The second thread sleeps while it has nothing to do.
class ThreadPair {
 public:
  ThreadPair() : cpus_(choose_cpus()), second_([this] { work(); }) {
    sched_getaffinity(0, sizeof before_, &before_);
    pin(cpus_[0]);
  }
  ~ThreadPair() {
    call_second(Task::end);
    second_.join();
    sched_setaffinity(0, sizeof before_, &before_);
  }
  ThreadPair(const ThreadPair&) = delete;
  ThreadPair& operator=(const ThreadPair&) = delete;

  /// Nanoseconds from the release of the threads until the last has done its `operations`. Each goes on in the numbers
  /// from where it stopped the last time. Afterwards `is_disturbed()` says whether one was late or had to stop in
  /// between.
  double run(const Job& job, std::array<std::size_t, max_threads>& next, std::size_t operations) {
    job_ = &job;
    next_ = &next;
    operations_ = operations;
    if (job.threads > 1) call_second(Task::take_part);
    take_part(0);
    if (job.threads > 1) wait_for_second();
    const auto taken_part = std::span(watches_).first(job.threads);
    const auto [first, last] = std::ranges::minmax(taken_part, {}, &Watch::begin);
    const auto time = std::ranges::max(taken_part, {}, &Watch::end).end - first.begin;
    is_disturbed_ = (last.begin - first.begin) * 20 > time ||
                    (!job.waits && std::ranges::find(taken_part, true, &Watch::is_disturbed) != taken_part.end());
    return std::chrono::duration<double, std::nano>(time).count();
  }
  [[nodiscard]] bool is_disturbed() const { return is_disturbed_; }

  /// Makes the other thread run `companion` again and again, from now until leave(). Only jobs of one thread may run
  /// meanwhile.
  void accompany(const Body& companion) {
    companion_ = &companion;
    is_left_.store(false, std::memory_order_relaxed);
    call_second(Task::accompany);
    wait_until([this] { return arrived_.load(std::memory_order_acquire) == 1; });
  }
  /// Of both threads.
  [[nodiscard]] double ns_without_processor() const {
    return bench::ns_without_processor(gettid()) + bench::ns_without_processor(second_id_);
  }
  /// Whether the other thread could go on all the time.
  bool leave() {
    is_left_.store(true, std::memory_order_relaxed);
    wait_for_second();
    return !companions_watch_.is_disturbed;
  }

 private:
  enum class Task { take_part, accompany, end };

  void call_second(Task task) {
    task_ = task;
    arrived_.store(0, std::memory_order_relaxed);
    ++calls_;
    called_.store(calls_, std::memory_order_release);
    called_.notify_one();
  }

  void work() {
    pin(cpus_[1]);
    second_id_ = gettid();
    for (std::uint32_t call = 1;; ++call) {
      called_.wait(call - 1, std::memory_order_acquire);
      if (task_ == Task::end) return;
      if (task_ == Task::accompany) {
        keep_company();
      } else {
        take_part(1);
      }
      finished_.store(call, std::memory_order_release);
    }
  }

  void wait_for_second() {
    wait_until([this] { return finished_.load(std::memory_order_acquire) == calls_; });
  }

  void keep_company() {
    arrived_.store(1, std::memory_order_release);
    companions_watch_ = Watch();
    for (std::size_t i = 0; !is_left_.load(std::memory_order_relaxed); ++i) (*companion_)(i, i + 1);
    companions_watch_.stop();
  }

  void take_part(std::size_t thread) {
    std::size_t& next = (*next_)[thread];
    const std::size_t from = std::exchange(next, next + operations_);
    if (job_->threads > 1) {
      arrived_.fetch_add(1, std::memory_order_acq_rel);
      wait_until([this] { return arrived_.load(std::memory_order_acquire) == job_->threads; });
    }
    watches_[thread] = Watch();
    (*job_->body)(from, from + operations_);
    watches_[thread].stop();
  }

  /// Spins, but not for long: the other thread may need this processor.
  template <class Condition>
  static void wait_until(Condition condition) {
    for (int i = 0; !condition(); ++i) {
      if (i > 10'000) std::this_thread::yield();
    }
  }

  const std::array<int, max_threads> cpus_;
  cpu_set_t before_{};
  pid_t second_id_ = 0;
  Task task_ = Task::take_part;
  const Job* job_ = nullptr;
  const Body* companion_ = nullptr;
  std::array<std::size_t, max_threads>* next_ = nullptr;
  std::size_t operations_ = 0;
  std::uint32_t calls_ = 0;
  std::array<Watch, max_threads> watches_;
  Watch companions_watch_;
  bool is_disturbed_ = false;

  alignas(line_bytes) std::atomic<std::uint32_t> called_{0};
  alignas(line_bytes) std::atomic<std::size_t> arrived_{0};
  alignas(line_bytes) std::atomic<std::uint32_t> finished_{0};
  alignas(line_bytes) std::atomic<bool> is_left_{false};
  std::thread second_;
};

/// Runs a job's companion on the second thread, from construction until the end of the scope or leave().
class BackgroundLoad {
 public:
  BackgroundLoad(ThreadPair& thread_pair, const Body* companion)
      : thread_pair_(thread_pair), is_there_(companion != nullptr) {
    if (is_there_) thread_pair_.accompany(*companion);
  }
  BackgroundLoad(const BackgroundLoad&) = delete;
  BackgroundLoad& operator=(const BackgroundLoad&) = delete;
  ~BackgroundLoad() { leave(); }

  /// Whether the companion could run all the time.
  bool leave() { return !std::exchange(is_there_, false) || thread_pair_.leave(); }

 private:
  ThreadPair& thread_pair_;
  bool is_there_;
};

/// A job whose operations take so many nanoseconds.
class Timed {
 public:
  Timed(ThreadPair& thread_pair, const Job& job, double target_ns)
      : thread_pair_(thread_pair), job_(job), target_ns_(target_ns) {
    const BackgroundLoad background(thread_pair_, job_.companion);
    while (run() < target_ns_ / 2) {
    }
  }

  /// Nanoseconds per operation, of each thread, or of what they are told per; nothing if the system interrupted a
  /// thread.
  std::optional<double> measure() {
    BackgroundLoad background(thread_pair_, job_.companion);
    thread_pair_.run(job_, next_, std::max(operations_ / warm_up, job_.working_set));
    const auto operations = static_cast<double>(operations_ * job_.per);
    const double ns = run();
    if (!background.leave() || thread_pair_.is_disturbed()) return {};
    return ns / operations;
  }

 private:
  /// Does more or fewer of them the next time, so that they take as long as they should.
  double run() {
    const double ns = thread_pair_.run(job_, next_, operations_);
    const double factor = std::clamp(target_ns_ / std::max(ns, 1.0), 0.5, 10.0);
    operations_ = std::max<std::size_t>(std::max<std::size_t>(1, job_.working_set),
                                        static_cast<std::size_t>(static_cast<double>(operations_) * factor));
    return ns;
  }

  ThreadPair& thread_pair_;
  const Job job_;
  const double target_ns_;
  std::size_t operations_ = 1;
  std::array<std::size_t, max_threads> next_ = {0, 54'321};  // not side by side through what they go through
};

/// The bodies of rows and baselines, each made once.
class Bodies {
 public:
  /// That of a row or a baseline.
  [[nodiscard]] Job job(const auto& of, std::size_t threads) {
    return {.body = &made(of.make),
            .companion = of.companion == nullptr ? nullptr : &made(of.companion),
            .threads = threads,
            .working_set = of.working_set,
            .per = of.per,
            .waits = of.waits};
  }
  [[nodiscard]] const Body& made(Body (*make)()) {
    const auto [place, is_new] = bodies_.try_emplace(make);
    if (is_new) place->second = make();
    return place->second;
  }

 private:
  std::map<Body (*)(), Body> bodies_;
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

std::vector<Baseline> recording_baselines() {
  const auto on_private_line = []() -> Body {
    return [](std::size_t from, std::size_t to) {
      alignas(line_bytes) std::atomic<std::uint64_t> line{0};
      for (; from != to; ++from) {
        line.fetch_add(1, std::memory_order_relaxed);
        asm volatile("" ::"r"(&line) : "memory");
      }
    };
  };
  const auto on_shared_line = [] {
    return each([](std::size_t) {
      alignas(line_bytes) static std::atomic<std::uint64_t> line{0};
      line.fetch_add(1, std::memory_order_relaxed);
    });
  };
  return {
      {'A', 1, "a relaxed fetch_add on a cache line of the thread's own", on_private_line},
      {'S', 2, "the same on a line that two threads share", on_shared_line},
  };
}

std::vector<Result> measure(std::span<const Row> rows, std::span<const Baseline> baselines, const Plan& plan,
                            std::vector<Result>& of_baselines) {
  std::string letters;
  for (const Row& row : rows) letters += row.baselines;
  const bool has_pairs = std::ranges::any_of(rows, [](const Row& row) { return row.baselines.size() > 1; });
  if (has_pairs) letters += 'A';  // see `fair`
  std::vector<Baseline> used;
  std::ranges::copy_if(baselines, std::back_inserter(used),
                       [&](const Baseline& one) { return letters.find(one.letter) != letters.npos; });

  ThreadPair thread_pair;
  // Threads that the bodies start share this thread's processor: how long it takes to wake another one is the system's
  // doing, and several times what is to be measured.
  Bodies bodies;
  for (const Baseline& one : used) static_cast<void>(bodies.job(one, one.threads));
  for (const Row& row : rows) static_cast<void>(bodies.job(row, 1));

  std::map<char, Timed> baseline;
  std::optional<Timed> private_lines;
  for (const Baseline& one : used) {
    // What waits for other threads takes longer to settle.
    const double target_ns = one.waits ? row_ns : baseline_ns;
    baseline.try_emplace(one.letter, thread_pair, bodies.job(one, one.threads), target_ns);
    of_baselines.push_back({.name = std::string(1, one.letter), .threads = one.threads});
    if (has_pairs && one.letter == 'A') private_lines.emplace(thread_pair, bodies.job(one, max_threads), baseline_ns);
  }

  struct Case {
    Result result;
    Timed row;
  };
  std::vector<Case> cases;
  for (const Row& row : rows) {
    for (std::size_t threads = 1; threads <= row.baselines.size(); ++threads) {
      Result result{
          .name = std::string(row.name), .threads = threads, .baseline = row.baselines[threads - 1], .per = row.per};
      cases.push_back({std::move(result), Timed(thread_pair, bodies.job(row, threads), row_ns)});
    }
  }

  // One round of one row: whether it counts.
  const auto measure_one = [&](Case& one) {
    std::optional<double> a;
    if (one.result.threads > 1) {
      a = baseline.at('A').measure();
      if (!a) return false;
      const auto a_twice = private_lines->measure();
      if (!a_twice || *a_twice > fair * *a || *a > fair * *a_twice) return false;
    }
    const auto compared = a && one.result.baseline == 'A' ? a : baseline.at(one.result.baseline).measure();
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

std::vector<Stalls> measure_stalls(const StallRow& row, const Plan& plan) {
  const Body companion = row.companion();
  const std::vector<StallRow::Batch> batches = row.make();
  struct Times {
    std::vector<double> all = {};
    std::vector<double> undisturbed = {};
  };
  std::vector<Times> times(batches.size());

  ThreadPair thread_pair;
  BackgroundLoad background(thread_pair, &companion);
  const auto deadline = Clock::now() + std::chrono::duration<double>(plan.stall_seconds);
  for (std::size_t from = 0; Clock::now() < deadline; from += row.operations) {
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const double before = thread_pair.ns_without_processor();
      const auto begin = Clock::now();
      batches[i].body(from, from + row.operations);
      const double ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
      times[i].all.push_back(ns);
      if (thread_pair.ns_without_processor() - before < noticeable_ns) times[i].undisturbed.push_back(ns);
      if (batches[i].afterwards) batches[i].afterwards(from, from + row.operations);
    }
  }
  background.leave();

  std::vector<Stalls> stalls;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    auto& [all, undisturbed] = times[i];
    std::ranges::sort(all);
    stalls.push_back({.name = std::string(row.name) + "_" + std::string(batches[i].what),
                      .batches = all.size(),
                      .median = median(all),
                      .p999 = all[(all.size() - 1) * 999 / 1000],
                      .worst = all.back(),
                      .worst_undisturbed = undisturbed.empty() ? all.back() : std::ranges::max(undisturbed)});
  }
  return stalls;
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

#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// What each measuring thread runs: the operations number `from` … `to` - 1.
using Body = std::function<void(std::size_t from, std::size_t to)>;

/// Calls operation(i) for each number. The operation, with the handles that it captured by value, is a local of the
/// loop, as in a program that keeps its instruments; memory is what the compiler must assume to change from one to the
/// next.
template <class Operation>
[[nodiscard]] Body each(Operation operation) {
  return [operation](std::size_t from, std::size_t to) {
    Operation local = operation;
    for (std::size_t i = from; i != to; ++i) {
      local(i);
      asm volatile("" ::: "memory");
    }
  };
}

/// One line of the table for each number of threads.
struct Row {
  std::string_view name;
  /// A letter for each number of threads, 1 and 2: "AS" is compared with A on one thread and with S on two; "A" is
  /// measured on one thread only. The letters are those of the baselines that measure() is given.
  std::string_view baselines;
  /// Sets up what is measured, once. It stays until the process ends.
  Body (*make)();
  /// How many operations it takes to touch all that they use. Each measurement does as many beforehand, so that the
  /// caches are as they are when nothing else runs, and takes at least as many.
  std::size_t working_set = 0;
  /// What figures are told per, when an operation is many of it: 1,000 for a scrape of 1,000 series, told per series.
  std::size_t per = 1;
  /// What another thread does again and again, on the other processor, as long as this one is measured; for rows of one
  /// thread.
  Body (*companion)() = nullptr;
  /// Whether it waits for threads that make() started. They take its processor meanwhile, so that is no disturbance.
  bool waits = false;
  /// Whether --quick does without it.
  bool is_long = false;
};

/// What rows are compared with. Set up only if a row needs it; the members are as those of a row.
struct Baseline {
  char letter;
  std::size_t threads;
  std::string_view what;
  Body (*make)();
  std::size_t working_set = 0;
  std::size_t per = 1;
  Body (*companion)() = nullptr;
  bool waits = false;
};
/// A and S, for recording.
[[nodiscard]] std::vector<Baseline> recording_baselines();

/// One line of the table, of bytes per series. Called in a process of its own.
struct MemoryRow {
  std::string_view name;
  double (*bytes)();
};

/// Some lines of the second table: the longest that something takes while another thread is busy.
struct StallRow {
  struct Batch {
    std::string_view what;
    Body body;
    Body afterwards = {};  // puts right again, unmeasured, what the body did
  };
  std::string_view name;
  /// What is done in turns. The last touches nothing of the library: how long it takes at worst is the system's doing.
  std::vector<Batch> (*make)();
  Body (*companion)();
  std::size_t operations;  // of one batch
};

struct Result {
  std::string name;
  std::size_t threads = 1;
  char baseline = 0;                // 0 for bytes
  std::size_t per = 1;              // as in Row
  std::vector<double> ns = {};      // of each round, per thread and operation, or as `per` says
  std::vector<double> ratios = {};  // ns to those of the baseline in the same round
  std::size_t left_out = 0;         // rounds that were not counted, see measure()
  double bytes = 0;
};

/// Nanoseconds, of batches.
struct Stalls {
  std::string name;
  std::size_t batches = 0;
  double median = 0;
  double p999 = 0;  // 99.9 of 100 take no longer
  double worst = 0;
  double worst_undisturbed = 0;  // of those during which the system left both threads their processors
};

struct Plan {
  std::size_t rounds;
  double seconds;        // after which no round begins, even if rounds were left out
  double stall_seconds;  // for each stall row
};

/// Measures the rows, interleaved: each round measures each row, right after its baseline. A round is left out for a
/// row if the system took a processor away meanwhile or, on two threads, if these are in each other's way even when
/// they share nothing: see `fair` in the source. `of_baselines` gets the results of the baselines themselves.
[[nodiscard]] std::vector<Result> measure(std::span<const Row> rows, std::span<const Baseline> baselines,
                                          const Plan& plan, std::vector<Result>& of_baselines);

/// Measures how long batches take at worst; one result for each kind of batch.
[[nodiscard]] std::vector<Stalls> measure_stalls(const StallRow& row, const Plan& plan);

/// Measures memory, each row in a new process that is this program with `--bytes NAME`.
[[nodiscard]] Result measure_bytes(const MemoryRow& row);

/// What `fill` adds to the resident memory of this process, in bytes.
[[nodiscard]] double resident_growth(const std::function<void()>& fill);

/// The middle one; NaN if there is none.
[[nodiscard]] double median(std::vector<double> numbers);

}  // namespace bench

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
  /// measured on one thread only. The letters are explained by `baselines()`.
  std::string_view baselines;
  /// Sets up what is measured, once. It stays until the process ends.
  Body (*make)();
  /// How many operations it takes to touch all that they use. Each measurement does as many beforehand, so that the
  /// caches are as they are when nothing else runs, and takes at least as many.
  std::size_t working_set = 0;
};

/// What other rows are compared with.
struct Baseline {
  char letter;
  std::size_t threads;
  std::string_view what;
  Body body;
};
[[nodiscard]] std::vector<Baseline> baselines();

/// One line of the table, of bytes per series. Called in a process of its own.
struct MemoryRow {
  std::string_view name;
  double (*bytes)();
};

struct Result {
  std::string name;
  std::size_t threads = 1;
  char baseline = 0;                // 0 for bytes
  std::vector<double> ns = {};      // of each round, per operation and thread
  std::vector<double> ratios = {};  // ns to those of the baseline in the same round
  std::size_t left_out = 0;         // rounds that were not counted, see measure()
  double bytes = 0;
};

struct Plan {
  std::size_t rounds;
  double seconds;  // after which no round begins, even if rounds were left out
};

/// Measures the rows, interleaved: each round measures each row, right after its baseline. A round is left out for a
/// row if the system took a processor away meanwhile or, on two threads, if these are in each other's way even when
/// they share nothing: see `fair` in the source. `of_baselines` gets the results of the baselines themselves.
[[nodiscard]] std::vector<Result> measure(std::span<const Row> rows, const Plan& plan,
                                          std::vector<Result>& of_baselines);

/// Measures memory, each row in a new process that is this program with `--bytes NAME`.
[[nodiscard]] Result measure_bytes(const MemoryRow& row);

/// What `fill` adds to the resident memory of this process, in bytes.
[[nodiscard]] double resident_growth(const std::function<void()>& fill);

/// The middle one; NaN if there is none.
[[nodiscard]] double median(std::vector<double> numbers);

}  // namespace bench

#include "cells/summary_window.hpp"

#include <chrono>
#include <cstdint>
#include <memory>

#include "catch.hpp"

namespace {

using namespace quipu::detail;
using namespace std::chrono_literals;
using TimePoint = SummaryWindow::TimePoint;

constexpr TimePoint start{1000h};

/// A summary in which `observed` values were observed, whose window is asked for at certain times.
struct Summary {
  explicit Summary(std::chrono::nanoseconds max_age, std::uint32_t age_buckets)
      : window(std::make_shared<SummarySpec>(SummarySpec{{}, max_age, age_buckets}), start) {}

  /// How many observations are in the window.
  std::uint64_t read(std::chrono::nanoseconds at) {
    return window.advance({.positive = {{1, observed}}, .counts = {observed}}, start + at).count();
  }

  SummaryWindow window;
  std::uint64_t observed = 0;
};

}  // namespace

TEST_CASE("a window is as long as max_age, but for one of its parts") {
  for (const std::uint32_t parts : {1u, 2u, 5u, 10u}) {
    Summary summary(10s, parts);
    const auto least = 10 - 10 / parts;
    for (std::uint64_t second = 1; second < 100; ++second) {
      ++summary.observed;
      const auto in_window = summary.read(std::chrono::seconds(second));
      INFO(parts << " parts, second " << second);
      if (second <= 10) {
        if (parts > 1) CHECK(in_window == (second < 10 ? second : in_window));
      } else {
        CHECK(in_window >= least);
      }
      CHECK(in_window <= 10);
    }
  }
}

TEST_CASE("a window that nobody reads for long begins at the reading before, and the next one is no shorter") {
  Summary summary(10s, 5);
  summary.observed = 1;
  CHECK(summary.read(1s) == 1);
  summary.observed = 100;
  CHECK(summary.read(60s) == 100);  // the reading at 1 s was too soon after the beginning to be kept
  summary.observed = 300;
  CHECK(summary.read(120s) == 200);
  CHECK(summary.read(121s) == 200);
  CHECK(summary.read(127s) == 200);
  CHECK(summary.read(128s) == 0);  // 8 s after a reading that was kept
  CHECK(summary.read(1h) == 0);
  CHECK(summary.read(2h) == 0);
}

TEST_CASE("who reads often takes nothing away from who reads rarely") {
  Summary summary(10s, 5);
  for (int i = 1; i <= 1000; ++i) {
    ++summary.observed;
    static_cast<void>(summary.read(i * 100ms));
  }
  CHECK(summary.read(100s) >= 80);
  CHECK(summary.read(100s) <= 100);
}

TEST_CASE("a reader that looked at the clock before another one reads what came after that one") {
  Summary summary(10s, 2);
  summary.observed = 5;
  CHECK(summary.read(20s) == 5);
  summary.observed = 7;
  CHECK(summary.read(19s) == 7);
  CHECK(summary.read(25s) == 2);
}

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdlib>

/// How long a stress test goes on that counts no rounds: QUIPU_STRESS_SECONDS, or `usual` if that is not given.
inline std::chrono::seconds stress_time(std::chrono::seconds usual) {
  const char* const given = std::getenv("QUIPU_STRESS_SECONDS");
  return given == nullptr ? usual : std::chrono::seconds(std::max(1, std::atoi(given)));
}

#pragma once

#include <functional>
#include <initializer_list>

/// What scenarios use of the explorer; see README.md.
namespace explorer {

struct Thread {
  std::function<void()> work;
  /// What the thread does before the work of any thread begins. It is not explored.
  std::function<void()> first = [] {};
};

/// Runs threads at once, in every way in which they can meet. Returns when all have ended. A scenario calls it once.
/// What comes before it and after it is not explored: it happens before, or after, all that the threads do.
void in_parallel(std::initializer_list<Thread> threads);

/// Destroys this thread's value of a key of pthread_key_create(), as the end of the thread does. Without it that is
/// left out.
void end_thread();

/// The scenario fails, and the explorer shows how, if this does not hold.
void require(bool holds, const char* text);

/// Registers a scenario. Its body runs again for each execution, from the same memory.
struct Scenario {
  Scenario(const char* name, void (*body)());
};

}  // namespace explorer

#define EXPLORER_SCENARIO(name, body)                  \
  static void body();                                  \
  static const explorer::Scenario body##_(name, body); \
  static void body()
#define EXPLORER_AT(name, line) EXPLORER_SCENARIO(name, scenario_##line)
#define EXPLORER_AT_LINE(name, line) EXPLORER_AT(name, line)
#define SCENARIO(name) EXPLORER_AT_LINE(name, __LINE__)

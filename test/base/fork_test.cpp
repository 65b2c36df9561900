#include "base/fork.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"

using quipu::detail::ProcessGeneration;

namespace {

/// Whether check() is true in a forked child.
template <class Check>
bool is_true_in_child(Check check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("a generation is current in its process, and not in forked children") {
  const ProcessGeneration own;
  CHECK(own.is_current());
  CHECK(is_true_in_child([&] { return !own.is_current(); }));
  CHECK(own.is_current());
}

TEST_CASE("a forked child has a generation of its own, which its children do not share") {
  const ProcessGeneration own;
  CHECK(is_true_in_child([&] {
    const ProcessGeneration of_child;
    if (!of_child.is_current() || own.is_current()) return false;
    const pid_t grandchild = ::fork();
    if (grandchild == 0) ::_exit(of_child.is_current() || own.is_current() ? 1 : 0);
    int status = -1;
    return ::waitpid(grandchild, &status, 0) == grandchild && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }));
}

#pragma once

// What the tests ask of their own process, and of a child of it.

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

/// What `body` returns in a forked child, which has a minute for it; -1 if the child was killed.
template <class Body>
int status_of_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Whether `body` returns true in a forked child.
template <class Body>
bool in_child(Body body) {
  return status_of_child([&] { return body() ? 0 : 1; }) == 0;
}

/// The memory of this process that is in RAM; 0 where that cannot be told.
inline std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

/// How many threads of this process have a name; -1 where that cannot be told.
inline int threads_named(std::string_view name) {
  int found = 0;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::string its_name;
    std::getline(std::ifstream(thread.path() / "comm"), its_name);
    if (its_name == name) ++found;
  }
  return error ? -1 : found;
}

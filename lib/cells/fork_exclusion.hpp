#pragma once

#include <cstdint>

namespace quipu::detail {

/// While a thread has one, no other thread forks: it waits until there is none, for a second or two at most. So the
/// child finds what is done under it neither half done nor locked. For readings that change what they read. A thread
/// may have several at once.
///
/// A thread that wants one waits for threads that want to fork, so that readings without a pause do not hold forks up.
/// Under a guard it must not: quiesce() may be called under an exclusion, and the fork waits for that one. So under a
/// guard there is `at_once`, which only waits for a fork that waits for no exclusion any more.
///
/// The functions for fork_handlers.cpp are called before it takes its locks, and after it has released them.
class ForkExclusion {
 public:
  enum class Begin : std::uint8_t { after_forks, at_once };

  explicit ForkExclusion(Begin begin) noexcept;
  ForkExclusion(const ForkExclusion&) = delete;
  ForkExclusion& operator=(const ForkExclusion&) = delete;
  ~ForkExclusion();

  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
};

}  // namespace quipu::detail

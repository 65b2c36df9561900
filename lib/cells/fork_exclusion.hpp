#pragma once

namespace quipu::detail {

/// While one exists, the process does not fork. A thread that wants to fork waits until there is none, for a second or
/// two at most, and meanwhile none begins. So the child finds what is done under it neither half done nor locked. For
/// readings that change what they read. A thread may have several at once. Held while other threads are waited for, so
/// none of those may fork.
///
/// The functions for fork_handlers.cpp are called before it takes its locks, and after it has released them.
class ForkExclusion {
 public:
  ForkExclusion() noexcept;
  ForkExclusion(const ForkExclusion&) = delete;
  ForkExclusion& operator=(const ForkExclusion&) = delete;
  ~ForkExclusion();

  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
};

}  // namespace quipu::detail

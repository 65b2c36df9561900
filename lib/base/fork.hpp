#pragma once

#include <cstdint>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// How many forks there were between the first process and this one. Thread-safe.
[[nodiscard]] std::uint32_t forks_before_this_process() noexcept;

/// Tells a process from the children that it forks, without a system call. The process counts its forks: a child begins
/// with one more than its parent, and a generation is that count.
class QUIPU_EXPORT ProcessGeneration {
 public:
  /// The generation of the calling process.
  ProcessGeneration() noexcept;

  /// False in a child that was forked after the construction, and in its children. Thread-safe.
  [[nodiscard]] bool is_current() const noexcept;

 private:
  std::uint32_t number_;
};

}  // namespace quipu::detail

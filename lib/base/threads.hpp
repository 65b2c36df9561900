#pragma once

#include <functional>
#include <thread>

#include "quipu/detail/base/export.hpp"

namespace quipu::detail {

/// Starts a thread of the library. The program's signals are blocked on it, but for those of the thread's own faults.
/// `name` is what the system shows of the thread: a string of static lifetime, of at most 15 characters. `run` must not
/// throw. Throws std::system_error if the system has no thread to give, and std::bad_alloc.
[[nodiscard]] QUIPU_EXPORT std::thread start_thread(const char* name, std::function<void()> run);

}  // namespace quipu::detail

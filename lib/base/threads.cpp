#include "base/threads.hpp"

#include <pthread.h>

#include <utility>

#include "base/signals_blocked.hpp"

namespace quipu::detail {

std::thread start_thread(const char* name, std::function<void()> run) {
  const SignalsBlocked blocked;
  return std::thread([name, run = std::move(run)]() noexcept {
#ifdef __linux__
    ::pthread_setname_np(::pthread_self(), name);
#else
    static_cast<void>(name);
#endif
    run();
  });
}

}  // namespace quipu::detail

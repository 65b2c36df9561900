#include "base/threads.hpp"

#include <pthread.h>

#include <csignal>
#include <utility>

namespace quipu::detail {
namespace {

/// Blocks the program's signals in this thread, and so in the threads that it starts meanwhile. Signals of a thread's
/// own faults are not blocked: the program's crash reports need them.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t signals;
    ::sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&signals, fault);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

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

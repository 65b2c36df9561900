#include "base/calling_thread.hpp"

namespace quipu::detail {

CallingThread& CallingThread::current() noexcept {
  thread_local constinit CallingThread thread;
  return thread;
}

}  // namespace quipu::detail

#include "http/wake_pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace quipu::http {

void WakePipe::open() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error(errno, std::generic_category());
  reader_ = detail::Descriptor(ends[0]);
  writer_ = detail::Descriptor(ends[1]);
}

void WakePipe::wake() const noexcept {
  const char anything = 0;
  // A full pipe wakes as well.
  while (::write(writer_.get(), &anything, 1) < 0 && errno == EINTR) {
  }
}

void WakePipe::drain() const noexcept {
  std::array<char, 256> bytes;
  while (::read(reader_.get(), bytes.data(), bytes.size()) > 0) {
  }
}

}  // namespace quipu::http

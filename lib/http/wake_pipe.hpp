#pragma once

#include "base/descriptor.hpp"

namespace quipu::http {

/// A pipe that wakes the event loop from poll(). Thread-safe after open().
class WakePipe {
 public:
  /// Throws std::system_error.
  void open();
  void wake() const noexcept;
  void drain() const noexcept;
  [[nodiscard]] int reader() const noexcept { return reader_.get(); }

 private:
  detail::Descriptor reader_;
  detail::Descriptor writer_;
};

}  // namespace quipu::http

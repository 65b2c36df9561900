#pragma once

#include "quipu/sample.hpp"

namespace quipu::detail {

/// Writes families and samples to a page buffer, in one format.
class Encoder : public Visitor {
 public:
  /// Writes what ends a page. Called once, after everything was shown.
  virtual void finish() {}
};

}  // namespace quipu::detail

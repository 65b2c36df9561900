#pragma once

#include <memory>

#include "exposition/format.hpp"
#include "exposition/page_buffer.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

/// Writes what it is shown to a page buffer, in one format.
class Encoder : public Visitor {
 public:
  /// Writes what ends a page. Called once, after everything was shown.
  virtual void finish() {}
};

/// `page` must live as long as the encoder.
[[nodiscard]] std::unique_ptr<Encoder> make_encoder(const Format& format, PageBuffer& page);

}  // namespace quipu::detail

#pragma once

#include <memory>

#include "exposition/encoder.hpp"
#include "exposition/format.hpp"
#include "exposition/page_buffer.hpp"

namespace quipu::detail {

/// The encoder of a format. `page` must live as long as it does.
[[nodiscard]] std::unique_ptr<Encoder> make_encoder(const Format& format, PageBuffer& page);

}  // namespace quipu::detail

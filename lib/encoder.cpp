#include "encoder.hpp"

#include "text_encoder.hpp"

namespace quipu::detail {

std::unique_ptr<Encoder> make_encoder(const Format& /*format*/, PageBuffer& page) {
  return std::make_unique<TextEncoder>(page);
}

}  // namespace quipu::detail

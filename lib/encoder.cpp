#include "encoder.hpp"

#include "protobuf_encoder.hpp"
#include "text_encoder.hpp"

namespace quipu::detail {

std::unique_ptr<Encoder> make_encoder(const Format& format, PageBuffer& page) {
  if (format.syntax == Syntax::protobuf) return std::make_unique<ProtobufEncoder>(page, format.escaping);
  return std::make_unique<TextEncoder>(page);
}

}  // namespace quipu::detail

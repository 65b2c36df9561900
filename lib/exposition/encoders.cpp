#include "exposition/encoders.hpp"

#include "exposition/open_metrics_2_encoder.hpp"
#include "exposition/open_metrics_encoder.hpp"
#include "exposition/protobuf_encoder.hpp"
#include "exposition/text_encoder.hpp"

namespace quipu::detail {

std::unique_ptr<Encoder> make_encoder(const Format& format, PageBuffer& page) {
  switch (format.syntax) {
    case Syntax::open_metrics:
      return std::make_unique<OpenMetricsEncoder>(page, format);
    case Syntax::open_metrics_2:
      return std::make_unique<OpenMetrics2Encoder>(page, format);
    case Syntax::protobuf:
      return std::make_unique<ProtobufEncoder>(page, format.escaping);
    case Syntax::text:
      break;
  }
  return std::make_unique<TextEncoder>(page, format);
}

}  // namespace quipu::detail

#include "format.hpp"

namespace quipu::detail {

Format negotiate(std::string_view /*accept*/, const FormatOptions& /*options*/) { return {}; }

std::string content_type(const Format& /*format*/) { return "text/plain; version=0.0.4; charset=utf-8"; }

}  // namespace quipu::detail

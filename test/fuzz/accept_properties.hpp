#pragma once

#include <string>
#include <string_view>

#include "exposition/format.hpp"

// What holds for any bytes in an Accept header.

namespace accept_properties {

using quipu::detail::content_type;
using quipu::detail::Format;
using quipu::detail::FormatOptions;
using quipu::detail::negotiate;
using quipu::detail::Syntax;

inline std::string upper_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return result;
}

inline bool is_offered(const Format& format, const FormatOptions& options) {
  if (format.created_lines != (options.created_lines && format.syntax == Syntax::open_metrics)) return false;
  switch (format.syntax) {
    case Syntax::text:
      return format.version == "0.0.4" || (format.version == "1.0.0" && format.names_escaping);
    case Syntax::open_metrics:
      return format.version == "0.0.1" || format.version == "1.0.0";
    case Syntax::open_metrics_2:
      return format.version == "2.0.0" && options.open_metrics_2;
    case Syntax::protobuf:
      return format.version.empty();
  }
  return false;
}

/// What is wrong with the format that is chosen for this header, or nothing.
inline std::string check(std::string_view data) {
  const std::string header(data);
  for (const FormatOptions options : {FormatOptions(), FormatOptions{true, true}}) {
    const auto chosen = [&options](const std::string& accept) { return negotiate(accept, options); };
    const Format format = chosen(header);
    if (!is_offered(format, options)) return "a format that is not offered: " + content_type(format);
    if (!(chosen(content_type(format)) == format)) return "asked for by its Content-Type, the format is another";
    if (!(chosen(upper_case(header)) == format)) return "upper and lower case are not the same";
    for (const std::string ignored :
         {"", " ", "application/json", "text/plain;q=0", "*/*; Q=\"0.0\"", "text/plain;q=-1"}) {
      if (!(chosen(ignored + ',' + header) == format)) return "the clause \"" + ignored + "\" is not ignored";
    }
    const std::string preferred = "application/openmetrics-text;version=1.0.0;escaping=dots;q=1";
    if (!(chosen(preferred + ',' + header) == chosen(preferred))) return "the first of the best clauses does not win";
  }
  return "";
}

}  // namespace accept_properties

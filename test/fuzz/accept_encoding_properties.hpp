#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz/accept_properties.hpp"
#include "http/request.hpp"

// What holds for any bytes in an Accept-Encoding header.

namespace accept_encoding_properties {

/// Whether gzip is preferred; nothing if the request is refused.
inline std::optional<bool> prefers_gzip(const std::string& accept_encoding) {
  const std::string head = "GET / HTTP/1.1\r\nHost:\r\nAccept-Encoding: " + accept_encoding + "\r\n\r\n";
  const auto parsed = quipu::http::parse_head(head);
  if (!parsed || parsed->size != head.size() || parsed->request.error_status != 0) return std::nullopt;
  return parsed->request.prefers_gzip;
}

/// The same codings from the last to the first.
inline std::string reversed(std::string_view list) {
  std::string result;
  for (;;) {
    const auto comma = list.rfind(',');
    if (comma == list.npos) return result.append(list);
    result.append(list.substr(comma + 1)) += ',';
    list = list.substr(0, comma);
  }
}

/// What is wrong with the choice for this header, or nothing.
inline std::string check(std::string_view data) {
  const std::string header(data.substr(0, 4096));
  const bool has_line_end = header.find_first_of(std::string_view("\r\n\0", 3)) != header.npos;
  const auto choice = prefers_gzip(header);
  if (!choice) return header.find_first_not_of("gzip;q=0.5, ") == header.npos ? "plain characters are refused" : "";
  if (has_line_end && header.find("\r\n") == header.npos) return "a control character is not refused";
  if (has_line_end) return "";  // further fields

  const std::string upper = accept_properties::upper_case(header);
  if (prefers_gzip(upper) != choice) return "upper and lower case are not the same";
  if (prefers_gzip(reversed(header)) != choice) return "the order of the codings matters";
  if (prefers_gzip(header + ',' + header) != choice) return "a header that comes twice is another";
  if (prefers_gzip("br, deflate;q=1," + header) != choice) return "codings that are not offered matter";
  if (prefers_gzip("gzip;q=0," + header) != false) return "gzip is sent to a client that refuses it";
  if (prefers_gzip("gzip;q=," + header) != false) return "gzip is sent to a client whose weight is no number";
  if (upper.find("GZIP") == upper.npos) {
    if (*choice && upper.find('*') == upper.npos) return "gzip is sent to a client that does not name it";
    if (prefers_gzip("gzip,identity;q=0," + header) != true) return "gzip is not sent to a client that asks for it";
  }
  return "";
}

}  // namespace accept_encoding_properties

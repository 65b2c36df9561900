#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.hpp"

// What holds for the request head at the beginning of any bytes.

namespace request_head_properties {

using quipu::http::ParsedHead;
using quipu::http::Request;

inline bool is_same(const Request& one, const Request& other) {
  const auto apart = std::chrono::abs(one.time - other.time);
  return one.path == other.path && one.families == other.families && one.accept == other.accept &&
         apart < std::chrono::microseconds(1) && one.error_status == other.error_status &&
         one.is_head == other.is_head && one.accepts_chunks == other.accepts_chunks &&
         one.prefers_gzip == other.prefers_gzip && one.closes == other.closes && one.may_share == other.may_share;
}

inline bool is_same(const std::optional<ParsedHead>& one, const std::optional<ParsedHead>& other) {
  if (!one || !other) return !one && !other;
  // How much follows an error does not matter, because the connection is closed.
  return is_same(one->request, other->request) && (one->request.error_status != 0 || one->size == other->size);
}

inline std::string escaped(std::string_view text, std::string_view special) {
  std::string result;
  for (const char c : text) {
    if (c > ' ' && c < '\x7F' && special.find(c) == special.npos) {
      result += c;
    } else {
      char code[4];
      std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      result += code;
    }
  }
  return result;
}

/// A head that says what `request` says.
inline std::string serialized(const Request& request) {
  std::string head = request.is_head ? "HEAD " : "GET ";
  head += escaped(request.path, "%?#");
  char separator = '?';
  for (const std::string& family : request.families) {
    head += separator + std::string("name[]");
    if (!family.empty()) head += '=' + escaped(family, "%&+#");
    separator = '&';
  }
  head += request.accepts_chunks ? " HTTP/1.1\r\nHost:\r\n" : " HTTP/1.0\r\n";
  if (!request.accept.empty()) head += "Accept: " + request.accept + "\r\n";
  if (request.prefers_gzip) head += "Accept-Encoding: gzip\r\n";
  head += request.closes ? "Connection: close\r\n" : "Connection: keep-alive\r\n";
  // A tenth of the timeout, up to half a second, is not for the page.
  const double time = std::chrono::duration<double>(request.time).count();
  char timeout[64];
  std::snprintf(timeout, sizeof timeout, "%.17g", time < 4.5 ? time / 0.9 : time + 0.5);
  head += std::string("X-Prometheus-Scrape-Timeout-Seconds: ") + timeout + "\r\n";
  return head + "\r\n";
}

/// Whether each byte of the decoded path that may not be sent as it is was sent percent-encoded, that often.
inline bool is_path_sent(std::string_view path, std::string_view head) {
  for (int code = 0; code < 256; ++code) {
    const char c = static_cast<char>(code);
    if (c > ' ' && c < '\x7F' && c != '#' && c != '%') continue;
    std::ptrdiff_t sent = 0;
    for (std::size_t at = head.find('%'); at != head.npos && at + 2 < head.size(); at = head.find('%', at + 1)) {
      const auto digits = head.substr(at + 1, 2);
      const std::string encoded = escaped({&c, 1}, "%#").substr(1);
      sent += std::equal(digits.begin(), digits.end(), encoded.begin(), [](char one, char other) {
        return one == other || (one >= 'a' && one <= 'f' && one - 'a' + 'A' == other);
      });
    }
    if (std::count(path.begin(), path.end(), c) > sent) return false;
  }
  return true;
}

/// What is wrong with the result of parse_head(data), or nothing.
inline std::string check(std::string_view data) {
  const auto whole = quipu::http::parse_head(data);

  // However the bytes arrive, the result is the same. Most bytes of a long head come at once here, to save time.
  std::optional<ParsedHead> in_parts;
  for (std::size_t size = 1, searched = 0; size <= data.size() && !in_parts;) {
    in_parts = quipu::http::parse_head(data.substr(0, size), searched);
    if (!is_same(in_parts, quipu::http::parse_head(data.substr(0, size)))) return "the searched bytes matter";
    searched = size;
    size += data.size() > 512 && size > 128 && size + 128 < data.size() ? 61 : 1;
  }
  if (!is_same(in_parts, whole)) return "the result depends on how the bytes arrive";
  if (!whole) {
    return data.size() < quipu::http::max_head_bytes ? "" : "a head that is too long is not refused";
  }

  const Request& request = whole->request;
  if (whole->size > data.size()) return "the head is longer than the data";
  if (request.error_status != 0) {
    const bool is_error = request.error_status >= 400 && request.error_status <= 505;
    return is_error && request.closes && !request.may_share && request.path.empty() ? "" : "an error is not refused";
  }
  const std::string_view head = data.substr(0, whole->size);
  if (!head.ends_with("\r\n\r\n")) return "the head does not end with an empty line";
  if (!request.path.starts_with('/')) return "the path does not begin with '/'";
  if (request.families.size() > quipu::http::max_families) return "there are too many families";
  if (!is_path_sent(request.path, head)) return "the path has a byte that may not be sent";

  const std::string again = serialized(request);
  if (again.size() > quipu::http::max_target_bytes) return "";
  const auto parsed_again = quipu::http::parse_head(again);
  if (!parsed_again || !is_same(parsed_again->request, request)) return "serialized, the request is another: " + again;
  return "";
}

}  // namespace request_head_properties

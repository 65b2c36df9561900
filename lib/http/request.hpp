#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quipu::http {

struct Resource;

using Clock = std::chrono::steady_clock;

/// A parsed request head, as far as the endpoint uses it.
struct Request {
  std::string path = {};                       // percent-decoded, without the query
  std::vector<std::string> families = {};      // the decoded values of `name[]` in the query
  std::string host = {};                       // with the port, if there is one; empty if it is not known
  std::string accept = {};                     // all Accept fields as one list
  Clock::duration time{};                      // how long the client can use the page, by what it says
  int error_status = 0;                        // the status to answer with, or 0 for a request without an error
  bool is_head = false;                        // the response has no body
  bool accepts_chunks = false;                 // the version is at least HTTP/1.1
  bool prefers_gzip = false;                   // over an uncompressed page
  bool closes = false;                         // the connection is closed after the response
  bool may_share = true;                       // a response made for an equal request
  Clock::time_point deadline{};                // `time` after the head was complete
  std::shared_ptr<const Resource> resource{};  // what it asks for, if that is served
};

/// A scraper's request is under 1 KiB. A browser may add some KiB of cookies that belong to "localhost".
inline constexpr std::size_t max_head_bytes = std::size_t{16} * 1024;
/// RFC 9112, 3 recommends at least 8,000 bytes for the request line.
inline constexpr std::size_t max_target_bytes = std::size_t{8} * 1024;
/// Empty lines that may precede the request line.
inline constexpr std::size_t max_empty_lines = 4;
/// Values of `name[]` in one request.
inline constexpr std::size_t max_families = 256;

struct ParsedHead {
  Request request;
  std::size_t size = 0;  // bytes of the data that belong to the head
};

/// Parses the request head at the beginning of `data` by RFC 9112. Returns nothing while the head is incomplete and has
/// no error yet. The result depends on the bytes of the head alone, not on how they arrive. The first `searched` bytes
/// of `data` have been passed to an earlier call.
[[nodiscard]] std::optional<ParsedHead> parse_head(std::string_view data, std::size_t searched = 0);

/// Whether one page can answer both requests: they ask for the same content and their deadlines are close.
[[nodiscard]] bool can_share_page(const Request& one, const Request& other);

}  // namespace quipu::http

#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quipu/route.hpp"

namespace quipu::http {

using Clock = std::chrono::steady_clock;

/// What of a request's head matters here.
struct Request {
  std::string line;              // "GET /metrics HTTP/1.1"
  std::string accept;            // every Accept header as one list
  Clock::duration time{};        // in which the page is of use to the client
  int refusal = 0;               // the status to answer with, or 0 when the request is as it should be
  bool is_head = false;          // wants no body
  bool knows_chunks = false;     // HTTP/1.1
  bool takes_gzip = false;       // and prefers it
  bool closes = false;           // the connection is over after the answer
  bool may_share = true;         // an answer made for others that ask for the same
  Clock::time_point deadline{};  // when the page is of no use any more: `time` after the head was complete
  const Route* route = nullptr;  // that it is for, or null
};

/// A scraper's request is under 1 KiB. A browser may add some KiB of cookies that belong to "localhost".
inline constexpr std::size_t max_head_bytes = std::size_t{16} * 1024;
/// Names of families that one request may ask for.
inline constexpr std::size_t max_families = 256;

/// One past the empty line that ends a head, or npos. Looks for the line break before that line from `from` on.
[[nodiscard]] std::size_t end_of_head(std::string_view data, std::size_t from = 0);

/// Understands a head with its end. All but the path, which is for a TargetReader.
[[nodiscard]] Request parse_head(std::string_view head);

/// The route that a request line asks for, by its path as it was sent; null if there is none, or if the line is not
/// simply a method, a target and a version of HTTP.
[[nodiscard]] const Route* find_route(std::span<const Route> routes, std::string_view line);

/// What stands for the request that begins with `data`, and whose head is too long.
[[nodiscard]] Request too_long(std::string_view data);

/// Whether these two can have the same page: made for one, it is what the other asked for, in time for both.
[[nodiscard]] bool ask_the_same(const Request& one, const Request& other);

/// What a request line asks for.
struct Target {
  int refusal = 0;                    // as in Request
  std::string path;                   // decoded, without the query
  std::vector<std::string> families;  // the values of `name[]`
};

/// Reads request lines: httplib's part. Thread-compatible: each thread has its own.
class TargetReader {
 public:
  /// httplib makes the whole process ignore SIGPIPE here: see SigpipeKept.
  TargetReader();
  TargetReader(TargetReader&&) noexcept;
  TargetReader& operator=(TargetReader&&) noexcept;
  ~TargetReader();

  [[nodiscard]] Target read(const std::string& line);

 private:
  class Httplib;
  std::unique_ptr<Httplib> httplib_;
};

}  // namespace quipu::http

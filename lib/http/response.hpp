#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.hpp"
#include "http/resources.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// For a request that cannot be served in time. Valid for GET and HEAD, and sent without a worker.
inline constexpr std::string_view busy_response =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// How the client finds the end of a page: by its length, by an empty chunk, or by the end of the connection.
struct Framing {
  std::optional<std::size_t> length = {};
  bool is_chunked = false;
};

/// The head of a response with a page.
[[nodiscard]] std::string page_response_head(std::string_view content_type, bool is_gzip, const Framing& framing,
                                             bool closes);
/// Links to everything that is served. The first is the page of the endpoint's options.
[[nodiscard]] std::string landing_response(const Resources::List& resources, const Request& request);
/// The head of a route's response. Throws std::runtime_error for a response that cannot be sent.
[[nodiscard]] std::string route_response_head(const RouteResponse& response, const Request& request);
/// The response to a request that gets no page.
[[nodiscard]] std::string error_response(int status, const Request& request);

/// A line break in a field value would begin another field.
[[nodiscard]] bool has_line_break(std::string_view text);

/// The line before a chunk of this size. chunk_end follows the chunk.
[[nodiscard]] std::string chunk_head(std::size_t size);
inline constexpr std::string_view chunk_end = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

/// The bytes to be sent to a client, in parts that are not copied. Thread-compatible.
class Outgoing {
 public:
  enum class Progress { done, would_block, failed };

  struct Parts {
    std::string front = {};                         // the head, or the line before a chunk
    std::shared_ptr<const std::string> whole = {};  // may be shared by several connections
    std::string_view piece = {};                    // owned by the caller until it is sent
    std::string_view end = {};                      // has static storage duration
  };

  void put(Parts parts) noexcept;
  /// Sends as much as the kernel takes at once. `failed` means that the connection is broken.
  [[nodiscard]] Progress send_some(int socket) noexcept;
  /// Bytes sent over all parts so far.
  [[nodiscard]] std::size_t sent() const noexcept { return sent_; }
  /// Bytes in memory, sent or not.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  [[nodiscard]] std::array<std::string_view, 4> parts() const noexcept;

  Parts parts_;
  std::size_t done_ = 0;  // bytes sent of `parts_`
  std::size_t sent_ = 0;
};

}  // namespace quipu::http

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/request.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// For a request that cannot be answered in time. Right for GET and HEAD alike, and made without a worker.
inline constexpr std::string_view busy_answer =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The head of an answer with a page. Without a length the page comes in chunks.
[[nodiscard]] std::string page_head(std::string_view content_type, bool is_gzip, std::optional<std::size_t> length,
                                    bool closes);
[[nodiscard]] std::string landing_answer(std::string_view path, std::span<const Route> routes, const Request& request);
/// Throws std::runtime_error for what cannot be sent.
[[nodiscard]] std::string route_answer(const RouteAnswer& answer, const Request& request);
/// The answer to a request that gets no page.
[[nodiscard]] std::string error_answer(int status, const Request& request);

/// With one, a text would be more than one field of a head.
[[nodiscard]] bool has_line_break(std::string_view text);

/// What comes before a chunk of this size; "\r\n" comes after it.
[[nodiscard]] std::string chunk_head(std::size_t size);
inline constexpr std::string_view chunk_end = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

/// Bytes on their way to a client, in parts that are sent from where they are. Thread-compatible.
class Outgoing {
 public:
  enum class Progress { done, later, failed };

  struct Parts {
    std::string front = {};                         // the head, or the beginning of a chunk
    std::shared_ptr<const std::string> whole = {};  // what several connections may be sent
    std::string_view piece = {};                    // somebody else's, who keeps it until it is sent
    std::string_view end = {};                      // of static duration
  };

  void put(Parts parts) noexcept;
  /// Gives the kernel as much as it takes at once. Failed: nobody is there to take it any more.
  [[nodiscard]] Progress send_some(int socket) noexcept;
  /// How much was taken, ever.
  [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

 private:
  [[nodiscard]] std::array<std::string_view, 4> parts() const noexcept;

  Parts parts_;
  std::size_t done_ = 0;  // bytes of these parts
  std::size_t taken_ = 0;
};

}  // namespace quipu::http

#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/descriptor.hpp"
#include "http/peers.hpp"
#include "http/request.hpp"
#include "http/response.hpp"
#include "quipu/exposition.hpp"

namespace quipu::http {

/// One client's connection. It is always in exactly one list, and only the thread that owns the list uses it.
struct Connection {
  detail::Descriptor socket;
  Clock::time_point deadline;  // of the state that the event loop keeps it in; in the queue, for a worker to take it
  Peers::Member peer{};
  std::string received{};    // bytes that have not been parsed yet
  std::size_t lingered = 0;  // bytes received after the last response
  bool is_ready = false;     // by the last poll()

  // From the complete head of a request to the last byte of its response.
  Request request{};
  std::stop_source client_gone{std::nostopstate};  // asked to stop when nobody waits for the response any more
  // For Admission.
  bool needs_permit = false;  // its page has turned out to be long, or it is no page
  bool has_permit = false;
  bool is_trial = false;   // a worker finds out whether its page is short
  std::size_t charge = 0;  // bytes that it counts for
  // The response.
  bool has_started = false;           // the response has been put into `outgoing`
  bool is_due = false;                // the next piece can be made
  bool is_sent = false;               // the response has been sent to the last byte
  bool is_chunked = false;            // the pieces are sent as chunks
  Clock::time_point started_at{};     // when the response started
  Clock::time_point last_progress{};  // when the client last took progress_bytes, or all that there was to take
  std::size_t progress_sent = 0;      // bytes sent by then
  bool is_read = false;               // the client has made progress after it was waited for
  Outgoing outgoing{};
  std::unique_ptr<PageStream> rest{};  // the pieces of the page that are still to be made
};
using Connections = std::list<Connection>;
using ConnectionIterator = Connections::iterator;

/// A client that takes less than this is no better than one that takes nothing. It is a piece of a page.
inline constexpr std::size_t progress_bytes = std::size_t{64} * 1024;

/// Sends as much as the kernel takes at once.
[[nodiscard]] Outgoing::Progress send_some(Connection& connection) noexcept;

/// Keeps the kernel from taking megabytes of a response that the client does not read.
void limit_unsent(const Connection& connection) noexcept;

/// Whether the connection ends in a reset when its socket is closed, by whomever: the client then sees that its
/// response is incomplete. Bytes in the kernel's send buffer are discarded.
void reset_at_close(const Connection& connection, bool resets) noexcept;

/// Closes the connection with a reset.
void abort_connection(Connection& connection) noexcept;

/// Closes the connection, with a reset unless its response is sent.
void close_connection(Connection& connection) noexcept;

/// Whether the client has a loopback address.
[[nodiscard]] bool is_loopback_peer(const Connection& connection) noexcept;

/// From stop() until scrapes that have not begun to respond are asked to stop.
inline constexpr auto giving_up_time = std::chrono::milliseconds(200);
/// From stop() until nobody waits any more for functions of the program.
inline constexpr auto leaving_time = std::chrono::milliseconds(600);

/// The time by which a response that started at `started_at` must have been sent. stop() leaves it a short time.
[[nodiscard]] Clock::time_point response_deadline(Clock::time_point started_at,
                                                  std::optional<Clock::time_point> stopped_at);

}  // namespace quipu::http

#include "http/worker.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <utility>

#include "http/compression.hpp"

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

// A page up to this size is complete before it is sent. Its head then has the length, its failure becomes a 500,
// several clients may share it, and it needs no permit.
constexpr std::size_t max_whole = std::size_t{256} * 1024;
// The same of compressed bytes, which take the time of ten others.
constexpr std::size_t max_whole_gzip = std::size_t{64} * 1024;
// A worker sends so long for one connection before it takes the next one.
constexpr auto turn_time = 2ms;
// Compression of less than this hardly saves a packet.
constexpr std::size_t min_gzip = 1024;

/// The part of a page that must be made before the head of the response can be written.
struct PageStart {
  std::unique_ptr<PageStream> page;
  std::string content_type;
  bool is_gzip = false;
  bool is_whole = false;
  std::size_t size = 0;      // of `bytes` and `piece`
  std::string bytes{};       // empty when only the size is needed
  std::string_view piece{};  // follows `bytes`; valid until the next call of page->next()
};

/// Asks for the page of a batch to stop when all clients of the batch have gone.
class BatchStop {
 public:
  explicit BatchStop(const Connections& batch) : waiting_(batch.size()) {
    for (const Connection& connection : batch)
      clients_.emplace_back(connection.client_gone.get_token(), OneGone{*this});
  }
  BatchStop(const BatchStop&) = delete;
  BatchStop& operator=(const BatchStop&) = delete;

  [[nodiscard]] std::stop_token token() const noexcept { return stop_.get_token(); }

 private:
  struct OneGone {
    BatchStop& batch;
    void operator()() const noexcept {
      // Relaxed, because each client counts once and the last one orders nothing else.
      if (batch.waiting_.fetch_sub(1, std::memory_order_relaxed) == 1) batch.stop_.request_stop();
    }
  };

  std::stop_source stop_;
  std::atomic<std::size_t> waiting_;
  std::list<std::stop_callback<OneGone>> clients_;  // goes first, so that none of them is called later
};

/// Nothing if all clients of the batch have gone.
std::optional<PageStart> open(const ServerConfig& config, const Connections& batch) {
  const Request& request = batch.front().request;
  const BatchStop stop(batch);
  const std::stop_token token = stop.token();
  if (token.stop_requested()) return std::nullopt;
  std::optional<PageStart> started(std::in_place);
  PageStart& start = *started;
  start.page = request.resource->page(
      {.accept = request.accept, .families = request.families, .deadline = request.deadline, .stop = token});
  if (token.stop_requested()) return std::nullopt;
  if (!start.page) throw std::runtime_error("no page");
  start.content_type = start.page->content_type();
  if (has_line_break(start.content_type)) throw std::runtime_error("not a content type");
  if (!config.gzip || !request.prefers_gzip) return started;

  std::string bytes;
  std::string_view piece = start.page->next();
  for (; !piece.empty() && bytes.size() + piece.size() < min_gzip; piece = start.page->next()) bytes += piece;
  if (piece.empty()) {
    start.is_whole = true;
    start.size = bytes.size();
    start.bytes = std::move(bytes);
  } else {
    start.is_gzip = true;
    start.page = gzip(std::move(start.page), std::move(bytes), piece);
  }
  return started;
}

/// Makes the page up to its end, or until it is too long to be complete before it is sent.
void collect(PageStart& start, const Request& request) {
  while (!start.is_whole) {
    const std::string_view piece = start.page->next();
    start.size += piece.size();
    if (start.size > (start.is_gzip ? max_whole_gzip : max_whole)) {
      start.piece = piece;
      return;
    }
    if (!request.is_head) start.bytes += piece;
    start.is_whole = piece.empty();
  }
}

}  // namespace

void Worker::run() noexcept {
  Connections batch;
  while (queue_.take(batch)) {
    if (batch.front().has_started) {
      continue_sending(batch.front());
    } else {
      respond(batch);
    }
    queue_.complete(batch);
  }
}

/// All requests in `batch` can share a page.
void Worker::respond(Connections& batch) noexcept {
  const auto fail = [&](int status) {
    for (Connection& connection : batch) {
      if (connection.has_started) continue;
      try {
        start_response(connection, {.front = error_response(status, connection.request)});
      } catch (...) {
        abort_connection(connection);
      }
    }
  };
  const Request& request = batch.front().request;
  if (request.error_status != 0) return fail(request.error_status);
  try {
    if (request.resource == nullptr) {
      if (request.path != "/") return fail(404);
      const Resources::List resources = config_.resources->all();
      for (Connection& connection : batch) {
        start_response(connection, {.front = landing_response(resources, connection.request)});
      }
    } else if (request.resource->is_removed.load(std::memory_order_relaxed)) {
      fail(404);
    } else if (request.resource->is_page()) {
      respond_with_page(batch);
    } else {
      respond_by_route(batch.front());
    }
  } catch (...) {
    fail(500);
  }
}

void Worker::respond_by_route(Connection& connection) {
  const Request& request = connection.request;
  if (connection.client_gone.stop_requested()) return abort_connection(connection);
  RouteResponse response = request.resource->respond({.is_loopback_peer = is_loopback_peer(connection)});
  std::string head = route_response_head(response, request);
  auto body = request.is_head ? nullptr : std::make_shared<const std::string>(std::move(response.body));
  start_response(connection, {.front = std::move(head), .whole = std::move(body)});
}

void Worker::respond_with_page(Connections& batch) {
  Connection& first = batch.front();
  const Request& request = first.request;
  std::optional<PageStart> started = open(config_, batch);
  if (!started) {
    for (Connection& connection : batch) abort_connection(connection);
    return;
  }
  PageStart& start = *started;
  collect(start, request);
  const auto head = [&](Connection& connection) {
    Framing framing;
    if (start.is_whole) {
      framing.length = start.size;
    } else {
      // Only the end of the connection shows a client of HTTP/1.0 the end of the page.
      framing.is_chunked = connection.is_chunked = connection.request.accepts_chunks;
      connection.request.closes = connection.request.closes || !framing.is_chunked;
    }
    return page_response_head(start.content_type, start.is_gzip, framing, connection.request.closes);
  };
  if (start.is_whole || request.is_head) {
    start.page.reset();
    const auto bytes = std::make_shared<const std::string>(std::move(start.bytes));
    for (Connection& connection : batch) start_response(connection, {.front = head(connection), .whole = bytes});
    return;
  }
  queue_.release_all_but_first(batch);
  if (first.is_trial) return;
  std::string front = head(first);
  if (first.is_chunked) {
    front += chunk_head(start.size);
  } else {
    reset_at_close(first, true);  // until all of the page is sent
  }
  const auto bytes = std::make_shared<const std::string>(std::move(start.bytes));
  start_response(
      first,
      {.front = std::move(front), .whole = bytes, .piece = start.piece, .end = first.is_chunked ? chunk_end : ""},
      std::move(start.page));
}

void Worker::start_response(Connection& connection, Outgoing::Parts parts, std::unique_ptr<PageStream> rest) noexcept {
  connection.has_started = true;
  connection.started_at = Clock::now();
  connection.last_progress = connection.started_at;
  connection.progress_sent = connection.outgoing.sent();
  connection.rest = std::move(rest);
  connection.outgoing.put(std::move(parts));
  continue_sending(connection);
}

void Worker::continue_sending(Connection& connection) noexcept try {
  const auto turn_end = Clock::now() + turn_time;
  connection.is_due = false;
  for (;;) {
    switch (send_some(connection)) {
      case Outgoing::Progress::would_block:
        return;
      case Outgoing::Progress::failed:
        return abort_connection(connection);
      case Outgoing::Progress::done:
        break;
    }
    if (!connection.rest) {
      connection.is_sent = true;
      return;
    }
    const auto now = Clock::now();
    if (now >= response_deadline(connection.started_at, queue_.stopped_at())) return abort_connection(connection);
    if (now >= turn_end && queue_.has_waiting()) {
      connection.is_due = true;
      return;
    }
    const std::string_view piece = connection.rest->next();
    // The time for making the piece does not count as the client's.
    connection.last_progress = Clock::now();
    if (piece.empty()) {
      connection.rest.reset();
      if (connection.is_chunked) {
        connection.outgoing.put({.front = std::string(last_chunk)});
      } else {
        reset_at_close(connection, false);
      }
    } else if (connection.is_chunked) {
      connection.outgoing.put({.front = chunk_head(piece.size()), .piece = piece, .end = chunk_end});
    } else {
      connection.outgoing.put({.piece = piece});
    }
  }
} catch (...) {
  // The reset shows the client that the response is incomplete.
  abort_connection(connection);
}

}  // namespace quipu::http

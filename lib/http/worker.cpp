#include "http/worker.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "http/compression.hpp"

namespace quipu::http {
namespace {

// A page up to this length is made before it is sent. It has its length in its head, gets 500 if it cannot be made, and
// may be sent to several clients.
constexpr std::size_t max_whole = std::size_t{256} * 1024;
// Compressed, less than this hardly saves a packet.
constexpr std::size_t min_gzip = 1024;

/// As much of a page as has to be known before its head can be worded.
struct Beginning {
  std::unique_ptr<PageStream> page;
  std::string content_type;
  bool is_gzip = false;
  bool is_whole = false;
  std::size_t size = 0;      // of `bytes` and `piece`
  std::string bytes{};       // nothing when only the size is wanted
  std::string_view piece{};  // comes after them; good until the next one is asked for
};

Beginning open(const Site& site, const Request& request) {
  Beginning begun;
  begun.page = site.source({.accept = request.accept, .families = request.families, .deadline = request.deadline});
  if (!begun.page) throw std::runtime_error("no page");
  begun.content_type = begun.page->content_type();
  if (has_line_break(begun.content_type)) throw std::runtime_error("not a content type");
  if (!site.gzip || !request.prefers_gzip) return begun;

  std::string bytes;
  std::string_view piece = begun.page->next();
  for (; !piece.empty() && bytes.size() + piece.size() < min_gzip; piece = begun.page->next()) bytes += piece;
  if (piece.empty()) {
    begun.is_whole = true;
    begun.size = bytes.size();
    begun.bytes = std::move(bytes);
  } else {
    begun.is_gzip = true;
    begun.page = gzip(std::move(begun.page), std::move(bytes), piece);
  }
  return begun;
}

/// Up to the end of the page, or to where its length does not matter any more.
void collect(Beginning& begun, const Request& request) {
  // A client that knows no chunks gets a length, whatever it takes: that the connection ends would not tell it that the
  // page is whole.
  const std::size_t limit = request.accepts_chunks ? max_whole : std::string::npos;
  while (!begun.is_whole) {
    const std::string_view piece = begun.page->next();
    begun.size += piece.size();
    if (begun.size > limit) {
      begun.piece = piece;
      return;
    }
    if (!request.is_head) begun.bytes += piece;
    begun.is_whole = piece.empty();
  }
}

}  // namespace

void Worker::run() noexcept {
  Connections at_hand;
  while (desk_.take(at_hand)) {
    if (at_hand.front().has_begun) {
      go_on(at_hand.front());
    } else {
      answer(at_hand);
    }
    desk_.hand_back(at_hand);
  }
}

/// All of `at_hand` ask for the same.
void Worker::answer(Connections& at_hand) noexcept {
  const auto fail = [&](int status) {
    for (Connection& connection : at_hand) {
      if (connection.has_begun) continue;
      try {
        begin(connection, {.front = error_answer(status, connection.request)});
      } catch (...) {
        break_off(connection);
      }
    }
  };
  const Request& request = at_hand.front().request;
  if (request.error_status != 0) return fail(request.error_status);
  try {
    if (request.route != nullptr) {
      return begin(at_hand.front(), {.front = route_answer(request.route->answer(), request)});
    }
    if (request.path == site_.path) {
      answer_with_page(at_hand);
    } else if (request.path == "/") {
      for (Connection& connection : at_hand) {
        begin(connection, {.front = landing_answer(site_.path, site_.routes, connection.request)});
      }
    } else {
      fail(404);
    }
  } catch (...) {
    fail(500);
  }
}

void Worker::answer_with_page(Connections& at_hand) {
  Connection& first = at_hand.front();
  const Request& request = first.request;
  Beginning begun = open(site_, request);
  collect(begun, request);
  const auto head = [&](const Connection& connection) {
    const auto length = begun.is_whole ? std::optional(begun.size) : std::nullopt;
    return page_head(begun.content_type, begun.is_gzip, length, connection.request.closes);
  };
  if (begun.is_whole || request.is_head) {
    begun.page.reset();
    const auto bytes = std::make_shared<const std::string>(std::move(begun.bytes));
    for (Connection& connection : at_hand) begin(connection, {.front = head(connection), .whole = bytes});
    return;
  }
  desk_.separate(at_hand);
  std::string front = head(first) + chunk_head(begun.size);
  const auto bytes = std::make_shared<const std::string>(std::move(begun.bytes));
  begin(first, {.front = std::move(front), .whole = bytes, .piece = begun.piece, .end = chunk_end},
        std::move(begun.page));
}

void Worker::begin(Connection& connection, Outgoing::Parts parts, std::unique_ptr<PageStream> rest) noexcept {
  connection.has_begun = true;
  connection.begun = Clock::now();
  connection.taken = connection.begun;
  connection.rest = std::move(rest);
  connection.outgoing.put(std::move(parts));
  go_on(connection);
}

void Worker::go_on(Connection& connection) noexcept try {
  for (;;) {
    switch (send_some(connection)) {
      case Outgoing::Progress::later:
        return;
      case Outgoing::Progress::failed:
        return break_off(connection);
      case Outgoing::Progress::done:
        break;
    }
    if (!connection.rest) {
      connection.is_answered = true;
      return;
    }
    if (Clock::now() >= end_of_answer(connection.begun, desk_.stopped_at())) return break_off(connection);
    const std::string_view piece = connection.rest->next();
    // The client is not to blame for the time that took.
    connection.taken = Clock::now();
    if (piece.empty()) {
      connection.rest.reset();
      connection.outgoing.put({.front = std::string(last_chunk)});
    } else {
      connection.outgoing.put({.front = chunk_head(piece.size()), .piece = piece, .end = chunk_end});
    }
  }
} catch (...) {
  // Without its last chunk the client does not take the answer for a whole one.
  break_off(connection);
}

}  // namespace quipu::http

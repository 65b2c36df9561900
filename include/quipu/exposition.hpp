#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace quipu {

class Registry;

/// The answer to one scrape: what to send as the HTTP body, and the one Content-Type to send with it.
struct Page {
  std::string content_type;
  std::string body;
};

/// Renders the whole registry in the format that `accept`, an HTTP Accept header, prefers among those offered;
/// anything unknown, or nothing, gets the Prometheus text format 0.0.4.
/// For programs that have their own web server; `Exposer` sends the same bytes.
///
/// Thread-safe. Never blocks a thread that records. A collector that throws costs its own families only.
/// Throws std::bad_alloc, in which case there is no page at all (answer 500).
[[nodiscard]] Page render(const Registry& registry, std::string_view accept = {});

/// Makes the page of one scrape from the request's Accept header ("" when there is none).
/// Called from several threads at once.
using PageSource = std::function<Page(std::string_view accept)>;

/// A source that renders `registry` and keeps its metrics alive.
[[nodiscard]] PageSource page_source(const Registry& registry);

}  // namespace quipu

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"
#include "quipu/scrape_request.hpp"

namespace quipu {

class Registry;

/// The answer to one scrape: what to send as the HTTP body, and the one Content-Type to send with it.
struct Page {
  std::string content_type;
  std::string body;
};

/// A page that is made piece by piece, while it is sent: the memory it takes does not depend on its length, and between
/// two pieces it may rest. Thread-compatible.
class QUIPU_EXPORT PageStream {
 public:
  virtual ~PageStream() = default;
  [[nodiscard]] virtual std::string_view content_type() const noexcept = 0;
  /// The next piece of the body, about 64 KiB; empty at the end, and only there. It is good until the next call. What
  /// it throws means that there is no whole page: a client must not take the pieces before for one.
  [[nodiscard]] virtual std::string_view next() = 0;
};

/// Begins a scrape of `registry`, and asks its collectors. What happens before this call is on the page; what happens
/// while the pieces are made may be. The metrics stay alive as long as the stream.
///
/// Thread-safe. Never blocks a thread that records. A collector that throws costs its own families only.
/// Throws std::bad_alloc, as does `next()`.
[[nodiscard]] QUIPU_EXPORT std::unique_ptr<PageStream> open_page(const Registry& registry,
                                                                 const ScrapeRequest& request = {});

/// The whole page at once, for programs that have their own web server; `Exposer` sends the same bytes.
///
/// Thread-safe. Never blocks a thread that records. A collector that throws costs its own families only.
/// Throws std::bad_alloc, in which case there is no page at all (answer 500).
[[nodiscard]] QUIPU_EXPORT Page render(const Registry& registry, std::string_view accept = {});
[[nodiscard]] QUIPU_EXPORT Page render(const Registry& registry, const ScrapeRequest& request);
/// The same in the memory of an earlier page, which saves most of the time of a large one.
QUIPU_EXPORT void render(const Registry& registry, const ScrapeRequest& request, Page& into);

/// Begins the page of one scrape. Called from several threads at once. The request is good until it returns.
using PageSource = std::function<std::unique_ptr<PageStream>(const ScrapeRequest&)>;

/// A source that renders `registry` and keeps its metrics alive.
[[nodiscard]] QUIPU_EXPORT PageSource page_source(const Registry& registry);

}  // namespace quipu

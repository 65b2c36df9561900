#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "quipu/detail/base/export.hpp"
#include "quipu/scrape_request.hpp"

namespace quipu {

class Registry;
class Registries;

/// The response to one scrape: the HTTP body, and the Content-Type that must be sent with it.
struct Page {
  std::string content_type;
  std::string body;
};

/// A page that is made piece by piece, while it is sent. Its memory does not depend on the length of the page. Any time
/// may pass between two pieces. Thread-compatible.
class QUIPU_EXPORT PageStream {
 public:
  virtual ~PageStream() = default;
  [[nodiscard]] virtual std::string_view content_type() const noexcept = 0;
  /// The next piece of the body, about 64 KiB. It is empty at the end, and only there. It is valid until the next call.
  /// An exception means that there is no whole page: a client must not take the earlier pieces for one.
  [[nodiscard]] virtual std::string_view next() = 0;
};

/// Begins a scrape of `registry`, and calls its collectors. The page shows what happened before this call. It may show
/// what happens while the pieces are made. The metrics stay alive as long as the stream.
///
/// Thread-safe. Never blocks a thread that records. If a collector throws, only its own families are missing. Throws
/// std::bad_alloc, as does `next()`.
[[nodiscard]] QUIPU_EXPORT std::unique_ptr<PageStream> open_page(const Registry& registry,
                                                                 const ScrapeRequest& request = {});

/// The same of several registries, which say at their declaration what of them is shown.
[[nodiscard]] QUIPU_EXPORT std::unique_ptr<PageStream> open_page(const Registries& registries,
                                                                 const ScrapeRequest& request = {});

/// The whole page at once, for programs that have their own web server; `Exposer` sends the same bytes.
///
/// Thread-safe. Never blocks a thread that records. If a collector throws, only its own families are missing. Throws
/// std::bad_alloc; then there is no page at all (answer 500).
[[nodiscard]] QUIPU_EXPORT Page render(const Registry& registry, std::string_view accept = {});
[[nodiscard]] QUIPU_EXPORT Page render(const Registry& registry, const ScrapeRequest& request);
/// The same, in the memory of an earlier page. This saves most of the time for a large page.
QUIPU_EXPORT void render(const Registry& registry, const ScrapeRequest& request, Page& into);

/// The same of several registries.
[[nodiscard]] QUIPU_EXPORT Page render(const Registries& registries, const ScrapeRequest& request = {});

/// Begins the page of one scrape. Called from several threads at once. The request is valid until it returns.
using PageSource = std::function<std::unique_ptr<PageStream>(const ScrapeRequest&)>;

/// A source that renders `registry` and keeps its metrics alive.
[[nodiscard]] QUIPU_EXPORT PageSource page_source(const Registry& registry);
[[nodiscard]] QUIPU_EXPORT PageSource page_source(const Registries& registries);

}  // namespace quipu

#pragma once

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/detail/exposition/scrape_time.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/requests.hpp"

/// For programs that serve HTTP with cpp-httplib: the page of metrics on the program's own server, and metrics of its
/// handlers.
///
///     httplib::Server server;
///     quipu::mount(server, registry, "/metrics");
///
///     quipu::HttpServerMetrics metrics(registry.subsystem("http"));
///     server.Get("/cart/(\\d+)", metrics.handler("/cart/:id", show_cart));
///
/// Everything here is compiled with the program's own httplib.h, any version from 0.11 to 0.53. quipu's libraries do
/// not contain httplib, and do not care which version the program has.
namespace quipu {

namespace detail {

/// All fields of that name as one list. HTTP gives several fields of one name the same meaning as their list.
inline std::string joined_fields(const httplib::Request& request, const std::string& name) {
  std::string list;
  const auto [first, last] = request.headers.equal_range(name);
  for (auto field = first; field != last; ++field) {
    if (!list.empty()) list += ", ";
    list += field->second;
  }
  return list;
}

/// Sends a page as the client takes it. The first two pieces are made at the beginning.
class PageSender {
 public:
  explicit PageSender(std::unique_ptr<PageStream> page) : page_(std::move(page)), first_(page_->next()) {
    if (!first_.empty()) next_ = page_->next();
  }

  [[nodiscard]] bool is_one_piece() const noexcept { return next_.empty(); }
  /// The whole page in one piece.
  [[nodiscard]] std::string take_whole() {
    for (; !next_.empty(); next_ = page_->next()) first_ += next_;
    return std::move(first_);
  }

  /// Sends one piece, or the end. False breaks the connection off, so that nobody takes half a page for a whole one.
  bool send_some(httplib::DataSink& sink) noexcept try {
    if (!first_.empty()) {
      const bool is_sent = sink.write(first_.data(), first_.size());
      first_ = {};
      return is_sent;
    }
    if (next_.empty()) {
      sink.done();
      return true;
    }
    if (!sink.write(next_.data(), next_.size())) return false;
    next_ = page_->next();
    return true;
  } catch (...) {
    return false;
  }

 private:
  const std::unique_ptr<PageStream> page_;
  std::string first_;
  std::string_view next_{};  // comes after `first_`; empty at the end
};

inline void answer_with_page(const PageSource& source, const httplib::Request& request, httplib::Response& response) {
  // A page shows one moment, so parts of two pages do not make a page.
  if (!request.ranges.empty()) {
    response.status = 416;
    return;
  }
  constexpr std::size_t max_families = 256;
  std::vector<std::string> families;
  const auto [first, last] = request.params.equal_range("name[]");
  for (auto name = first; name != last; ++name) families.push_back(name->second);
  if (families.size() > max_families) {
    response.status = 400;
    response.set_content("Too many names.\n", "text/plain; charset=utf-8");
    return;
  }

  const std::string accept = joined_fields(request, "Accept");
  const auto time =
      scrape_time(request.get_header_value("X-Prometheus-Scrape-Timeout-Seconds"), default_max_scrape_time);
  auto page = source({.accept = accept, .families = families, .deadline = std::chrono::steady_clock::now() + time});
  if (!page) throw std::runtime_error("no page");
  const std::string content_type(page->content_type());
  if (content_type.find_first_of("\r\n") != content_type.npos) throw std::runtime_error("not a content type");
  auto sender = std::make_shared<PageSender>(std::move(page));

  // HTTP/1.0 has no chunks. Without them the end of the connection does not tell whether the page is whole.
  if (sender->is_one_piece() || request.version == "HTTP/1.0") {
    response.set_content(sender->take_whole(), content_type);
  } else {
    response.set_chunked_content_provider(
        content_type, [sender](std::size_t, httplib::DataSink& sink) { return sender->send_some(sink); });
  }
  response.set_header("Vary", "Accept, Accept-Encoding");
  response.set_header("Accept-Ranges", "none");
}

/// The pattern that matches `path` and nothing else. To httplib a pattern with "/:" is of another kind.
inline std::string pattern_of(std::string_view path) {
  std::string pattern;
  for (const char c : path) {
    if (std::string_view("\\^$.*+?()[]{}|:").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace detail

/// Serves what `source` makes at `path`, for GET and HEAD, on the threads of `server`. The path is matched as it is,
/// not as a pattern.
///
/// The response is what `Exposer` would send. It has the format that the Accept fields of the request prefer among all
/// formats. `?name[]=FAMILY`, any number of times up to 256, asks for these families only. The deadline of the scrape
/// is the time in X-Prometheus-Scrape-Timeout-Seconds, or 10 seconds without it, and no more than a minute, less up to
/// half a second. A page of more than one piece is sent in chunks while it is made, so it takes little memory, however
/// long it is. (HTTP/1.0 has no chunks, and gets the page as a whole.) If `source` throws before the second piece is
/// made, the response is a 500 without details. If it throws later, the connection is broken off, so that no client
/// takes the page for a whole one. Requests for a part of the page get 416. Compression is left to httplib, which
/// compresses if it was built so. The Host of a request is not looked at.
///
/// Call it before the server listens, as `server.Get()`. Use an `Exposer` in a program that also has to answer while
/// all threads of its server are busy, or while it shuts down. Throws what `server.Get()` throws.
inline void mount(httplib::Server& server, PageSource source, std::string_view path = "/metrics") {
  server.Get(detail::pattern_of(path),
             [source = std::move(source)](const httplib::Request& request, httplib::Response& response) {
               try {
                 detail::answer_with_page(source, request, response);
               } catch (...) {
                 response.status = 500;
                 response.set_content("The page could not be made.\n", "text/plain; charset=utf-8");
               }
             });
}
/// Serves `registry`, whose metrics stay alive as long as the server.
inline void mount(httplib::Server& server, const Registry& registry, std::string_view path = "/metrics") {
  mount(server, page_source(registry), path);
}

/// Counts and times what handlers of an httplib::Server do: requests_total{method,route,code}, and
/// request_errors_total, request_duration_seconds and requests_in_flight with {method,route}. An error is a handler
/// that throws.
///
/// `route` is what the program says, never the path of the request: clients choose paths, and each one would be a new
/// series. Methods are those that httplib knows.
///
/// The duration of a request is that of its handler. It does not include sending the response: httplib sends that
/// afterwards, also the content that a content provider makes.
///
/// A handle: it keeps the families' memory alive, as do the handlers. Thread-safe. A request costs four look-ups by
/// text and two clock reads.
class HttpServerMetrics {
 public:
  /// Registers the families as a batch. Throws RegistrationError.
  explicit HttpServerMetrics(const Scope& scope, const RequestOptions& options = {})
      : requests_(scope, options, {"method", "route"}, {"code"}) {}

  /// A handler that does what `handle` does, and counts it. Its code is the status that `handle` has set, or 200 when
  /// it has set none. The code is 500 when `handle` throws, whatever the server's exception handler makes of that. The
  /// exception is passed on.
  [[nodiscard]] httplib::Server::Handler handler(std::string route, httplib::Server::Handler handle) const {
    return [metrics = *this, route = std::move(route), handle = std::move(handle)](const httplib::Request& request,
                                                                                   httplib::Response& response) {
      metrics.measure(route, request, response, [&] { handle(request, response); });
    };
  }
  /// The same for a handler that reads the content of the request itself.
  [[nodiscard]] httplib::Server::HandlerWithContentReader handler(
      std::string route, httplib::Server::HandlerWithContentReader handle) const {
    return [metrics = *this, route = std::move(route), handle = std::move(handle)](
               const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& content) {
      metrics.measure(route, request, response, [&] { handle(request, response, content); });
    };
  }

 private:
  template <class Handle>
  void measure(const std::string& route, const httplib::Request& request, const httplib::Response& response,
               Handle handle) const {
    auto measured = requests_(request.method, route).start(500);
    handle();
    // httplib later sets 200 where no status is set.
    measured.end(response.status > 0 ? response.status : 200);
  }

  RequestFamily<std::string_view, std::string_view, AtEnd<int>> requests_;
};

}  // namespace quipu

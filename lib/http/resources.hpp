#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/exposition.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// What the endpoint serves at one path: a page, or a route. The endpoint shares it with the requests under way.
struct Resource {
  Resource(std::string at, PageSource source) : path(std::move(at)), page(std::move(source)) {}
  explicit Resource(Route route)
      : path(std::move(route.path)), respond(std::move(route.respond)), is_prompt(route.is_prompt) {}

  const std::string path;
  const PageSource page{};  // empty for a route
  const RouteFunction respond{};
  const bool is_prompt = false;  // of a route
  /// Set when it is served no more: requests that wait for it get 404. Relaxed, because nothing else depends on it.
  std::atomic<bool> is_removed{false};

  [[nodiscard]] bool is_page() const noexcept { return static_cast<bool>(page); }
};

/// What the endpoint serves. Thread-safe.
class Resources {
 public:
  using List = std::vector<std::shared_ptr<const Resource>>;

  /// Throws ListenError if there is one with this path.
  void add(const std::shared_ptr<Resource>& resource);
  void remove(Resource& resource) noexcept;

  /// The one at this decoded path, or null.
  [[nodiscard]] std::shared_ptr<const Resource> find(std::string_view path) const noexcept;
  /// All of them, in the order in which they were added.
  [[nodiscard]] List all() const;

 private:
  mutable std::mutex mutex_;  // guards what follows; held for a moment
  List list_;
};

}  // namespace quipu::http

#include "http/resources.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quipu/error.hpp"

namespace quipu::http {
namespace {

auto at_path(std::string_view path) {
  return [path](const std::shared_ptr<const Resource>& resource) { return resource->path == path; };
}

}  // namespace

void Resources::add(const std::shared_ptr<Resource>& resource) {
  const std::lock_guard lock(mutex_);
  const auto same = std::ranges::find_if(list_, at_path(resource->path));
  if (same == list_.end()) return list_.push_back(resource);
  throw ListenError(fmt::format("{} \"{}\": {} is served there; choose another path for one of them",
                                resource->is_page() ? "path" : "route", resource->path,
                                (*same)->is_page() ? "a page of metrics" : "another route"));
}

void Resources::remove(Resource& resource) noexcept {
  resource.is_removed.store(true, std::memory_order_relaxed);
  std::shared_ptr<const Resource> removed;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(list_, [&](const auto& one) { return one.get() == &resource; });
  if (found == list_.end()) return;
  removed = std::move(*found);
  list_.erase(found);
}

std::shared_ptr<const Resource> Resources::find(std::string_view path) const noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(list_, at_path(path));
  return found == list_.end() ? nullptr : *found;
}

Resources::List Resources::all() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

}  // namespace quipu::http

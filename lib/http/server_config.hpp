#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "http/allowed_hosts.hpp"
#include "http/resources.hpp"

namespace quipu::http {

/// What the server serves. The event loop and the workers share it.
struct ServerConfig {
  std::shared_ptr<Resources> resources;  // the first is the page of the options
  bool gzip = false;
  std::size_t max_scrapes;
  std::size_t max_response_bytes;
  std::chrono::milliseconds max_scrape_time;
  AllowedHosts allowed_hosts;
};

}  // namespace quipu::http

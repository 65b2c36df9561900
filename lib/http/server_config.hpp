#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "http/allowed_hosts.hpp"
#include "quipu/exposition.hpp"
#include "quipu/route.hpp"

namespace quipu::http {

/// What the server serves. The event loop and the workers share it.
struct ServerConfig {
  PageSource source;
  std::string path;
  bool gzip = false;
  std::vector<Route> routes;
  std::size_t max_scrapes;
  std::size_t max_response_bytes;
  std::chrono::milliseconds max_scrape_time;
  AllowedHosts allowed_hosts;
};

}  // namespace quipu::http

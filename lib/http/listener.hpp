#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/descriptor.hpp"

namespace quipu::http {

/// A socket that clients can connect to.
struct Listener {
  detail::Descriptor socket;
  std::uint16_t port = 0;
  std::string host;          // as in a URL; 127.0.0.1 when listening on every address
  bool is_loopback = false;  // only this machine can connect
};

/// Listens at HOST:PORT, as ExposerOptions::listen says. Throws ListenError.
[[nodiscard]] Listener listen_at(std::string_view text);

}  // namespace quipu::http

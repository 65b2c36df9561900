#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/listener.hpp"
#include "quipu/detail/base/export.hpp"

namespace quipu::http {

/// The names under which the endpoint answers.
///
/// A page of another site can read what the endpoint answers if the browser takes both for the same site: the name of
/// that site resolves to the endpoint's address after the page was loaded (DNS rebinding). The browser then sends that
/// name as the host. An IP address and "localhost" are names that no other site has.
///
/// Immutable, so thread-safe.
class AllowedHosts {
 public:
  /// `names` are those of ExposerOptions::allowed_hosts. Throws ListenError for a name that no host can have.
  AllowedHosts(const Listener& listener, const std::vector<std::string>& names);

  /// `host` is the Host of a request, or the authority of an absolute target: a name or an address, and perhaps a port.
  [[nodiscard]] bool allows(std::string_view host) const noexcept;

 private:
  std::vector<std::string> names_;  // beside those that are always allowed
  bool allows_all_;
};

/// Throws ListenError for a name that ExposerOptions::allowed_hosts cannot have.
QUIPU_EXPORT void check_allowed_host(std::string_view name);

}  // namespace quipu::http

#include "http/allowed_hosts.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "quipu/error.hpp"

namespace quipu::http {
namespace {

using detail::equals_ignoring_case;

constexpr std::string_view every_host = "*";

bool is_address(int family, std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  if (text.size() >= terminated.size()) return false;
  std::copy(text.begin(), text.end(), terminated.begin());
  in6_addr address{};  // holds an IPv4 address as well
  return ::inet_pton(family, terminated.data(), &address) == 1;
}

/// The name of a host and of its root are the same ("localhost.").
std::string_view without_root(std::string_view name) noexcept {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool is_host_name(std::string_view name) noexcept {
  return !without_root(name).empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return detail::is_lower(detail::to_lower(c)) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

/// The name that the system gives this machine, or nothing.
std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

}  // namespace

void check_allowed_host(std::string_view name) {
  if (name == every_host || is_host_name(name)) return;
  throw ListenError(fmt::format(
      "allowed host \"{}\": expected a name such as metrics.example.com, without a port, or \"*\" for every host",
      name));
}

AllowedHosts::AllowedHosts(const Listener& listener, const std::vector<std::string>& names)
    : allows_all_(!listener.is_loopback && names.empty()) {
  for (const std::string& name : names) {
    check_allowed_host(name);
    if (name == every_host) allows_all_ = true;
    names_.emplace_back(without_root(name));
  }
  const std::string machine = machine_name();
  for (const std::string_view name : {std::string_view(listener.host), std::string_view(machine),
                                      std::string_view(machine).substr(0, machine.find('.'))}) {
    if (!name.empty()) names_.emplace_back(without_root(name));
  }
}

bool AllowedHosts::allows(std::string_view host) const noexcept {
  // An empty host is what a request without one has. Browsers always name the host.
  if (allows_all_ || host.empty()) return true;
  if (host.starts_with('[')) {
    host.remove_prefix(1);
    return host.find(']') != host.npos && is_address(AF_INET6, detail::take_until(host, ']'));
  }
  const std::string_view name = without_root(detail::take_until(host, ':'));
  if (is_address(AF_INET, name)) return true;
  constexpr std::string_view localhost = "localhost";
  constexpr std::string_view below_localhost = ".localhost";
  if (equals_ignoring_case(name, localhost)) return true;
  if (name.size() > below_localhost.size() &&
      equals_ignoring_case(name.substr(name.size() - below_localhost.size()), below_localhost)) {
    return true;
  }
  return std::any_of(names_.begin(), names_.end(),
                     [name](const std::string& allowed) { return equals_ignoring_case(name, allowed); });
}

}  // namespace quipu::http

#include "http/peers.hpp"

#include <netinet/in.h>

namespace quipu::http {

PeerAddress peer_address(const sockaddr_storage& address) noexcept {
  // IPv4 addresses as a network of IPv6 that no host has.
  const auto ipv4_peer = [](const unsigned char* bytes) {
    PeerAddress peer = 0xFFFF;
    for (int i = 0; i < 4; ++i) peer = peer << 8 | bytes[i];
    return peer;
  };
  if (address.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
    return ipv4_peer(reinterpret_cast<const unsigned char*>(&ipv4.sin_addr));
  }
  if (address.ss_family != AF_INET6) return 0;
  const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&ipv6) != 0) return ipv4_peer(&ipv6.s6_addr[12]);
  PeerAddress peer = 0;
  for (int i = 0; i < 8; ++i) peer = peer << 8 | ipv6.s6_addr[i];
  return peer;
}

Peers::Member Peers::add(PeerAddress address) {
  auto& entry = *peers_.try_emplace(address).first;
  ++entry.second.connections;
  return {*this, entry};
}

Peers::Member::~Member() {
  if (peers_ != nullptr && --entry_->second.connections == 0) peers_->peers_.erase(entry_->first);
}

}  // namespace quipu::http

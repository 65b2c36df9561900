#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace quipu::http {

/// Where a client connects from, as far as the limits are shared out by it: an IPv4 address, or the first half of an
/// IPv6 address, because one host may have all addresses of such a network.
using PeerAddress = std::uint64_t;

[[nodiscard]] PeerAddress peer_address(const sockaddr_storage& address) noexcept;

struct Peer {
  std::size_t connections = 0;
  std::size_t permits = 0;
  std::size_t listed = 0;  // scratch: its connections in the list that is looked at
};

/// The peers that have connections. Thread-compatible. It outlives its members.
class Peers {
 public:
  /// A connection's part in its peer. It ends with the connection.
  class Member {
   public:
    Member() = default;
    Member(Member&& other) noexcept
        : peers_(std::exchange(other.peers_, nullptr)), entry_(std::exchange(other.entry_, nullptr)) {}
    Member& operator=(Member&& other) noexcept {
      std::swap(peers_, other.peers_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Member();

    [[nodiscard]] Peer* operator->() const noexcept { return &entry_->second; }

   private:
    friend class Peers;
    using Entry = std::pair<const PeerAddress, Peer>;
    Member(Peers& peers, Entry& entry) : peers_(&peers), entry_(&entry) {}

    Peers* peers_ = nullptr;
    Entry* entry_ = nullptr;
  };

  /// Throws std::bad_alloc.
  [[nodiscard]] Member add(PeerAddress address);
  [[nodiscard]] std::size_t size() const noexcept { return peers_.size(); }

 private:
  std::unordered_map<PeerAddress, Peer> peers_;
};

}  // namespace quipu::http

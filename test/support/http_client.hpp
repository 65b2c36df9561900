#pragma once

// A client of an HTTP server of this machine that sends and receives exact bytes.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "quipu/exposer.hpp"
#include "quipu/exposition.hpp"
#include "support/waiting.hpp"

namespace http_client {

using Clock = std::chrono::steady_clock;

inline constexpr std::string_view text_type = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr const char* any_port = "127.0.0.1:0";

struct Answer {
  std::string raw;
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;       // without the chunks that it came in
  bool is_whole = false;  // all of it came, by its length or its last chunk

  std::vector<std::string> all(std::string_view name) const {
    std::vector<std::string> values;
    for (const auto& [header, value] : headers) {
      if (::strncasecmp(header.c_str(), name.data(), name.size()) == 0 && header.size() == name.size()) {
        values.push_back(value);
      }
    }
    return values;
  }
  /// The value of a header that must be there once.
  std::string header(std::string_view name) const {
    const auto values = all(name);
    return values.size() == 1 ? values.front() : "<" + std::to_string(values.size()) + " values>";
  }
};

/// One chunk of an answer, from where it begins.
struct Chunk {
  std::size_t begin = 0;  // of its bytes
  std::size_t size = 0;
  std::size_t end = std::string::npos;  // where the next one begins; npos when this one is not whole
};

inline Chunk chunk_at(const std::string& raw, std::size_t at) {
  const auto line_end = raw.find("\r\n", at);
  if (line_end == std::string::npos) return {};
  const std::size_t size = std::strtoul(raw.c_str() + at, nullptr, 16);
  const std::size_t end = line_end + 2 + size + 2;
  if (raw.size() < end || raw.compare(end - 2, 2, "\r\n") != 0) return {};
  return {line_end + 2, size, end};
}

inline Answer parse(std::string raw, bool is_head = false) {
  Answer answer;
  answer.raw = std::move(raw);
  const auto end = answer.raw.find("\r\n\r\n");
  if (end == std::string::npos || answer.raw.rfind("HTTP/1.1 ", 0) != 0) return answer;
  answer.status = std::atoi(answer.raw.c_str() + 9);
  for (auto at = answer.raw.find("\r\n") + 2; at < end;) {
    const auto line_end = answer.raw.find("\r\n", at);
    const auto colon = answer.raw.find(": ", at);
    answer.headers.emplace_back(answer.raw.substr(at, colon - at), answer.raw.substr(colon + 2, line_end - colon - 2));
    at = line_end + 2;
  }
  if (!is_head && !answer.all("Transfer-Encoding").empty()) {
    Chunk chunk{.end = end + 4};
    do {
      chunk = chunk_at(answer.raw, chunk.end);
      answer.body.append(answer.raw, chunk.begin, chunk.size);
    } while (chunk.size > 0);
    answer.is_whole = chunk.end == answer.raw.size();
  } else {
    answer.body = answer.raw.substr(end + 4);
    answer.is_whole =
        is_head ? answer.body.empty() : answer.header("Content-Length") == std::to_string(answer.body.size());
  }
  return answer;
}

/// A connection to a port of this machine, on which exact bytes are sent and received. Throws std::runtime_error.
class Client {
 public:
  explicit Client(std::uint16_t port, int family = AF_INET, int receive_buffer = 0)
      : Client(port, family, receive_buffer, {htonl(INADDR_LOOPBACK)}, 1) {}
  /// To that address of this machine.
  Client(std::uint16_t port, in_addr address) : Client(port, AF_INET, 0, address, 1) {}
  /// From another address of this machine, 127.0.0.`host`.
  static Client from(std::uint8_t host, std::uint16_t port, int receive_buffer = 0) {
    return Client(port, AF_INET, receive_buffer, {htonl(INADDR_LOOPBACK)}, host);
  }

 private:
  Client(std::uint16_t port, int family, int receive_buffer, in_addr ipv4_address, std::uint8_t host)
      : socket_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (socket_ < 0) throw std::runtime_error("socket");
    if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in ipv4{};
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    ipv4.sin_addr = ipv4_address;
    sockaddr_in6 ipv6{};
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(port);
    ipv6.sin6_addr = in6addr_loopback;
    const bool is_ipv4 = family == AF_INET;
    if (host != 1) {
      sockaddr_in own{};
      own.sin_family = AF_INET;
      own.sin_addr.s_addr = htonl(0x7F000000U + host);
      if (::bind(socket_, reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) {
        ::close(socket_);
        throw std::runtime_error("bind");
      }
    }
    const auto* address = is_ipv4 ? reinterpret_cast<sockaddr*>(&ipv4) : reinterpret_cast<sockaddr*>(&ipv6);
    const auto size = static_cast<socklen_t>(is_ipv4 ? sizeof ipv4 : sizeof ipv6);
    if (::connect(socket_, address, size) != 0) {
      ::close(socket_);
      throw std::runtime_error("connect");
    }
  }

 public:
  Client(Client&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)),
        received_(std::move(other.received_)),
        next_chunk_(other.next_chunk_) {}
  Client& operator=(Client&&) = delete;
  ~Client() {
    if (socket_ >= 0) ::close(socket_);
  }

  Client& send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) throw std::runtime_error("send");
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return *this;
  }

  /// Everything up to the end of the stream. A reset, or silence for five seconds, throws.
  std::string receive() {
    while (receive_some()) {
    }
    return std::exchange(received_, {});
  }

  /// Up to this much of what is there already.
  std::size_t receive_some(std::span<char> into) {
    pollfd waited{socket_, POLLIN, 0};
    if (::poll(&waited, 1, 5000) != 1) throw std::runtime_error("silence");
    const auto count = ::recv(socket_, into.data(), into.size(), 0);
    if (count < 0) throw std::runtime_error("reset");
    return static_cast<std::size_t>(count);
  }

  /// One answer, and no more. Throws as well when the connection ends before the answer does.
  Answer answer(bool is_head = false) {
    for (;;) {
      const auto size = size_of_answer(is_head);
      if (size != std::string::npos) {
        Answer answer = parse(received_.substr(0, size), is_head);
        received_.erase(0, size);
        next_chunk_ = 0;
        return answer;
      }
      if (!receive_some()) throw std::runtime_error("the answer is not whole");
    }
  }

  /// Whether the endpoint closes the connection within a second and a half, with nothing more to read.
  bool is_closed() {
    pollfd waited{socket_, POLLIN, 0};
    char byte = 0;
    return received_.empty() && ::poll(&waited, 1, 1500) == 1 && ::recv(socket_, &byte, 1, 0) <= 0;
  }

  /// Says that nothing more will come.
  Client& finish() {
    ::shutdown(socket_, SHUT_WR);
    return *this;
  }

  /// Breaks the connection off.
  void reset() {
    constexpr linger discard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &discard, sizeof discard);
    ::close(std::exchange(socket_, -1));
  }

  /// Whether there is something to read, or the connection has ended.
  bool is_ready() const {
    pollfd polled{socket_, POLLIN, 0};
    return ::poll(&polled, 1, 0) == 1;
  }

  bool is_reset() const {
    pollfd polled{socket_, 0, 0};
    return ::poll(&polled, 1, 0) == 1 && (polled.revents & POLLERR) != 0;
  }

 private:
  /// Of the answer that comes first in what is received, or npos when it is not whole.
  std::size_t size_of_answer(bool is_head) {
    const auto end = received_.find("\r\n\r\n");
    if (end == std::string::npos) return end;
    const Answer head = parse(received_.substr(0, end + 4), true);
    if (is_head) return end + 4;
    if (head.all("Transfer-Encoding").empty()) {
      const std::size_t size = end + 4 + std::strtoul(head.header("Content-Length").c_str(), nullptr, 10);
      return received_.size() < size ? std::string::npos : size;
    }
    if (next_chunk_ == 0) next_chunk_ = end + 4;
    for (;;) {
      const Chunk chunk = chunk_at(received_, next_chunk_);
      if (chunk.end == std::string::npos || chunk.size == 0) return chunk.end;
      next_chunk_ = chunk.end;
    }
  }

  bool receive_some() {
    char chunk[65536];
    const auto count = receive_some(std::span<char>(chunk));
    received_.append(chunk, count);
    return count > 0;
  }

  int socket_;
  std::string received_;
  std::size_t next_chunk_ = 0;  // of the answer that is being received; 0 before the first
};

/// Sends `request_line` and `fields`, each with its "\r\n", and reads to the end.
inline Answer ask(std::uint16_t port, const std::string& request_line, const std::string& fields = "") {
  const std::string head = request_line + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields + "\r\n";
  return parse(Client(port).send(head).receive(), request_line.rfind("HEAD ", 0) == 0);
}
inline Answer ask(const quipu::Exposer& exposer, const std::string& request_line, const std::string& fields = "") {
  return ask(exposer.port(), request_line, fields);
}

/// A page that is there already, as a stream of one piece.
class WholePage final : public quipu::PageStream {
 public:
  explicit WholePage(quipu::Page page) : page_(std::move(page)) {}

  [[nodiscard]] std::string_view content_type() const noexcept override { return page_.content_type; }
  [[nodiscard]] std::string_view next() override {
    return std::exchange(is_taken_, true) ? std::string_view() : std::string_view(page_.body);
  }

 private:
  const quipu::Page page_;
  bool is_taken_ = false;
};

inline std::unique_ptr<quipu::PageStream> stream_of(quipu::Page page) {
  return std::make_unique<WholePage>(std::move(page));
}

/// A source of whole pages, each made from the Accept header.
template <class Make>
quipu::PageSource pages(Make make) {
  return [make](const quipu::ScrapeRequest& request) { return stream_of(make(request.accept)); };
}

inline quipu::Page small_page(std::string_view = {}) { return {std::string(text_type), "up 1\n"}; }

inline quipu::Page echo_of_accept(std::string_view accept) {
  return {std::string(text_type), "accept=" + std::string(accept) + "\n"};
}

/// A page of `count` pieces, the numbers from 0 on. `before` is called with each before it is made.
class Pieces final : public quipu::PageStream {
 public:
  Pieces(
      int count, std::size_t piece_size, std::function<void(int)> before = [](int) {})
      : count_(count), piece_size_(piece_size), before_(std::move(before)) {}

  [[nodiscard]] std::string_view content_type() const noexcept override { return text_type; }
  [[nodiscard]] std::string_view next() override {
    if (next_ == count_) return {};
    before_(next_);
    piece_ = piece(next_++, piece_size_);
    return piece_;
  }

  static std::string piece(int number, std::size_t size) {
    std::string piece = "piece " + std::to_string(number) + '\n';
    piece.reserve(2 * size + piece.size());
    while (piece.size() < size) piece += piece;
    piece.resize(size);
    return piece;
  }
  static std::string whole(int count, std::size_t piece_size) {
    std::string whole;
    for (int i = 0; i < count; ++i) whole += piece(i, piece_size);
    return whole;
  }

 private:
  const int count_;
  const std::size_t piece_size_;
  const std::function<void(int)> before_;
  int next_ = 0;
  std::string piece_;
};

inline quipu::PageSource pieces(
    int count, std::size_t piece_size, std::function<void(int)> before = [](int) {}) {
  return [=](const quipu::ScrapeRequest&) { return std::make_unique<Pieces>(count, piece_size, before); };
}

}  // namespace http_client

// The HTTP endpoint, asked over the loopback by a client that does no more than it has to. Both are on one processor,
// so the figures are all that both, and the system, have to do for a request.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <httplib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <quipu/exposer.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "pages.hpp"
#include "rows.hpp"

namespace bench {
namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) fail("send");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

enum class Keep { nothing, connection };

/// Asks for /metrics, over a new connection each time, or over one as long as the server keeps it. Thread-compatible.
class Client {
 public:
  Client(std::uint16_t port, Keep keep)
      : port_(port),
        keeps_(keep == Keep::connection),
        request_(fmt::format("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n", port,
                             keeps_ ? "" : "Connection: close\r\n")) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { disconnect(); }

  /// One request and its whole answer, of which it returns how long the body is. Throws if there is no such answer.
  std::size_t get() {
    const bool is_used = socket_ >= 0;
    try {
      return ask();
    } catch (const std::runtime_error&) {
      // The server may have closed a connection that it had kept.
      disconnect();
      if (!is_used) throw;
    }
    return ask();
  }

 private:
  std::size_t ask() {
    if (socket_ < 0) connect();
    send_all(socket_, request_);
    begin_ = end_ = 0;
    const Head head = read_head();
    std::size_t size = head.length;
    if (head.is_chunked) {
      size = skip_chunks();
    } else {
      skip(size);
    }
    if (!keeps_ || head.is_last) disconnect();
    return size;
  }

  void connect() {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) fail("socket");
    constexpr int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    constexpr timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const sockaddr_in address = loopback(port_);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
  }

  void disconnect() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  struct Head {
    std::size_t length = 0;
    bool is_chunked = false;
    bool is_last = false;  // before the server closes the connection
  };

  Head read_head() {
    std::size_t size = std::string_view::npos;
    while (size == std::string_view::npos) {
      const std::size_t looked_at = end_ < 3 ? 0 : end_ - 3;
      receive();
      size = received().find("\r\n\r\n", looked_at);
    }
    std::string_view text = received().substr(0, size + 2);
    begin_ = size + 4;
    if (!text.starts_with("HTTP/1.1 200 ")) throw std::runtime_error("the answer is not a page");

    Head head;
    bool has_length = false;
    text.remove_prefix(text.find('\n') + 1);
    for (; !text.empty(); text.remove_prefix(text.find('\n') + 1)) {
      const std::string_view line = text.substr(0, text.find('\r'));
      if (const auto value = value_of(line, "content-length"); !value.empty()) {
        std::from_chars(value.data(), value.data() + value.size(), head.length);
        has_length = true;
      } else if (value_of(line, "transfer-encoding") == "chunked") {
        head.is_chunked = true;
      } else if (value_of(line, "connection") == "close") {
        head.is_last = true;
      }
    }
    if (!has_length && !head.is_chunked) throw std::runtime_error("the answer does not say how long it is");
    return head;
  }

  /// Empty if the header has another name.
  static std::string_view value_of(std::string_view line, std::string_view lower_case_name) {
    const std::string_view name = line.substr(0, line.find(':'));
    const bool is_it =
        std::ranges::equal(name, lower_case_name, [](char c, char lower) { return (c | 0x20) == lower || c == lower; });
    if (!is_it || name.size() == line.size()) return {};
    line.remove_prefix(name.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    return line;
  }

  std::size_t skip_chunks() {
    std::size_t whole = 0;
    for (std::size_t size = chunk_size(); size > 0; size = chunk_size()) {
      skip(size);
      skip_line();
      whole += size;
    }
    while (skip_line() > 0) {  // trailers
    }
    return whole;
  }

  std::size_t chunk_size() {
    std::size_t size = 0;
    bool is_digit = true;  // an extension may follow
    for (char c = next(); c != '\n'; c = next()) {
      unsigned digit = 0;
      is_digit = is_digit && std::from_chars(&c, &c + 1, digit, 16).ec == std::errc();
      if (is_digit) size = size * 16 + digit;
    }
    return size;
  }

  /// How long it is, without its end.
  std::size_t skip_line() {
    std::size_t size = 0;
    for (char c = next(); c != '\n'; c = next()) size += c != '\r';
    return size;
  }

  char next() {
    if (begin_ == end_) receive_anew();
    return buffer_[begin_++];
  }

  void skip(std::size_t count) {
    for (;;) {
      const std::size_t taken = std::min(count, end_ - begin_);
      begin_ += taken;
      count -= taken;
      if (count == 0) return;
      receive_anew();
    }
  }

  void receive_anew() {
    begin_ = end_ = 0;
    receive();
  }

  void receive() {
    const ssize_t count = ::recv(socket_, buffer_.data() + end_, buffer_.size() - end_, 0);
    if (count < 0) fail("recv");
    if (count == 0) throw std::runtime_error("the answer ends before its end");
    end_ += static_cast<std::size_t>(count);
  }

  [[nodiscard]] std::string_view received() const { return {buffer_.data(), end_}; }

  const std::uint16_t port_;
  const bool keeps_;
  const std::string request_;
  int socket_ = -1;
  // What was received and not looked at yet.
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::array<char, std::size_t{64} * 1024> buffer_;
};

/// Requests to a server whose pages have so many bytes.
Body ask(std::uint16_t port, std::size_t bytes, Keep keep = Keep::nothing) {
  auto& client = *new Client(port, keep);
  return each([&client, bytes](std::size_t) {
    if (client.get() != bytes) throw std::runtime_error("the endpoint has sent another page");
  });
}

// Servers are never stopped: their threads end with the process.

/// What rows ask for: a registry, its page, and an endpoint for it.
struct Served {
  explicit Served(void (*fill)(const quipu::Registry&)) {
    fill(registry);
    page = quipu::render(registry);
  }
  const quipu::Registry registry = bare_registry();
  quipu::Page page;
  quipu::Exposer exposer{registry, {.listen = "127.0.0.1:0"}};
};

/// About 1 KiB.
const Served& small() {
  static const auto& made = *new Served([](const quipu::Registry& registry) { add_counters(registry, 10); });
  return made;
}

constexpr std::size_t large_counters = 10'000;
constexpr std::size_t large_histograms = 1'000;

/// About 2 MB.
const Served& large() {
  static const auto& made = *new Served([](const quipu::Registry& registry) {
    add_counters(registry, large_counters);
    add_histograms(registry, large_histograms);
    expect(registry, {.lines = large_counters + large_histograms * lines_of_histogram});
  });
  return made;
}

Body ask_small(Keep keep) { return ask(small().exposer.port(), small().page.body.size(), keep); }

/// httplib's own server, which answers the small page without making it.
Body ask_bare_server(Keep keep) {
  static const int port = [] {
    auto& server = *new httplib::Server;
    server.Get("/metrics", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(small().page.body, small().page.content_type);
    });
    server.set_tcp_nodelay(true);
    server.set_keep_alive_max_count(std::numeric_limits<int>::max());
    server.set_keep_alive_timeout(60);
    const int bound = server.bind_to_any_port("127.0.0.1");
    if (bound < 0) throw std::runtime_error("httplib cannot listen");
    std::thread([&server] { server.listen_after_bind(); }).detach();
    return bound;
  }();
  return ask(static_cast<std::uint16_t>(port), small().page.body.size(), keep);
}

/// Sends `answer` to each client, whatever it asks.
[[noreturn]] void answer_always(int listener, const std::string& answer) {
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    std::array<char, 4096> request;
    if (::recv(client, request.data(), request.size(), 0) > 0) send_all(client, answer);
    ::close(client);
  }
}

Body ask_bare_socket() {
  const std::string& page = large().page.body;
  const auto& answer =
      *new std::string(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", page.size(), page));
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, any, size) != 0 || ::listen(listener, SOMAXCONN) != 0 ||
      ::getsockname(listener, any, &size) != 0) {
    fail("listen");
  }
  std::thread([listener, &answer] { answer_always(listener, answer); }).detach();
  return ask(ntohs(address.sin_port), page.size());
}

}  // namespace

std::vector<Row> endpoint_rows() {
  return {
      {.name = "endpoint_small", .baselines = "H", .make = [] { return ask_small(Keep::nothing); }, .waits = true},
      {.name = "endpoint_small_keep_alive",
       .baselines = "K",
       .make = [] { return ask_small(Keep::connection); },
       .waits = true},
      {.name = "endpoint_large",
       .baselines = "R",
       .make = [] { return ask(large().exposer.port(), large().page.body.size()); },
       .working_set = 1,
       .waits = true},
      {.name = "endpoint_large_floor", .baselines = "R", .make = ask_bare_socket, .working_set = 1, .waits = true},
  };
}

std::vector<Baseline> endpoint_baselines() {
  return {
      {.letter = 'H',
       .threads = 1,
       .what = "a request to httplib's own server, which answers the same without making it",
       .make = [] { return ask_bare_server(Keep::nothing); },
       .waits = true},
      {.letter = 'K',
       .threads = 1,
       .what = "the same over one connection",
       .make = [] { return ask_bare_server(Keep::connection); },
       .waits = true},
      {.letter = 'R',
       .threads = 1,
       .what = "making the page of endpoint_large",
       .make = [] { return scraping(large().registry); },
       .working_set = 1},
  };
}

}  // namespace bench

#include "quipu/exposer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <httplib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

// The division of work: this file owns the sockets and the threads; httplib understands the request line and words the
// answer. httplib's own listener is not used, because it cannot be stopped while a client keeps it waiting, gives no
// reason when it cannot bind, and stops for good at some errors of accept(). Of a request, httplib sees the first line
// and no header, so that none of what it does by header happens here, whatever its version: ranges (thousands of
// overlapping ones make 0.11 answer with megabytes), compression, bodies, 100-continue, WebSockets, and 400 for an
// Accept header that it does not like.

namespace quipu {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Scrapes are few and a page is made in milliseconds; who finds every thread busy waits in the backlog.
constexpr int thread_count = 4;
constexpr int backlog = 64;

// A scraper's request is under 1 KiB. A browser may add some KiB of cookies that belong to "localhost".
constexpr std::size_t max_head_bytes = std::size_t{16} * 1024;
// A client that goes on sending after its request's head is listened to for this long and this much, so that closing
// does not reset the connection before the client has read the answer.
constexpr auto linger_time = 500ms;
constexpr std::size_t max_linger_bytes = std::size_t{256} * 1024;

constexpr auto head_time = 2s;         // for the whole head, so a client that trickles does not get more
constexpr auto answer_time = 30s;      // for sending the answer; scrapers give up after 10 s by default
constexpr auto stopping_time = 300ms;  // what is left of answer_time once stop() is called
constexpr auto scarcity_pause = 50ms;  // before the next accept() when the process is out of descriptors or memory

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { reset(); }

  void reset() noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

void set_option(int socket, int level, int option, int value) {
  // Refusals are harmless: each of the options used here only improves something.
  ::setsockopt(socket, level, option, &value, sizeof value);
}

enum class Ready { yes, stopping, too_late };

/// Waits until one of `events` happens on `descriptor`, or `stop_signal` (a descriptor, or -1 for none) is readable.
Ready wait(int descriptor, short events, int stop_signal, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    std::array<pollfd, 2> polled{{{descriptor, events, 0}, {stop_signal, POLLIN, 0}}};
    const int count = ::poll(polled.data(), polled.size(), static_cast<int>(std::clamp<long long>(left, 0, 60'000)));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Ready::too_late;
    return polled[1].revents != 0 ? Ready::stopping : Ready::yes;
  }
}

// ---- Where to listen ----

struct Address {
  std::string host;  // "" for every address of this machine; an IPv6 literal without its brackets
  std::string port;
  bool is_ipv6_literal = false;
};

Address parse_address(std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return ListenError(fmt::format("listen address \"{}\": {}", text, reason));
  };
  Address address;
  const auto colon = text.rfind(':');
  if (colon == text.npos || text.find('\0') != text.npos) throw fail("expected HOST:PORT");
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') || host.ends_with(']')) {
    if (host.size() < 3 || !host.starts_with('[') || !host.ends_with(']')) throw fail("expected [IPv6 address]:PORT");
    host = host.substr(1, host.size() - 2);
    address.is_ipv6_literal = true;
  } else if (host.find(':') != host.npos) {
    throw fail("expected HOST:PORT, with brackets around an IPv6 address");
  }
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) throw fail("the port is a number from 0 to 65535");
  address.host = host;
  address.port = fmt::format("{}", port);
  return address;
}

std::string checked_path(std::string_view path) {
  static constexpr std::string_view punctuation = "-._~!$&'()*+,;=:@/";
  const bool in_alphabet = std::all_of(path.begin(), path.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           punctuation.find(c) != punctuation.npos;
  });
  if (!path.starts_with('/') || path == "/" || !in_alphabet) {
    throw ListenError(fmt::format(
        "path \"{}\": expected '/' and then at least one letter, digit or other character of URL paths, without '%'",
        path));
  }
  return std::string(path);
}

struct AddressList {
  AddressList() = default;
  AddressList(const AddressList&) = delete;
  AddressList& operator=(const AddressList&) = delete;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
  addrinfo* first = nullptr;
};

/// A listening socket, or an errno.
struct Attempt {
  Descriptor socket;
  int error = 0;
};

Attempt listen_on(int family, const sockaddr* address, socklen_t size) {
  Attempt attempt{Descriptor(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), 0};
  const int socket = attempt.socket.get();
  const auto failed = [&attempt] {
    attempt.error = errno;
    attempt.socket.reset();
  };
  if (!attempt.socket) {
    failed();
    return attempt;
  }
  // A restarted program gets its port back at once. SO_REUSEPORT, in contrast, would let two programs share a port, and
  // a scraper would meet either.
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  if (family == AF_INET6) set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  // Of two sockets that are bound at the same moment, only listen() tells the second.
  if (::bind(socket, address, size) != 0 || ::listen(socket, backlog) != 0) failed();
  return attempt;
}

bool is_absent_here(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT; }

Attempt listen_everywhere(const Address& address) {
  const auto port = static_cast<in_port_t>(std::stoi(address.port));
  sockaddr_in6 ipv6{};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(port);
  ipv6.sin6_addr = in6addr_any;
  Attempt attempt = listen_on(AF_INET6, reinterpret_cast<const sockaddr*>(&ipv6), sizeof ipv6);
  if (attempt.socket || !is_absent_here(attempt.error)) return attempt;
  sockaddr_in ipv4{};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(port);
  ipv4.sin_addr.s_addr = htonl(INADDR_ANY);
  return listen_on(AF_INET, reinterpret_cast<const sockaddr*>(&ipv4), sizeof ipv4);
}

Descriptor listen_at(const Address& address, std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return ListenError(fmt::format("cannot listen on \"{}\": {}", text, reason));
  };
  Attempt attempt;
  if (address.host.empty()) {
    attempt = listen_everywhere(address);
  } else {
    addrinfo hints{};
    hints.ai_family = address.is_ipv6_literal ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV | (address.is_ipv6_literal ? AI_NUMERICHOST : 0);
    AddressList list;
    // "localhost" is this machine, whatever the resolver knows (RFC 6761, 6.3), and a bare one may not know it.
    const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
    const int error = ::getaddrinfo(host.c_str(), address.port.c_str(), &hints, &list.first);
    if (error == EAI_SYSTEM) throw fail(std::generic_category().message(errno));
    if (error != 0) throw fail(::gai_strerror(error));
    // Of a name with several addresses an IPv4 one is taken, for the users' habits. The next one is tried only if this
    // machine does not have that one: a port that is in use must be reported, not evaded.
    attempt.error = EADDRNOTAVAIL;
    for (const int family : {AF_INET, AF_INET6}) {
      for (const addrinfo* entry = list.first; entry != nullptr; entry = entry->ai_next) {
        if (attempt.socket || !is_absent_here(attempt.error) || entry->ai_family != family) continue;
        attempt = listen_on(family, entry->ai_addr, entry->ai_addrlen);
      }
    }
  }
  if (!attempt.socket) throw fail(std::generic_category().message(attempt.error));
  return std::move(attempt.socket);
}

struct LocalAddress {
  std::uint16_t port = 0;
  bool is_wildcard = false;
};

LocalAddress local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  if (storage.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(storage);
    return {ntohs(ipv6.sin6_port), IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr) != 0};
  }
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(storage);
  return {ntohs(ipv4.sin_port), ipv4.sin_addr.s_addr == htonl(INADDR_ANY)};
}

// ---- One connection ----

/// What of a request matters here.
struct Head {
  std::string line;    // "GET /metrics HTTP/1.1"
  std::string accept;  // every Accept header of the request as one list
  int refusal = 0;     // the status to answer with, or 0 when the request is as it should be
};

/// The value of the header field in `line`, if it has the name asked for.
std::optional<std::string_view> field_value(std::string_view line, std::string_view lower_case_name) {
  const auto colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  const bool is_wanted =
      colon != line.npos &&
      std::equal(name.begin(), name.end(), lower_case_name.begin(), lower_case_name.end(),
                 [](char c, char lower) { return c == lower || (c >= 'A' && c <= 'Z' && c - 'A' + 'a' == lower); });
  if (!is_wanted) return std::nullopt;
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  return value.substr(0, value.find_last_not_of(" \t") + 1);
}

/// What stands for a request that is not to be looked at any further.
Head refused(std::string_view line, int status) {
  return {.line = line.starts_with("HEAD ") ? "HEAD / HTTP/1.1" : "GET / HTTP/1.1", .accept = {}, .refusal = status};
}

/// Takes the next line, without its end, off the front of `text`.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

Head parse_head(std::string_view text) {
  Head head{.line = std::string(take_line(text)), .accept = {}, .refusal = 0};
  while (!text.empty()) {
    if (const auto accept = field_value(take_line(text), "accept")) {
      if (!head.accept.empty()) head.accept += ", ";
      head.accept += *accept;
    }
  }
  const bool is_http = head.line.ends_with(" HTTP/1.1") || head.line.ends_with(" HTTP/1.0");
  if (is_http && !head.line.starts_with("GET ") && !head.line.starts_with("HEAD ")) return refused(head.line, 405);
  return head;
}

/// One past the empty line that ends a head, or npos.
std::size_t end_of_head(std::string_view data) {
  for (auto at = data.find('\n'); at != data.npos; at = data.find('\n', at + 1)) {
    const std::string_view rest = data.substr(at + 1);
    if (rest.starts_with('\n')) return at + 2;
    if (rest.starts_with("\r\n")) return at + 3;
  }
  return data.npos;
}

/// An accepted connection, and httplib's view of it: reading gives the request line and an empty header block.
/// Every wait has a deadline and ends when the server stops. Single-threaded.
///
/// `override` is missing on purpose: the set of virtual functions differs between the versions of httplib.
class Connection final : public httplib::Stream {
 public:
  Connection(Descriptor socket, int stop_signal) : socket_(std::move(socket)), stop_signal_(stop_signal) {}

  /// Nothing if the client went away, took too long, or the server stops.
  std::optional<Head> read_head() {
    std::string data;
    const auto deadline = Clock::now() + head_time;
    for (;;) {
      if (const auto end = end_of_head(data); end != data.npos)
        return parse_head(std::string_view(data).substr(0, end));
      if (data.size() >= max_head_bytes) {
        return refused(data, data.find('\n') == data.npos ? 414 : 431);
      }
      std::array<char, 4096> chunk;
      const auto count = receive(chunk, deadline);
      if (count == 0) return std::nullopt;
      data.append(chunk.data(), count);
    }
  }

  /// Lets httplib read a request of this line alone.
  void present(std::string_view request_line) {
    presented_ = fmt::format("{}\r\n\r\n", request_line);
    presented_at_ = 0;
  }

  /// Says that the answer is complete, and waits for the client to close the connection.
  void finish() {
    ::shutdown(socket_.get(), SHUT_WR);
    const auto deadline = Clock::now() + linger_time;
    std::array<char, 4096> chunk;
    std::size_t total = 0;
    while (total < max_linger_bytes) {
      const auto count = receive(chunk, deadline);
      if (count == 0) return;
      total += count;
    }
  }

  ssize_t read(char* data, std::size_t size) {
    const auto count = presented_.copy(data, size, presented_at_);
    presented_at_ += count;
    return static_cast<ssize_t>(count);
  }

  /// Writes all of it or fails.
  ssize_t write(const char* data, std::size_t size) {
    auto deadline = Clock::now() + answer_time;
    for (std::size_t sent = 0; sent < size;) {
      const ssize_t count = ::send(socket_.get(), data + sent, size - sent, MSG_NOSIGNAL);
      if (count >= 0) {
        sent += static_cast<std::size_t>(count);
      } else if (errno != EINTR && (!is_full(errno) || !wait_until_writable(deadline))) {
        return -1;
      }
    }
    return static_cast<ssize_t>(size);
  }

  bool is_readable() const { return true; }
  bool is_writable() const { return true; }
  bool wait_readable() const { return true; }
  bool wait_writable() const { return true; }
  bool is_peer_alive() const { return true; }
  void get_remote_ip_and_port(std::string&, int&) const {}
  void get_local_ip_and_port(std::string&, int&) const {}
  // httplib has no business with it; 0.11 would answer 500 for a number of 1024 or more.
  socket_t socket() const { return INVALID_SOCKET; }
  time_t duration() const { return 0; }

 private:
  static bool is_full(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

  /// 0 at the end of the stream, and for every other reason to stop reading.
  std::size_t receive(std::span<char> buffer, Clock::time_point deadline) {
    while (wait(socket_.get(), POLLIN, stop_signal_, deadline) == Ready::yes) {
      const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (count >= 0) return static_cast<std::size_t>(count);
      if (errno != EINTR && !is_full(errno)) break;
    }
    return 0;
  }

  bool wait_until_writable(Clock::time_point& deadline) const {
    constexpr int no_signal = -1;
    const bool is_shortened = deadline <= Clock::now() + stopping_time;
    auto ready = wait(socket_.get(), POLLOUT, is_shortened ? no_signal : stop_signal_, deadline);
    if (ready == Ready::stopping) {
      deadline = Clock::now() + stopping_time;
      ready = wait(socket_.get(), POLLOUT, no_signal, deadline);
    }
    return ready == Ready::yes;
  }

  Descriptor socket_;
  int stop_signal_;
  std::string presented_;
  std::size_t presented_at_ = 0;
};

// ---- Answers ----

std::string landing_page(std::string_view path) {
  std::string link;
  for (const char c : path) {
    if (c == '&') {
      link += "&amp;";
    } else {
      link += c;
    }
  }
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Metrics</title></head>\n"
      "<body><p><a href=\"{}\">Metrics</a></p></body>\n</html>\n",
      link);
}

std::string_view message(int status) {
  switch (status) {
    case 404:
      return "Not found.\n";
    case 405:
      return "Only GET and HEAD are allowed here.\n";
    case 414:
      return "The address is too long.\n";
    case 431:
      return "The header is too long.\n";
    case 500:
      return "The page could not be made.\n";
    default:
      return "The request could not be understood.\n";
  }
}

void put(httplib::Response& response, int status, const std::string& content_type, std::string body) {
  response.status = status;
  response.headers.clear();
  response.set_header("Content-Type", content_type);
  // Said on every answer, because httplib otherwise says "bytes", and on the answers to HEAD alone.
  response.set_header("Accept-Ranges", "none");
  response.body = std::move(body);
}

void put_error(httplib::Response& response, int status) {
  put(response, status, "text/plain; charset=utf-8", std::string(message(status)));
  if (status == 405) response.set_header("Allow", "GET, HEAD");
}

/// One thread's use of httplib: understands a request line, and words the answer. Thread-compatible: each thread has
/// its own, so that the handlers find the request at hand in a member.
class Answerer : private httplib::Server {
 public:
  Answerer(const PageSource& source, std::string_view path)
      : source_(source), path_(path), landing_(landing_page(path)) {
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      word(request, response);
      return HandlerResponse::Handled;
    });
    // What httplib itself refuses.
    set_error_handler(HandlerWithResponse([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) put_error(response, response.status);
      return HandlerResponse::Handled;
    }));
    // Without this one, some versions put the text of the exception into a header.
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) { put_error(response, 500); });
  }

  void answer(Connection& connection, const Head& head) {
    head_ = &head;
    connection.present(head.line);
    process(*this, connection);
  }

 private:
  /// A template so that only the call that this version of httplib has is compiled.
  template <class Self>
  static void process(Self& self, httplib::Stream& stream) {
    const std::function<void(httplib::Request&)> no_setup;
    constexpr bool close_connection = true;
    bool is_closed = false;
    if constexpr (requires { self.process_request(stream, close_connection, is_closed, no_setup); }) {
      self.process_request(stream, close_connection, is_closed, no_setup);
    } else {
      const std::string unknown;
      self.process_request(stream, unknown, 0, unknown, 0, close_connection, is_closed, no_setup);
    }
  }

  void word(const httplib::Request& request, httplib::Response& response) const {
    if (head_->refusal != 0) {
      put_error(response, head_->refusal);
    } else if (request.path == path_) {
      Page page = source_(head_->accept);
      put(response, 200, page.content_type, std::move(page.body));
      response.set_header("Vary", "Accept");
    } else if (request.path == "/") {
      put(response, 200, "text/html; charset=utf-8", landing_);
    } else {
      put_error(response, 404);
    }
  }

  const PageSource& source_;
  const std::string path_;
  const std::string landing_;
  const Head* head_ = nullptr;
};

/// httplib's constructor makes the whole process ignore SIGPIPE. That is for the program to decide, and not needed here
/// (see MSG_NOSIGNAL), so this puts back what was. A program that changes its handler in another thread at this very
/// moment may find its change undone.
class SigpipeKept {
 public:
  SigpipeKept() : lock_(mutex()) { ::sigaction(SIGPIPE, nullptr, &before_); }
  SigpipeKept(const SigpipeKept&) = delete;
  SigpipeKept& operator=(const SigpipeKept&) = delete;
  ~SigpipeKept() { ::sigaction(SIGPIPE, &before_, nullptr); }

 private:
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }
  std::lock_guard<std::mutex> lock_;
  struct sigaction before_ {};
};

/// Keeps signals meant for the program away from the threads started during its life. The signals of a thread's own
/// faults are left as they are, for the program's crash reports.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t signals;
    ::sigfillset(&signals);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&signals, fault);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

}  // namespace

/// A few threads that each accept a connection, answer its one request, and close it. There is no queue but the
/// kernel's. Stopping makes one pipe readable, which every wait watches.
class Exposer::Server {
 public:
  Server(PageSource source, const ExposerOptions& options) : source_(std::move(source)) {
    const std::string path = checked_path(options.path);
    const Address address = parse_address(options.listen);
    listener_ = listen_at(address, options.listen);
    const LocalAddress local = local_address(listener_.get());
    port_ = local.port;
    url_ = fmt::format("http://{}:{}{}", host_in_url(address, local), port_, path);
    try {
      open_stop_pipe();
      start_threads(path);
    } catch (const std::system_error& error) {
      stop();
      throw ListenError(fmt::format("cannot listen on \"{}\": {}", options.listen, error.code().message()));
    } catch (...) {
      stop();
      throw;
    }
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { stop(); }

  void stop() noexcept {
    const std::lock_guard lock(stopping_);
    if (!listener_) return;
    if (::getpid() != owner_) {
      // A forked child has none of the threads, and shares the sockets with its parent, which goes on.
      listener_.reset();
      static_cast<void>(workers_.release());
      return;
    }
    const char anything = 0;
    while (::write(stop_writer_.get(), &anything, 1) < 0 && errno == EINTR) {
    }
    ::shutdown(listener_.get(), SHUT_RDWR);  // refuses clients while the last answers are sent
    for (Worker& worker : *workers_) {
      if (worker.thread.joinable()) worker.thread.join();
    }
    listener_.reset();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  struct Worker {
    Worker(const PageSource& source, const std::string& path) : answerer(source, path) {}
    Answerer answerer;
    std::thread thread;
  };

  static std::string host_in_url(const Address& address, const LocalAddress& local) {
    if (local.is_wildcard) return "127.0.0.1";
    return address.is_ipv6_literal ? fmt::format("[{}]", address.host) : address.host;
  }

  void open_stop_pipe() {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category());
    stop_reader_ = Descriptor(ends[0]);
    stop_writer_ = Descriptor(ends[1]);
  }

  void start_threads(const std::string& path) {
    {
      const SigpipeKept kept;
      for (int i = 0; i < thread_count; ++i) workers_->emplace_back(source_, path);
    }
    const SignalsBlocked blocked;
    for (Worker& worker : *workers_) {
      worker.thread = std::thread([this, &answerer = worker.answerer] { work(answerer); });
    }
  }

  void work(Answerer& answerer) const noexcept {
#ifdef __linux__
    ::pthread_setname_np(::pthread_self(), "quipu-endpoint");
#endif
    constexpr auto no_deadline = Clock::time_point::max();
    for (;;) {
      const Ready ready = wait(listener_.get(), POLLIN, stop_reader_.get(), no_deadline);
      if (ready == Ready::stopping) return;
      if (ready == Ready::too_late) continue;
      Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket) {
        serve(std::move(socket), answerer);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        wait(-1, 0, stop_reader_.get(), Clock::now() + scarcity_pause);
      }
      // Other errors concern one connection, which another thread took or its client gave up.
    }
  }

  void serve(Descriptor socket, Answerer& answerer) const noexcept try {
    // Head and body are two writes; without this, the second one may wait for the client's delayed acknowledgement.
    set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    Connection connection(std::move(socket), stop_reader_.get());
    if (const auto head = connection.read_head()) {
      answerer.answer(connection, *head);
      connection.finish();
    }
  } catch (...) {
    // Out of memory, then. The client sees the connection closed without an answer, which a scraper counts as a
    // failure.
  }

  const PageSource source_;
  std::uint16_t port_ = 0;
  std::string url_;
  const pid_t owner_ = ::getpid();

  std::mutex stopping_;
  Descriptor listener_;
  Descriptor stop_reader_;
  Descriptor stop_writer_;
  std::unique_ptr<std::list<Worker>> workers_ = std::make_unique<std::list<Worker>>();
};

Exposer::Exposer(PageSource source, ExposerOptions options)
    : server_(std::make_unique<Server>(std::move(source), options)) {}
Exposer::Exposer(const Registry& registry, ExposerOptions options) : Exposer(page_source(registry), options) {}
Exposer::Exposer(Exposer&&) noexcept = default;
Exposer& Exposer::operator=(Exposer&&) noexcept = default;
Exposer::~Exposer() = default;

std::uint16_t Exposer::port() const noexcept { return server_ ? server_->port() : std::uint16_t{0}; }

const std::string& Exposer::url() const noexcept {
  static const std::string none;
  return server_ ? server_->url() : none;
}

void Exposer::stop() noexcept {
  if (server_) server_->stop();
}

}  // namespace quipu

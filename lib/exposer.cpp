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
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "signals_blocked.hpp"

// The division of work: the reception, one thread, does everything with sockets and never waits for one client alone;
// the workers make answers and see no socket. So no client, however slow, can keep another one waiting. httplib, in the
// workers, understands the request line and words the answer. httplib's own listener is not used, because it cannot be
// stopped while a client keeps it waiting, gives no reason when it cannot bind, and stops for good at some errors of
// accept(). Of a request, httplib sees the first line and no header, so that none of what it does by header happens
// here, whatever its version: ranges (thousands of overlapping ones make 0.11 answer with megabytes), compression,
// bodies, 100-continue, WebSockets, and 400 for an Accept header that it does not like.

namespace quipu {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Scrapes are few and a page is made in milliseconds. With the reception it is four threads.
constexpr int worker_count = 3;

// Every connection costs a descriptor, and one whose answer is on its way may cost a page of memory, so each place
// where connections can be has a limit. In all but the queue, a newcomer to a full place is let in, and the connection
// that has been there longest is closed: a scraper passes in milliseconds, so that is one that only waits.
constexpr std::size_t max_reading = 256;   // sent no whole head yet
constexpr std::size_t max_queued = 64;     // waiting for a worker; one more gets busy_answer
constexpr std::size_t max_unsent = 32;     // being sent the answer; "longest" is without taking any of it
constexpr std::size_t max_lingering = 64;  // answered, and not closed by the client
// What the system allows: a client that finds the backlog full tries again only after a second.
constexpr int backlog = SOMAXCONN;
constexpr int accepted_at_once = 64;  // before the others get their turn

// A scraper's request is under 1 KiB. A browser may add some KiB of cookies that belong to "localhost".
constexpr std::size_t max_head_bytes = std::size_t{16} * 1024;
// A client that goes on sending after its request's head is listened to for this long and this much, so that closing
// does not reset the connection before the client has read the answer.
constexpr auto linger_time = 500ms;
constexpr std::size_t max_linger_bytes = std::size_t{256} * 1024;

constexpr auto head_time = 2s;         // for the whole head, so a client that trickles does not get more
constexpr auto answer_time = 30s;      // for sending the answer; scrapers give up after 10 s by default
constexpr auto stall_time = 5s;        // for the client to take some more of the answer
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

// ---- Requests ----

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

/// One past the empty line that ends a head, or npos. Looks for the line break before that line from `from` on.
std::size_t end_of_head(std::string_view data, std::size_t from = 0) {
  for (auto at = data.find('\n', from); at != data.npos; at = data.find('\n', at + 1)) {
    const std::string_view rest = data.substr(at + 1);
    if (rest.starts_with('\n')) return at + 2;
    if (rest.starts_with("\r\n")) return at + 3;
  }
  return data.npos;
}

/// Understands what was received: a head with its end, or the beginning of one that is too long.
Head parse_request(std::string_view data) {
  const auto end = end_of_head(data);
  if (end == data.npos) return refused(data, data.find('\n') == data.npos ? 414 : 431);
  return parse_head(data.substr(0, end));
}

// ---- Answers ----

/// For a request that finds max_queued before it. Right for GET and HEAD alike, and made without a worker.
constexpr std::string_view busy_answer =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// httplib's view of a connection: a request line and an empty header block to read, a string to write to.
///
/// `override` is missing on purpose: the set of virtual functions differs between the versions of httplib.
class Exchange final : public httplib::Stream {
 public:
  explicit Exchange(std::string_view request_line) : request_(fmt::format("{}\r\n\r\n", request_line)) {}

  [[nodiscard]] std::string take_answer() { return std::move(answer_); }

  ssize_t read(char* data, std::size_t size) {
    const auto count = request_.copy(data, size, read_);
    read_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* data, std::size_t size) {
    answer_.append(data, size);
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
  const std::string request_;
  std::size_t read_ = 0;
  std::string answer_;
};

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

  std::string answer(const Head& head) {
    head_ = &head;
    Exchange exchange(head.line);
    process(*this, exchange);
    return exchange.take_answer();
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
      const auto page = source_({.accept = head_->accept});
      std::string body;
      for (auto piece = page->next(); !piece.empty(); piece = page->next()) body += piece;
      put(response, 200, std::string(page->content_type()), std::move(body));
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

// ---- Connections ----

/// One client's connection. It is always in exactly one list, and belongs to the thread that has the list.
struct Connection {
  Descriptor socket;
  Clock::time_point deadline;         // for what is waited for now
  Clock::time_point last_deadline{};  // as far as `deadline` moves when the client takes some of the answer
  std::string bytes{};                // what has come of the head; then the answer
  std::size_t done = 0;               // bytes of the answer that are sent; then bytes that came while lingering
  bool is_ready = false;
};
using Connections = std::list<Connection>;

/// A byte in it wakes the reception.
class WakePipe {
 public:
  void open() {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw std::system_error(errno, std::generic_category());
    reader_ = Descriptor(ends[0]);
    writer_ = Descriptor(ends[1]);
  }
  void wake() const noexcept {
    const char anything = 0;
    // A full pipe wakes as well.
    while (::write(writer_.get(), &anything, 1) < 0 && errno == EINTR) {
    }
  }
  void drain() const noexcept {
    std::array<char, 256> bytes;
    while (::read(reader_.get(), bytes.data(), bytes.size()) > 0) {
    }
  }
  [[nodiscard]] int reader() const noexcept { return reader_.get(); }

 private:
  Descriptor reader_;
  Descriptor writer_;
};

/// Where the reception leaves requests and the workers leave answers.
struct Desk {
  std::mutex mutex;
  std::condition_variable changed;  // a request came, or is_stopping
  Connections requests;
  Connections answered;
  int being_made = 0;  // answers that a worker is at
  bool is_stopping = false;
};

/// The thread that has the sockets: lets clients in, reads their heads, sends them the answers, and sees them off. Each
/// list but `sending_` is in order of arrival; that one is in order of the last byte taken.
class Reception {
 public:
  Reception(int listener, const WakePipe& wake_pipe, Desk& desk)
      : listener_(listener), wake_pipe_(wake_pipe), desk_(desk) {
    polled_.reserve(2 + max_reading + max_unsent + max_lingering);
  }

  /// Until the desk says to stop and the answers that were being made or sent by then are dealt with.
  void run() noexcept {
    while (exchange()) {
      keep(max_unsent, sending_);
      keep(max_lingering, lingering_);
      wait();
      wake_pipe_.drain();
      for_each_ready(reading_, &Reception::read_some);
      for_each_ready(sending_, &Reception::send_some);
      for_each_ready(lingering_, &Reception::linger_some);
      if (has_newcomers_) accept_some();
      const auto is_late = [now = Clock::now()](const Connection& connection) { return connection.deadline <= now; };
      reading_.remove_if(is_late);
      sending_.remove_if(is_late);
      lingering_.remove_if(is_late);
    }
  }

 private:
  using Place = Connections::iterator;

  static bool is_for_later(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

  static void keep(std::size_t limit, Connections& connections) noexcept {
    while (connections.size() > limit) connections.pop_front();
  }

  /// Takes the answers off the desk. False when the work is over.
  bool exchange() noexcept {
    Connections answered;
    int being_made = 0;
    {
      const std::lock_guard lock(desk_.mutex);
      answered.swap(desk_.answered);
      being_made = desk_.being_made;
      is_stopping_ = desk_.is_stopping;
    }
    if (is_stopping_) {
      reading_.clear();
      lingering_.clear();
      for (Connection& connection : sending_) {
        connection.last_deadline = std::min(connection.last_deadline, Clock::now() + stopping_time);
        connection.deadline = std::min(connection.deadline, connection.last_deadline);
      }
    }
    while (!answered.empty()) start_sending(answered, answered.begin());
    return !is_stopping_ || being_made > 0 || !sending_.empty();
  }

  void wait() noexcept {
    const auto now = Clock::now();
    auto until = now + 1min;
    const bool is_accepting = !is_stopping_ && accept_again_ <= now;
    if (!is_stopping_ && !is_accepting) until = std::min(until, accept_again_);
    polled_.clear();
    polled_.push_back({wake_pipe_.reader(), POLLIN, 0});
    polled_.push_back({is_accepting ? listener_ : -1, POLLIN, 0});
    const auto poll_all = [&](const Connections& connections, short events) {
      for (const Connection& connection : connections) {
        polled_.push_back({connection.socket.get(), events, 0});
        until = std::min(until, connection.deadline);
      }
    };
    poll_all(reading_, POLLIN);
    poll_all(sending_, POLLOUT);
    poll_all(lingering_, POLLIN);
    // When poll() fails, nothing is ready.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    ::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), static_cast<int>(std::max<long long>(left, 0)));

    auto result = polled_.begin() + 1;
    has_newcomers_ = (result++)->revents != 0;
    for (Connections* const connections : {&reading_, &sending_, &lingering_}) {
      for (Connection& connection : *connections) connection.is_ready = (result++)->revents != 0;
    }
  }

  /// The steps may move the connection to the end of any list, or close it.
  void for_each_ready(Connections& connections, void (Reception::*step)(Place)) noexcept {
    for (auto next = connections.begin(); next != connections.end();) {
      const auto place = next++;
      if (std::exchange(place->is_ready, false)) (this->*step)(place);
    }
  }

  void accept_some() noexcept {
    for (int i = 0; i < accepted_at_once; ++i) {
      Descriptor socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) relieve_scarcity();
        return;  // other errors: nobody is left, or the client gave up
      }
      // Without this, the end of an answer may wait for the client's delayed acknowledgement.
      set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
      try {
        reading_.push_back({.socket = std::move(socket), .deadline = Clock::now() + head_time});
      } catch (const std::bad_alloc&) {
        return relieve_scarcity();
      }
      // Its head may be there already; a crowd that comes now shall not push it out unread.
      read_some(std::prev(reading_.end()));
      keep(max_reading, reading_);
    }
  }

  void relieve_scarcity() noexcept {
    if (!reading_.empty()) {
      reading_.pop_front();
    } else {
      accept_again_ = Clock::now() + scarcity_pause;
    }
  }

  void read_some(Place place) noexcept try {
    std::string& head = place->bytes;
    std::array<char, 4096> chunk;
    const ssize_t count = ::recv(place->socket.get(), chunk.data(), chunk.size(), 0);
    if (count < 0 && is_for_later(errno)) return;
    if (count <= 0) {
      reading_.erase(place);
      return;
    }
    const std::size_t before = head.size();
    head.append(chunk.data(), static_cast<std::size_t>(count));
    // The line break before the empty line may have come before, with the '\r' of the empty line.
    const bool is_whole = end_of_head(head, before - std::min<std::size_t>(before, 2)) != head.npos;
    if (is_whole || head.size() >= max_head_bytes) request_answer(place);
  } catch (const std::bad_alloc&) {
    reading_.erase(place);
  }

  void request_answer(Place place) {
    {
      const std::lock_guard lock(desk_.mutex);
      if (desk_.requests.size() < max_queued) {
        desk_.requests.splice(desk_.requests.end(), reading_, place);
        desk_.changed.notify_one();
        return;
      }
    }
    place->bytes = busy_answer;
    start_sending(reading_, place);
  }

  void start_sending(Connections& from, Place place) noexcept {
    place->last_deadline = Clock::now() + (is_stopping_ ? Clock::duration(stopping_time) : answer_time);
    place->deadline = std::min(place->last_deadline, Clock::now() + stall_time);
    // Closed with a part of the answer unsent, the kernel forgets that part instead of keeping it for the client.
    constexpr linger forget{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(place->socket.get(), SOL_SOCKET, SO_LINGER, &forget, sizeof forget);
    sending_.splice(sending_.end(), from, place);
    send_some(place);
  }

  /// As much as the kernel takes at once, so that a fast reader of a large page does not keep the others waiting.
  void send_some(Place place) noexcept {
    const std::string_view rest = std::string_view(place->bytes).substr(place->done);
    const ssize_t count = ::send(place->socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (!is_for_later(errno)) sending_.erase(place);
      return;
    }
    place->done += static_cast<std::size_t>(count);
    if (place->done == place->bytes.size()) return start_lingering(place);
    place->deadline = std::min(place->last_deadline, Clock::now() + stall_time);
    sending_.splice(sending_.end(), sending_, place);
  }

  void start_lingering(Place place) noexcept {
    constexpr linger deliver{.l_onoff = 0, .l_linger = 0};
    ::setsockopt(place->socket.get(), SOL_SOCKET, SO_LINGER, &deliver, sizeof deliver);
    ::shutdown(place->socket.get(), SHUT_WR);
    if (is_stopping_) {
      sending_.erase(place);
      return;
    }
    place->bytes = std::string();
    place->done = 0;
    place->deadline = Clock::now() + linger_time;
    lingering_.splice(lingering_.end(), sending_, place);
  }

  void linger_some(Place place) noexcept {
    std::array<char, 4096> chunk;
    const ssize_t count = ::recv(place->socket.get(), chunk.data(), chunk.size(), 0);
    if (count < 0 && is_for_later(errno)) return;
    if (count > 0) place->done += static_cast<std::size_t>(count);
    if (count <= 0 || place->done >= max_linger_bytes) lingering_.erase(place);
  }

  const int listener_;
  const WakePipe& wake_pipe_;
  Desk& desk_;
  bool is_stopping_ = false;
  bool has_newcomers_ = false;
  Clock::time_point accept_again_ = Clock::time_point::min();
  Connections reading_;
  Connections sending_;
  Connections lingering_;
  std::vector<pollfd> polled_;
};

}  // namespace

/// Starts the reception and the workers, and ends them.
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
      wake_pipe_.open();
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
      static_cast<void>(staff_.release());
      return;
    }
    {
      const std::lock_guard desk_lock(staff_->desk.mutex);
      staff_->desk.is_stopping = true;
      staff_->desk.requests.clear();
    }
    staff_->desk.changed.notify_all();
    wake_pipe_.wake();
    ::shutdown(listener_.get(), SHUT_RDWR);  // refuses clients while the last answers are sent
    for (Worker& worker : staff_->workers) {
      if (worker.thread.joinable()) worker.thread.join();
    }
    if (staff_->receptionist.joinable()) staff_->receptionist.join();
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

  /// What must not be destroyed in a forked child, where nobody leaves the condition variable any more.
  struct Staff {
    Desk desk;
    std::list<Worker> workers;
    std::thread receptionist;
  };

  static std::string host_in_url(const Address& address, const LocalAddress& local) {
    if (local.is_wildcard) return "127.0.0.1";
    return address.is_ipv6_literal ? fmt::format("[{}]", address.host) : address.host;
  }

  void start_threads(const std::string& path) {
    {
      const SigpipeKept kept;
      for (int i = 0; i < worker_count; ++i) staff_->workers.emplace_back(source_, path);
    }
    // httplib makes tables at its first request. They are made here, before there are threads, as a thread sanitizer
    // cannot see that a library which is not compiled for it makes them safely.
    static_cast<void>(staff_->workers.front().answerer.answer({.line = "GET / HTTP/1.1", .accept = {}, .refusal = 0}));
    Reception reception(listener_.get(), wake_pipe_, staff_->desk);
    const detail::SignalsBlocked blocked;
    for (Worker& worker : staff_->workers) {
      worker.thread = std::thread([this, &desk = staff_->desk, &answerer = worker.answerer] { work(desk, answerer); });
    }
    staff_->receptionist = std::thread([reception = std::move(reception)]() mutable noexcept {
      name_thread();
      reception.run();
    });
  }

  static void name_thread() noexcept {
#ifdef __linux__
    ::pthread_setname_np(::pthread_self(), "quipu-endpoint");
#endif
  }

  void work(Desk& desk, Answerer& answerer) const noexcept {
    name_thread();
    Connections at_hand;
    std::unique_lock lock(desk.mutex);
    for (;;) {
      desk.changed.wait(lock, [&desk] { return desk.is_stopping || !desk.requests.empty(); });
      if (desk.is_stopping) return;
      at_hand.splice(at_hand.end(), desk.requests, desk.requests.begin());
      ++desk.being_made;
      lock.unlock();
      make_answer(at_hand.front(), answerer);
      lock.lock();
      --desk.being_made;
      desk.answered.splice(desk.answered.end(), at_hand);
      wake_pipe_.wake();
    }
  }

  static void make_answer(Connection& connection, Answerer& answerer) noexcept try {
    connection.bytes = answerer.answer(parse_request(connection.bytes));
  } catch (...) {
    // Out of memory, then. The client sees the connection closed without an answer, which a scraper counts as a
    // failure.
    connection.bytes.clear();
  }

  const PageSource source_;
  std::uint16_t port_ = 0;
  std::string url_;
  const pid_t owner_ = ::getpid();

  std::mutex stopping_;
  Descriptor listener_;
  WakePipe wake_pipe_;
  std::unique_ptr<Staff> staff_ = std::make_unique<Staff>();
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

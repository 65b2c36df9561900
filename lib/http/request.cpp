#include "http/request.hpp"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <exception>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

// httplib understands the request line: the path and the query. Its own listener is not used, because it cannot be
// stopped while a client keeps it waiting, gives no reason when it cannot bind, and stops for good at some errors of
// accept(). Of a request it sees the first line and no header, so that none of what it does by header happens here,
// whatever its version: ranges (thousands of overlapping ones make 0.11 answer with megabytes), compression, bodies,
// 100-continue, WebSockets, and 400 for an Accept header that it does not like. What it answers is thrown away: a page
// is sent while it is made, and httplib's versions differ in how they would do that. All this takes 2 us, and 80 us
// for 8 KB of names.

namespace quipu::http {
namespace {

using namespace std::chrono_literals;

// Prometheus's own default.
constexpr auto default_time = 10s;
// For sending the answer, and for clocks: a tenth of the scrape's time, up to this.
constexpr auto max_margin = 500ms;
// More than this says nothing, and might not fit the clock.
constexpr double max_seconds = 86'400;

// One page may answer requests whose deadlines are no further apart. Further, and the one in a hurry would cost the
// other the collectors that need their time.
constexpr auto shared_deadline = 1s;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_word(std::string_view text, std::string_view lower_case_word) {
  return std::equal(text.begin(), text.end(), lower_case_word.begin(), lower_case_word.end(),
                    [](char c, char wanted) { return lower(c) == wanted; });
}

std::string_view without_blanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// Takes what is before the next `end`, without it, off the front of `text`.
std::string_view take_until(char end, std::string_view& text) {
  const auto at = text.find(end);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + 1);
  return taken;
}

std::string_view take_line(std::string_view& text) {
  std::string_view line = take_until('\n', text);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_token(std::string_view text) {
  static constexpr std::string_view punctuation = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || punctuation.find(c) != punctuation.npos;
  });
}

struct Field {
  std::string_view name;
  std::string_view value;
};

/// Nothing for a line that some take for a field and others do not.
std::optional<Field> parse_field(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return std::nullopt;
  if (line.find('\r') != line.npos || line.find('\0') != line.npos) return std::nullopt;
  return Field{line.substr(0, colon), without_blanks(line.substr(colon + 1))};
}

/// Several header lines of one name are one list.
void add_to_list(std::string& list, std::string_view values) {
  if (!list.empty()) list += ", ";
  list += values;
}

bool has_item(std::string_view list, std::string_view lower_case_word) {
  while (!list.empty()) {
    if (is_word(without_blanks(take_until(',', list)), lower_case_word)) return true;
  }
  return false;
}

/// How much a coding is wanted, from 0 to 1. One that cannot be read is as 0, for what is not compressed is always
/// right.
double parse_weight(std::string_view parameters) {
  double weight = 1;
  while (!parameters.empty()) {
    const std::string_view parameter = without_blanks(take_until(';', parameters));
    if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
    const std::string_view number = parameter.substr(2);
    const char* const end = number.data() + number.size();
    const auto [rest, error] = std::from_chars(number.data(), end, weight, std::chars_format::fixed);
    if (error != std::errc{} || rest != end || !(weight >= 0)) return 0;
  }
  return std::min(weight, 1.0);
}

/// Whether a client with this Accept-Encoding takes gzip, and prefers it, or does not care.
bool prefers_gzip(std::string_view accept_encoding) {
  std::optional<double> gzip;
  std::optional<double> x_gzip;
  std::optional<double> identity;
  std::optional<double> rest;
  while (!accept_encoding.empty()) {
    std::string_view item = take_until(',', accept_encoding);
    const std::string_view coding = without_blanks(take_until(';', item));
    const double weight = parse_weight(item);
    // Of a coding that is there twice, the lesser weight counts, so that a refusal does.
    for (const auto& [name, known] : {std::pair("gzip", &gzip), std::pair("x-gzip", &x_gzip),
                                      std::pair("identity", &identity), std::pair("*", &rest)}) {
      if (is_word(coding, name)) *known = std::min(weight, known->value_or(1));
    }
  }
  const double others = rest.value_or(0);
  const double weight = gzip.value_or(x_gzip.value_or(others));
  return weight > 0 && weight >= identity.value_or(others);
}

/// What X-Prometheus-Scrape-Timeout-Seconds leaves for making the page.
Clock::duration parse_time(std::string_view text) {
  double seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, seconds);
  // Written so that NaN is out as well.
  const bool is_right = error == std::errc{} && rest == end && seconds > 0 && seconds <= max_seconds;
  const std::chrono::duration<double> time = is_right ? std::chrono::duration<double>(seconds) : default_time;
  const std::chrono::duration<double> margin = std::min<std::chrono::duration<double>>(time / 10, max_margin);
  return std::chrono::duration_cast<Clock::duration>(time - margin);
}

/// What stands for a request that is not to be looked at any further.
Request refused(std::string_view line, int status) {
  const bool is_head = line.starts_with("HEAD ");
  return {.line = is_head ? "HEAD / HTTP/1.1" : "GET / HTTP/1.1",
          .accept = {},
          .time = default_time,
          .refusal = status,
          .is_head = is_head,
          .closes = true,
          .may_share = false};
}

/// httplib's view of a connection: a request line and an empty header block to read, and nobody who takes the answer.
///
/// `override` is missing on purpose: the set of virtual functions differs between the versions of httplib.
class LineStream final : public httplib::Stream {
 public:
  explicit LineStream(std::string_view line) : request_(fmt::format("{}\r\n\r\n", line)) {}

  ssize_t read(char* data, std::size_t size) {
    const auto count = request_.copy(data, size, read_);
    read_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char*, std::size_t size) { return static_cast<ssize_t>(size); }

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
};

}  // namespace

std::size_t end_of_head(std::string_view data, std::size_t from) {
  for (auto at = data.find('\n', from); at != data.npos; at = data.find('\n', at + 1)) {
    const std::string_view rest = data.substr(at + 1);
    if (rest.starts_with('\n')) return at + 2;
    if (rest.starts_with("\r\n")) return at + 3;
  }
  return data.npos;
}

Request parse_head(std::string_view head) {
  const std::string_view line = take_line(head);
  const bool is_http_1_1 = line.ends_with(" HTTP/1.1");
  const bool is_http = is_http_1_1 || line.ends_with(" HTTP/1.0");
  const bool is_head = line.starts_with("HEAD ");
  if (is_http && !is_head && !line.starts_with("GET ")) return refused(line, 405);

  Request request{.line = std::string(line), .accept = {}, .is_head = is_head, .knows_chunks = is_http_1_1};
  std::string accept_encoding;
  std::string_view scrape_timeout;
  bool stays = is_http_1_1;
  while (!head.empty()) {
    const std::string_view text = take_line(head);
    if (text.empty()) break;
    const auto field = parse_field(text);
    if (!field) {
      // Perhaps one that announces a body: what follows the head cannot be trusted to be the next request.
      request.closes = true;
    } else if (is_word(field->name, "accept")) {
      add_to_list(request.accept, field->value);
    } else if (is_word(field->name, "accept-encoding")) {
      add_to_list(accept_encoding, field->value);
    } else if (is_word(field->name, "x-prometheus-scrape-timeout-seconds")) {
      scrape_timeout = field->value;
    } else if (is_word(field->name, "connection")) {
      if (has_item(field->value, "close")) request.closes = true;
      if (has_item(field->value, "keep-alive")) stays = true;
    } else if (is_word(field->name, "content-length")) {
      if (field->value != "0") request.closes = true;
    } else if (is_word(field->name, "transfer-encoding")) {
      request.closes = true;
    }
  }
  if (!stays) request.closes = true;
  request.takes_gzip = prefers_gzip(accept_encoding);
  request.time = parse_time(scrape_timeout);
  return request;
}

const Route* find_route(std::span<const Route> routes, std::string_view line) {
  const std::string_view method = take_until(' ', line);
  const std::string_view target = take_until(' ', line);
  if (method != "GET" && method != "HEAD") return nullptr;
  if (line != "HTTP/1.1" && line != "HTTP/1.0") return nullptr;
  const auto found = std::ranges::find(routes, target.substr(0, target.find('?')), &Route::path);
  return found == routes.end() ? nullptr : &*found;
}

Request too_long(std::string_view data) { return refused(data, data.find('\n') == data.npos ? 414 : 431); }

bool ask_the_same(const Request& one, const Request& other) {
  if (!one.may_share || !other.may_share) return false;
  if (one.line != other.line || one.accept != other.accept || one.takes_gzip != other.takes_gzip) return false;
  const auto apart = one.deadline - other.deadline;
  return apart <= shared_deadline && -apart <= shared_deadline;
}

/// Each handler finds where to write in a member.
class TargetReader::Httplib : private httplib::Server {
 public:
  Httplib() {
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response&) {
      target_.path = request.path;
      const auto [first, last] = request.params.equal_range("name[]");
      for (auto name = first; name != last; ++name) target_.families.push_back(name->second);
      if (target_.families.size() > max_families) target_.refusal = 400;
      return HandlerResponse::Handled;
    });
    // What httplib itself refuses.
    set_error_handler(HandlerWithResponse([this](const httplib::Request&, httplib::Response& response) {
      target_.refusal = response.status;
      return HandlerResponse::Handled;
    }));
    set_exception_handler(
        [this](const httplib::Request&, httplib::Response&, std::exception_ptr) { target_.refusal = 500; });
  }

  Target read(const std::string& line) {
    target_ = {};
    LineStream stream(line);
    process(*this, stream);
    return std::move(target_);
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

  Target target_;
};

TargetReader::TargetReader() : httplib_(std::make_unique<Httplib>()) {}
TargetReader::TargetReader(TargetReader&&) noexcept = default;
TargetReader& TargetReader::operator=(TargetReader&&) noexcept = default;
TargetReader::~TargetReader() = default;

Target TargetReader::read(const std::string& line) { return httplib_->read(line); }

}  // namespace quipu::http

#include "http/request.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/text.hpp"
#include "quipu/detail/exposition/scrape_time.hpp"

namespace quipu::http {
namespace {

using namespace std::chrono_literals;
using detail::equals_ignoring_case;
using detail::parse_quality;
using detail::take_until;
using detail::to_lower;
using detail::trimmed;

// One page may answer requests whose deadlines differ by no more than this. If they differed by more, the earlier
// deadline would cut off collectors that the later one leaves time for.
constexpr auto shared_deadline = 1s;

std::string_view take_line(std::string_view& text) {
  const auto end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 2);
  return line;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_letter_or_digit(char c) { return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'z'); }

bool is_visible(char c) { return c > ' ' && c < '\x7F'; }

/// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  static constexpr std::string_view punctuation = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter_or_digit(c) || punctuation.find(c) != punctuation.npos;
  });
}

bool is_number(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

/// The characters of uri-host [ ":" port ] (RFC 3986, 3.2.2).
bool is_host(std::string_view text) {
  static constexpr std::string_view punctuation = "-._~!$&'()*+,;=%:[]";
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_letter_or_digit(c) || punctuation.find(c) != punctuation.npos; });
}

// The request line.

struct RequestLine {
  std::string_view method;
  std::string_view target;
  std::string_view version;  // "HTTP/" digit "." digit
};

/// RFC 9112, 3: method SP request-target SP HTTP-version.
std::optional<RequestLine> parse_request_line(std::string_view line) {
  RequestLine result;
  result.method = take_until(line, ' ');
  result.target = take_until(line, ' ');
  result.version = line;
  const std::string_view version = result.version;
  const bool is_version = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
                          version[6] == '.' && is_digit(version[7]);
  const bool is_target = !result.target.empty() && std::all_of(result.target.begin(), result.target.end(), is_visible);
  if (!is_token(result.method) || !is_target || !is_version) return std::nullopt;
  return result;
}

/// The value of a hexadecimal digit, or -1.
int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (to_lower(c) >= 'a' && to_lower(c) <= 'f') return to_lower(c) - 'a' + 10;
  return -1;
}

/// Decodes percent-encoding (RFC 3986, 2.1), for paths and queries alike. Nothing if it is invalid.
std::optional<std::string> decode(std::string_view text, bool is_query) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? digit_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? digit_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += is_query && text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

/// Adds the values of `name[]`. False if the query is invalid or has too many of them.
bool parse_query(std::string_view query, std::vector<std::string>& families) {
  while (!query.empty()) {
    std::string_view value = take_until(query, '&');
    const auto key = decode(take_until(value, '='), true);
    auto decoded = decode(value, true);
    if (!key || !decoded) return false;
    if (*key != "name[]") continue;
    if (families.size() == max_families) return false;
    families.push_back(std::move(*decoded));
  }
  return true;
}

/// Origin-form, "/path?query", or absolute-form, "http://host/path?query" (RFC 9112, 3.2.1 and 3.2.2). The host in it
/// replaces that of the Host field.
bool parse_target(std::string_view target, Request& request) {
  // A fragment is never sent (RFC 9110, 7.1).
  if (target.find('#') != target.npos) return false;
  bool is_absolute = false;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equals_ignoring_case(target.substr(0, scheme.size()), scheme)) continue;
    is_absolute = true;
    target.remove_prefix(scheme.size());
    const auto authority = target.substr(0, target.find_first_of("/?"));
    // RFC 9110, 4.2.1 and 4.2.2: a URI with an empty host is invalid.
    if (authority.empty() || !is_host(authority)) return false;
    request.host = authority;
    target.remove_prefix(authority.size());
    break;
  }
  std::string_view path = take_until(target, '?');
  if (path.empty() && is_absolute) path = "/";
  if (!path.starts_with('/')) return false;
  auto decoded = decode(path, false);
  if (!decoded) return false;
  request.path = std::move(*decoded);
  return parse_query(target, request.families);
}

// Fields.

struct Field {
  std::string_view name;
  std::string_view value;
};

/// RFC 9112, 5: field-name ":" OWS field-value OWS. A line that begins with a blank, which once continued the field
/// before it (5.2), and a blank before the colon (5.1) are invalid, as neither is part of a token.
std::optional<Field> parse_field(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return std::nullopt;
  const std::string_view value = trimmed(line.substr(colon + 1));
  // RFC 9110, 5.5: visible ASCII, blanks, and bytes beyond ASCII.
  const bool is_value = std::none_of(value.begin(), value.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7F';
  });
  if (!is_value) return std::nullopt;
  return Field{line.substr(0, colon), value};
}

/// Several fields of one name are one list (RFC 9110, 5.3).
void add_to_list(std::string& list, std::string_view values) {
  if (values.empty()) return;
  if (!list.empty()) list += ", ";
  list += values;
}

bool has_item(std::string_view list, std::string_view lower_case_word) {
  while (!list.empty()) {
    if (equals_ignoring_case(trimmed(take_until(list, ',')), lower_case_word)) return true;
  }
  return false;
}

/// The quality value of a coding, from 0 to 1 (RFC 9110, 12.4.2). An invalid one counts as 0, because an uncompressed
/// page is always acceptable.
double quality_of(std::string_view parameters) {
  double quality = 1;
  while (!parameters.empty()) {
    const std::string_view parameter = trimmed(take_until(parameters, ';'));
    if (parameter.starts_with("q=") || parameter.starts_with("Q=")) quality = parse_quality(parameter.substr(2));
  }
  return quality;
}

/// Whether a client with this Accept-Encoding accepts gzip, and does not prefer an uncompressed page (RFC
/// 9110, 12.5.3).
bool prefers_gzip(std::string_view accept_encoding) {
  std::optional<double> gzip;
  std::optional<double> x_gzip;
  std::optional<double> identity;
  std::optional<double> rest;
  while (!accept_encoding.empty()) {
    std::string_view item = take_until(accept_encoding, ',');
    const std::string_view coding = trimmed(take_until(item, ';'));
    const double weight = quality_of(item);
    // The lowest weight of a repeated coding counts, so that a refusal does.
    for (const auto& [name, known] : {std::pair("gzip", &gzip), std::pair("x-gzip", &x_gzip),
                                      std::pair("identity", &identity), std::pair("*", &rest)}) {
      if (equals_ignoring_case(coding, name)) *known = std::min(weight, known->value_or(1));
    }
  }
  const double others = rest.value_or(0);
  const double weight = gzip.value_or(x_gzip.value_or(others));
  return weight > 0 && weight >= identity.value_or(others);
}

/// Parses the field lines up to the empty line. False if the head is invalid.
bool parse_fields(std::string_view lines, Request& request) {
  std::optional<std::string_view> host;
  std::optional<std::string_view> content_length;
  std::string accept_encoding;
  std::string_view scrape_timeout;
  bool has_transfer_encoding = false;
  bool asks_to_close = false;
  bool asks_to_keep = false;
  for (std::string_view line = take_line(lines); !line.empty(); line = take_line(lines)) {
    const auto field = parse_field(line);
    if (!field) return false;
    const auto [name, value] = *field;
    if (equals_ignoring_case(name, "accept")) {
      add_to_list(request.accept, value);
    } else if (equals_ignoring_case(name, "accept-encoding")) {
      add_to_list(accept_encoding, value);
    } else if (equals_ignoring_case(name, "x-prometheus-scrape-timeout-seconds")) {
      scrape_timeout = value;
    } else if (equals_ignoring_case(name, "connection")) {
      asks_to_close = asks_to_close || has_item(value, "close");
      asks_to_keep = asks_to_keep || has_item(value, "keep-alive");
    } else if (equals_ignoring_case(name, "host")) {
      if (host || !is_host(value)) return false;
      host = value;
    } else if (equals_ignoring_case(name, "content-length")) {
      if (!is_number(value) || content_length.value_or(value) != value) return false;
      content_length = value;
    } else if (equals_ignoring_case(name, "transfer-encoding")) {
      has_transfer_encoding = true;
    }
  }
  // RFC 9112, 3.2: HTTP/1.1 requires Host.
  if (request.accepts_chunks && !host) return false;
  // RFC 9112, 6.1: both together are how requests are smuggled past a proxy.
  if (content_length && has_transfer_encoding) return false;
  // Bodies are not read, so the bytes after one cannot be taken for a request.
  const bool has_body = has_transfer_encoding || content_length.value_or("0") != "0";
  // RFC 9112, 9.3.
  request.closes = has_body || asks_to_close || !(request.accepts_chunks || asks_to_keep);
  request.host = host.value_or("");
  request.prefers_gzip = prefers_gzip(accept_encoding);
  request.time = detail::scrape_time(scrape_timeout, detail::longest_scrape_time);
  return true;
}

/// A request that is answered with this status, after which the connection is closed.
Request error_request(int status, bool is_head) {
  return {.time = detail::scrape_time("", detail::longest_scrape_time),
          .error_status = status,
          .is_head = is_head,
          .closes = true,
          .may_share = false};
}

/// `head` begins with the request line and ends with the empty line. Every line ends in CRLF.
Request parse_whole_head(std::string_view head) {
  const auto line = parse_request_line(take_line(head));
  if (!line) return error_request(400, false);
  const bool is_head = line->method == "HEAD";
  if (line->version[5] != '1') return error_request(505, is_head);

  // RFC 9110, 2.5: a higher minor version is understood as HTTP/1.1.
  Request request{.is_head = is_head, .accepts_chunks = line->version != "HTTP/1.0"};
  if (!parse_fields(head, request)) return error_request(400, is_head);
  if (!is_head && line->method != "GET") return error_request(405, is_head);
  if (line->target.size() > max_target_bytes) return error_request(414, is_head);
  if (!parse_target(line->target, request)) return error_request(400, is_head);
  return request;
}

}  // namespace

std::optional<ParsedHead> parse_head(std::string_view data, std::size_t searched) {
  const std::size_t received = data.size();
  data = data.substr(0, max_head_bytes);
  // RFC 9112, 2.2: empty lines before the request line are ignored.
  std::size_t begin = 0;
  while (data.substr(begin).starts_with("\r\n")) {
    if (begin == 2 * max_empty_lines) return ParsedHead{.request = error_request(400, false), .size = data.size()};
    begin += 2;
  }
  const auto failed = [&](int status) {
    return ParsedHead{.request = error_request(status, data.substr(begin).starts_with("HEAD ")), .size = data.size()};
  };

  for (auto at = data.find('\n', std::max(begin, searched)); at != data.npos; at = data.find('\n', at + 1)) {
    // A line that ends in LF alone is where parsers disagree about the end of the head.
    if (at == begin || data[at - 1] != '\r') return failed(400);
    if (data[at - 2] != '\n') continue;
    return ParsedHead{.request = parse_whole_head(data.substr(begin, at + 1 - begin)), .size = at + 1};
  }
  if (received < max_head_bytes) return std::nullopt;
  return failed(data.find('\n', begin) == data.npos ? 414 : 431);
}

bool can_share_page(const Request& one, const Request& other) {
  if (!one.may_share || !other.may_share) return false;
  const auto content = [](const Request& request) {
    return std::tie(request.path, request.resource, request.families, request.accept, request.prefers_gzip,
                    request.is_head, request.accepts_chunks);
  };
  if (content(one) != content(other)) return false;
  const auto apart = one.deadline - other.deadline;
  return apart <= shared_deadline && -apart <= shared_deadline;
}

}  // namespace quipu::http

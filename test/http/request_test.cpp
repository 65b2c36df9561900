#include "http/request.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"

namespace {

using namespace quipu::http;
using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr int incomplete = -1;

/// The error status of what is at the beginning of `data`: 0 for a good head, or `incomplete`.
int status_of(std::string_view data) {
  const auto head = parse_head(data);
  return head ? head->request.error_status : incomplete;
}

int status_of_line(const std::string& line) { return status_of(line + "\r\nHost: x\r\n\r\n"); }

int status_with(const std::string& fields) { return status_of("GET / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"); }

/// A request whose head is good.
Request request_of(const std::string& target, const std::string& fields = "") {
  const auto head = parse_head("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n");
  REQUIRE(head);
  REQUIRE(head->request.error_status == 0);
  return head->request;
}

std::string path_of(const std::string& target) { return request_of(target).path; }

std::vector<std::string> families_of(const std::string& target) { return request_of(target).families; }

TEST_CASE("a head ends with its empty line", "[request]") {
  const std::string data = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  for (std::size_t size = 0; size < data.size(); ++size) CHECK(status_of(data.substr(0, size)) == incomplete);
  const auto head = parse_head(data + "GET /next");
  REQUIRE(head);
  CHECK(head->size == data.size());
  CHECK(head->request.error_status == 0);
  CHECK(head->request.path == "/metrics");
  CHECK_FALSE(head->request.is_head);
  CHECK_FALSE(head->request.closes);
}

TEST_CASE("a line that ends in LF alone is refused before more is there", "[request]") {
  CHECK(status_of("\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: x\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: x\r\n\n") == 400);
  CHECK(status_of("\r\n\nGET") == 400);
  CHECK(status_of("HEAD / HTTP/1.1\n") == 400);
  CHECK(parse_head("HEAD / HTTP/1.1\n")->request.is_head);
}

TEST_CASE("a CR that ends no line is refused", "[request]") {
  CHECK(status_of_line("GET / HTTP/1.1\r") == 400);
  CHECK(status_of_line("GET /\r HTTP/1.1") == 400);
  CHECK(status_with("X: a\rb\r\n") == 400);
  CHECK(status_with("X: a\r\r\n") == 400);
  CHECK(status_with("\rX: a\r\n") == 400);
}

TEST_CASE("a few empty lines may precede the request line", "[request]") {
  const std::string head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  std::string lines;
  for (std::size_t i = 0; i < max_empty_lines; ++i) {
    lines += "\r\n";
    CHECK(status_of(lines) == incomplete);
    CHECK(status_of(lines + "\r") == incomplete);
    CHECK(parse_head(lines + head)->size == lines.size() + head.size());
    CHECK(status_of(lines + head) == 0);
  }
  CHECK(status_of(lines + "\r\n") == 400);
}

TEST_CASE("a request line is a method, a target and a version, each after one space", "[request]") {
  CHECK(status_of_line("GET / HTTP/1.1") == 0);
  for (const std::string& line : {"nonsense"s, "GET"s, "GET /"s, "GET / "s, "GET  / HTTP/1.1"s, "GET /  HTTP/1.1"s,
                                  " GET / HTTP/1.1"s, "GET / HTTP/1.1 "s, "GET\t/ HTTP/1.1"s, "GET / HTTP/1.1 x"s,
                                  "GET  HTTP/1.1"s, "G(T / HTTP/1.1"s, " / HTTP/1.1"s}) {
    CAPTURE(line);
    CHECK(status_of_line(line) == 400);
  }
}

TEST_CASE("only HTTP/1 is spoken", "[request]") {
  CHECK(status_of_line("GET / HTTP/1.0") == 0);
  CHECK(status_of_line("GET / HTTP/1.1") == 0);
  CHECK(status_of_line("GET / HTTP/1.2") == 0);
  for (const auto* const version : {"HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"}) {
    CAPTURE(version);
    CHECK(status_of_line("GET / "s + version) == 505);
    CHECK(status_of_line("POST / "s + version) == 505);
  }
  for (const auto* const version :
       {"HTTP/1", "HTTP/11", "HTTP/1.", "HTTP/1.10", "HTTP/10.1", "http/1.1", "HTTP/1,1", "HTTP/a.b", "HTTPS/1.1"}) {
    CAPTURE(version);
    CHECK(status_of_line("GET / "s + version) == 400);
  }
}

TEST_CASE("methods but GET and HEAD are not allowed", "[request]") {
  for (const auto* const method : {"POST", "PUT", "OPTIONS", "get", "GETS", "!#$%&'*+-.^_`|~"}) {
    CAPTURE(method);
    CHECK(status_of_line(method + " / HTTP/1.1"s) == 405);
  }
  CHECK(status_of_line("OPTIONS * HTTP/1.1") == 405);
  CHECK(status_of_line("CONNECT x:1 HTTP/1.1") == 405);
  CHECK(parse_head("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")->request.is_head);
}

TEST_CASE("a target is a path, or a URL whose host is skipped", "[request]") {
  CHECK(path_of("/metrics") == "/metrics");
  CHECK(path_of("//metrics") == "//metrics");
  CHECK(path_of("http://x/metrics") == "/metrics");
  CHECK(path_of("HTTPS://x.y:80/metrics?a") == "/metrics");
  CHECK(path_of("http://[::1]:9464/a") == "/a");
  CHECK(path_of("http://x") == "/");
  CHECK(path_of("http://x/") == "/");
  CHECK(path_of("http://x?name[]=a") == "/");
  CHECK(families_of("http://x?name[]=a") == std::vector<std::string>{"a"});
  for (const auto* const target : {"*", "metrics", "x:80", "ftp://x/a", "http:/x/a", "http://", "http:///a",
                                   "http://?a", "http://a@b/", "?name[]=a", "%2Fmetrics"}) {
    CAPTURE(target);
    CHECK(status_of_line("GET "s + target + " HTTP/1.1") == 400);
  }
}

TEST_CASE("a target is of visible ASCII without '#'", "[request]") {
  for (const std::string& target :
       {"/a#b"s, "/#"s, "/?a#b"s, "http://x#b"s, "/\xC3\xA9"s, "/a\0b"s, "/a\tb"s, "/a\x7F"s, "/a\x1B"s, "/\x80"s}) {
    CAPTURE(target);
    CHECK(status_of_line("GET " + target + " HTTP/1.1") == 400);
  }
  CHECK(path_of("/<\"{|}^`\\>") == "/<\"{|}^`\\>");
}

TEST_CASE("percent-encoding is decoded, and refused if it is wrong", "[request]") {
  CHECK(path_of("/%6detrics") == "/metrics");
  CHECK(path_of("/%6Detrics%C3%A9%2f%25%23%3f?x") == "/metrics\xC3\xA9/%#?");
  CHECK(path_of("/a+b") == "/a+b");
  CHECK(path_of("/%00") == "/\0"s);
  CHECK(path_of("/%252e") == "/%2e");
  for (const auto* const target :
       {"/%", "/%4", "/%g1", "/%1g", "/%%41", "/% 1", "/?%", "/?x=%zz", "/?name[]=%4", "/?name%5=a", "/?a&b%"}) {
    CAPTURE(target);
    CHECK(status_of_line("GET "s + target + " HTTP/1.1") == 400);
  }
}

TEST_CASE("name[] in the query, in any encoding, asks for families", "[request]") {
  using Names = std::vector<std::string>;
  CHECK(families_of("/m") == Names{});
  CHECK(families_of("/m?") == Names{});
  CHECK(families_of("/m?name[]=up") == Names{"up"});
  CHECK(families_of("/m?name%5B%5D=up&%6eame[]=a") == Names{"up", "a"});
  CHECK(families_of("/m?name[]=a&&debug=1&name[]=b&") == Names{"a", "b"});
  CHECK(families_of("/m?name[]=a+b%2B%20c%26=d") == Names{"a b+ c&=d"});
  CHECK(families_of("/m?name[]=&name[]") == Names{"", ""});
  CHECK(families_of("/m?name[]=a?b") == Names{"a?b"});
  CHECK(families_of("/m?name=a&names[]=b&Name[]=c&x[]=name[]&name[]x=d") == Names{});
}

TEST_CASE("more families than may be are refused", "[request]") {
  std::string target = "/m?";
  for (std::size_t i = 0; i < max_families; ++i) target += "name[]=a&";
  CHECK(families_of(target).size() == max_families);
  CHECK(status_of_line("GET " + target + "other=a HTTP/1.1") == 0);
  CHECK(status_of_line("GET " + target + "name[]=a HTTP/1.1") == 400);
}

TEST_CASE("a field is a token, a colon and a value", "[request]") {
  CHECK(status_with("X:\r\n") == 0);
  CHECK(status_with("X: \t a \t b \t \r\n") == 0);
  CHECK(status_with("!#$%&'*+-.^_`|~09azAZ: a\r\n") == 0);
  CHECK(status_with("X: a:b \xC3\xA9 \x80\r\n") == 0);
  CHECK(request_of("/", "Accept: \t a/b \t \r\n").accept == "a/b");
  for (const std::string& line :
       {"X"s, ":"s, ": a"s, "X : a"s, "X\t: a"s, "X Y: a"s, "(X): a"s, "X\xC3\xA9: a"s, "X\0: a"s, "\"X\": a"s}) {
    CAPTURE(line);
    CHECK(status_with(line + "\r\n") == 400);
  }
}

TEST_CASE("a line that begins with a blank continues no field", "[request]") {
  CHECK(status_with("X: a\r\n b\r\n") == 400);
  CHECK(status_with("X: a\r\n\tb: c\r\n") == 400);
  CHECK(status_with(" X: a\r\n") == 400);
  CHECK(status_with("X: a\r\n \r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\n Host: x\r\n\r\n") == 400);
}

TEST_CASE("control characters in a value are refused, but for tabs", "[request]") {
  for (int c = 0; c < 0x20; ++c) {
    if (c == '\t' || c == '\n') continue;
    CAPTURE(c);
    CHECK(status_with("X: a" + std::string(1, static_cast<char>(c)) + "b\r\n") == 400);
  }
  CHECK(status_with("X: a\x7F\r\n") == 400);
  CHECK(status_with("X: a\tb\r\n") == 0);
}

TEST_CASE("HTTP/1.1 requires one Host", "[request]") {
  const auto status = [](const std::string& version, const std::string& fields) {
    return status_of("GET / " + version + "\r\n" + fields + "\r\n");
  };
  CHECK(status("HTTP/1.1", "") == 400);
  CHECK(status("HTTP/1.2", "") == 400);
  CHECK(status("HTTP/1.0", "") == 0);
  for (const std::string version : {"HTTP/1.0", "HTTP/1.1"}) {
    CHECK(status(version, "Host: a\r\nHost: a\r\n") == 400);
    CHECK(status(version, "Host: a\r\nX: b\r\nhOST:\r\n") == 400);
    for (const auto* const host : {"", "x", "x:80", "x.y-z_~:", "[::1]:80", "%41", "a!$&'()*+,;=b"}) {
      CAPTURE(host);
      CHECK(status(version, "Host: "s + host + "\r\n") == 0);
    }
    for (const auto* const host : {"a b", "a/b", "a@b", "http://a", "a?b", "a#b", "a\"b", "<a>", "\xC3\xA9", "a\\b"}) {
      CAPTURE(host);
      CHECK(status(version, "Host: "s + host + "\r\n") == 400);
    }
  }
}

TEST_CASE("a length is a number, and there is one", "[request]") {
  CHECK(status_with("Content-Length: 0\r\n") == 0);
  CHECK(status_with("Content-Length: 5\r\ncontent-length: 5\r\n") == 0);
  CHECK(status_with("Content-Length: 99999999999999999999999999\r\n") == 0);
  for (const auto* const value : {"", "-1", "+1", "0x1", "1.0", "0, 0", "5, 5", "1 1", "a"}) {
    CAPTURE(value);
    CHECK(status_with("Content-Length: "s + value + "\r\n") == 400);
  }
  CHECK(status_with("Content-Length: 5\r\nContent-Length: 6\r\n") == 400);
  CHECK(status_with("Content-Length: 0\r\nContent-Length: 6\r\n") == 400);
  CHECK(status_with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(status_with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n") == 400);
}

TEST_CASE("a connection stays unless a field or the version says otherwise", "[request]") {
  const auto closes = [](const std::string& version, const std::string& fields) {
    const auto head = parse_head("GET / " + version + "\r\nHost: x\r\n" + fields + "\r\n");
    CHECK(head->request.error_status == 0);
    return head->request.closes;
  };
  CHECK_FALSE(closes("HTTP/1.1", ""));
  CHECK_FALSE(closes("HTTP/1.1", "Content-Length: 0\r\n"));
  CHECK(closes("HTTP/1.1", "Connection: a, Close\r\n"));
  CHECK(closes("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  CHECK(closes("HTTP/1.1", "Content-Length: 5\r\n"));
  CHECK(closes("HTTP/1.1", "Transfer-Encoding: chunked\r\n"));
  CHECK(closes("HTTP/1.0", ""));
  CHECK_FALSE(closes("HTTP/1.0", "Connection: keep-alive\r\n"));
}

TEST_CASE("every error closes the connection", "[request]") {
  for (const std::string& data :
       {"x\n"s, "x\r\n\r\n"s, "GET / HTTP/2.0\r\n\r\n"s, "POST / HTTP/1.1\r\nHost: x\r\n\r\n"s,
        "GET /% HTTP/1.1\r\nHost: x\r\n\r\n"s, std::string(max_head_bytes, 'a'),
        "GET / HTTP/1.1\r\nX: " + std::string(max_head_bytes, 'a')}) {
    const auto head = parse_head(data);
    REQUIRE(head);
    CHECK(head->request.error_status >= 400);
    CHECK(head->request.closes);
    CHECK_FALSE(head->request.may_share);
  }
}

TEST_CASE("what is too long is refused", "[request]") {
  const auto target = [](std::size_t size) { return "/" + std::string(size - 1, 'a'); };
  CHECK(status_of_line("GET " + target(max_target_bytes) + " HTTP/1.1") == 0);
  CHECK(status_of_line("GET " + target(max_target_bytes + 1) + " HTTP/1.1") == 414);
  CHECK(status_of(std::string(max_head_bytes - 1, 'a')) == incomplete);
  CHECK(status_of(std::string(max_head_bytes, 'a')) == 414);
  const std::string begin = "HEAD / HTTP/1.1\r\nHost: x\r\nX: ";
  const std::string longest = begin + std::string(max_head_bytes - begin.size() - 4, 'a') + "\r\n\r\n";
  REQUIRE(longest.size() == max_head_bytes);
  CHECK(status_of(longest) == 0);
  const std::string longer = begin + "a" + longest.substr(begin.size());
  CHECK(status_of(longer) == 431);
  CHECK(parse_head(longer)->request.is_head);
}

TEST_CASE("a head that comes byte by byte is the same", "[request]") {
  for (const std::string& data :
       {"\r\n\r\nGET /a?name[]=b HTTP/1.1\r\nHost: x\r\n\r\nmore"s, "GET / HTTP/1.1\r\nHost: x\n\r\n\r\n"s,
        "\r\nGET / HTTP/1.0\r\n\r\n"s, "GET /\r\r\n\r\n"s}) {
    const auto whole = parse_head(data);
    REQUIRE(whole);
    std::optional<ParsedHead> head;
    for (std::size_t size = 1; size <= data.size() && !head; ++size) head = parse_head(data.substr(0, size), size - 1);
    REQUIRE(head);
    CHECK(head->request.error_status == whole->request.error_status);
    CHECK(head->request.path == whole->request.path);
    CHECK(head->request.families == whole->request.families);
  }
}

TEST_CASE("two requests share a page when they ask for the same at about the same time", "[request]") {
  const Request one = request_of("/m?name[]=a&x=1", "Accept: a/b\r\n");
  const auto shares = [&one](const Request& other) { return can_share_page(one, other) && can_share_page(other, one); };
  CHECK(shares(one));
  CHECK(shares(request_of("http://y/%6d?name%5B%5D=a", "Connection: close\r\nAccept: a/b\r\n")));
  CHECK_FALSE(shares(request_of("/n?name[]=a", "Accept: a/b\r\n")));
  CHECK_FALSE(shares(request_of("/m?name[]=b", "Accept: a/b\r\n")));
  CHECK_FALSE(shares(request_of("/m?name[]=a", "Accept: c/d\r\n")));
  CHECK_FALSE(shares(request_of("/m?name[]=a", "Accept: a/b\r\nAccept-Encoding: gzip\r\n")));
  Request other = one;
  other.deadline += 500ms;
  CHECK(shares(other));
  other.deadline += 1s;
  CHECK_FALSE(shares(other));
  other = one;
  other.may_share = false;
  CHECK_FALSE(shares(other));
}

}  // namespace

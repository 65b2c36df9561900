#include "http/response.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

namespace quipu::http {
namespace {

constexpr std::string_view plain_text = "text/plain; charset=utf-8";

/// The reason phrase, which is optional (RFC 9112, 4): routes may have other statuses.
std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 414:
      return "URI Too Long";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

/// The body of an error_response().
std::string_view message_of(int status) {
  switch (status) {
    case 404:
      return "Not found.\n";
    case 405:
      return "Only GET and HEAD are allowed here.\n";
    case 414:
      return "The address is too long.\n";
    case 421:
      return "Nothing is answered here under this name. Ask for the IP address or for localhost, or name the host in "
             "ExposerOptions::allowed_hosts or in QUIPU_ALLOWED_HOSTS.\n";
    case 431:
      return "The header is too long.\n";
    case 500:
      return "The page could not be made.\n";
    case 505:
      return "Only HTTP/1.0 and HTTP/1.1 are supported.\n";
    default:
      return "The request could not be understood.\n";
  }
}

std::string_view connection(bool closes) { return closes ? "close" : "keep-alive"; }

std::string response_head(int status, std::string_view content_type, std::string_view more_fields, std::size_t length,
                          const Request& request) {
  return fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n{}Content-Length: {}\r\nConnection: {}\r\n\r\n", status,
                     reason_of(status), content_type, more_fields, length, connection(request.closes));
}

std::string short_response(int status, std::string_view content_type, std::string_view more_fields,
                           std::string_view body, const Request& request) {
  std::string response = response_head(status, content_type, more_fields, body.size(), request);
  if (!request.is_head) response += body;
  return response;
}

/// Paths have no other characters that are special in HTML.
std::string html_escaped(std::string_view path) {
  std::string text;
  for (const char c : path) {
    if (c == '&') {
      text += "&amp;";
    } else {
      text += c;
    }
  }
  return text;
}

std::string link(std::string_view path, std::string_view name) {
  return fmt::format("<p><a href=\"{}\">{}</a></p>", html_escaped(path), html_escaped(name));
}

}  // namespace

std::string page_response_head(std::string_view content_type, bool is_gzip, const Framing& framing, bool closes) {
  std::string field;
  if (framing.length) {
    field = fmt::format("Content-Length: {}\r\n", *framing.length);
  } else if (framing.is_chunked) {
    field = "Transfer-Encoding: chunked\r\n";
  }
  // Ranges of one page would be of different moments.
  return fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n{}Vary: Accept, Accept-Encoding\r\nAccept-Ranges: none\r\n{}"
      "Connection: {}\r\n\r\n",
      content_type, is_gzip ? "Content-Encoding: gzip\r\n" : "", field, connection(closes));
}

std::string landing_response(const Resources::List& resources, const Request& request) {
  std::string links;
  for (const auto& resource : resources) links += link(resource->path, links.empty() ? "Metrics" : resource->path);
  const std::string body = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Metrics</title></head>\n<body>{}</body>\n</html>\n", links);
  return short_response(200, "text/html; charset=utf-8", "", body, request);
}

bool has_line_break(std::string_view text) { return text.find_first_of("\r\n") != text.npos; }

std::string route_response_head(const RouteResponse& response, const Request& request) {
  const auto& [status, content_type, body] = response;
  const bool has_no_text = status == 204 || status == 205 || status == 304;
  if (status < 200 || status > 599 || has_no_text || has_line_break(content_type)) {
    throw std::runtime_error("not a response");
  }
  // The response is of this moment, so no cache may keep it.
  return response_head(status, content_type, "Cache-Control: no-store\r\n", body.size(), request);
}

std::string error_response(int status, const Request& request) {
  const std::string_view allow = status == 405 ? "Allow: GET, HEAD\r\n" : "";
  return short_response(status, plain_text, allow, message_of(status), request);
}

std::string chunk_head(std::size_t size) { return fmt::format("{:x}\r\n", size); }

void Outgoing::put(Parts parts) noexcept {
  parts_ = std::move(parts);
  done_ = 0;
}

std::array<std::string_view, 4> Outgoing::parts() const noexcept {
  return {parts_.front, parts_.whole ? std::string_view(*parts_.whole) : std::string_view(), parts_.piece, parts_.end};
}

std::size_t Outgoing::size() const noexcept {
  std::size_t size = 0;
  for (const std::string_view part : parts()) size += part.size();
  return size;
}

Outgoing::Progress Outgoing::send_some(int socket) noexcept {
  std::array<iovec, 4> left{};
  std::size_t count = 0;
  std::size_t size = 0;
  std::size_t done = done_;
  for (std::string_view part : parts()) {
    const std::size_t passed = std::min(done, part.size());
    done -= passed;
    part.remove_prefix(passed);
    if (part.empty()) continue;
    // sendmsg() does not write, and takes no pointer to const.
    left[count++] = {const_cast<char*>(part.data()), part.size()};
    size += part.size();
  }
  if (size > 0) {
    msghdr message{};
    message.msg_iov = left.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Progress::would_block : Progress::failed;
    }
    done_ += static_cast<std::size_t>(sent);
    sent_ += static_cast<std::size_t>(sent);
    if (static_cast<std::size_t>(sent) < size) return Progress::would_block;
  }
  put({});
  return Progress::done;
}

}  // namespace quipu::http

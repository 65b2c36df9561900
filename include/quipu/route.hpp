#pragma once

#include <functional>
#include <string>

namespace quipu {

/// What a route answers: a short text, which is sent as it is, to be kept by no cache.
struct RouteAnswer {
  int status = 200;  // 200 … 599, and not 204, 205 or 304, which have no text
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

/// An answer of the program's own at a path of the endpoint, beside the page of metrics (see ExposerOptions::routes).
struct Route {
  /// As clients send it: begins with '/', and has neither '%' nor '?'. A query after it is ignored.
  std::string path;
  /// Called for each GET or HEAD of the path, one call after another, on a thread that an endpoint has for its routes.
  /// It should answer from what is known already: while it waits, other requests for routes do. What it throws becomes
  /// a 500 without details, as does an answer that cannot be sent: another status, or a line break in the content type.
  std::function<RouteAnswer()> answer;
};

}  // namespace quipu

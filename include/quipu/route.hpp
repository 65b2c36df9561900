#pragma once

#include <functional>
#include <string>

namespace quipu {

/// What a route answers: a short text, which is sent as it is.
struct RouteAnswer {
  int status = 200;  // 200 … 599
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

/// An answer of the program's own at a path of the endpoint, beside the page of metrics (see ExposerOptions::routes).
struct Route {
  /// Exact, as clients send it: begins with '/', without '%' and '?'.
  std::string path;
  /// Called for each GET or HEAD of the path, by several threads at once. It should answer from what is known already:
  /// while it waits, other requests for routes do. What it throws becomes a 500 without details.
  std::function<RouteAnswer()> answer;
};

}  // namespace quipu

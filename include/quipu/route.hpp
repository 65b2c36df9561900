#pragma once

#include <functional>
#include <string>

namespace quipu {

/// The response of a route: a short text. It is sent as it is, and no cache may keep it.
struct RouteResponse {
  int status = 200;  // 200 … 599, except 204, 205 and 304, which have no body
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

/// A path of the endpoint at which the program itself responds, beside the page of metrics (see
/// ExposerOptions::routes).
struct Route {
  /// Begins with '/', and has neither '%' nor '?'. It is compared with the percent-decoded path of a request. A query
  /// is ignored.
  std::string path;
  /// Called for each GET or HEAD of the path, one call after another, on the endpoint's thread for routes. It should
  /// return what is known already, because other requests for routes wait for it. An exception becomes a 500 without
  /// details, as does a response that cannot be sent: another status, or a line break in the content type.
  std::function<RouteResponse()> respond;
};

}  // namespace quipu

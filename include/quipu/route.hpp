#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "quipu/detail/base/misuse.hpp"

namespace quipu {

/// The response of a route: a short text. It is sent as it is, and no cache may keep it.
struct RouteResponse {
  int status = 200;  // 200 … 599, except 204, 205 and 304, which have no body
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
};

/// What a route may know of the request that it responds to.
struct RouteRequest {
  /// Whether the client's address is one of this machine's loopback addresses. The client may be a reverse proxy.
  bool is_loopback_peer = false;
};

namespace detail {
template <class Function>
concept IsRoute = std::is_invocable_r_v<RouteResponse, Function&> ||
    std::is_invocable_r_v<RouteResponse, Function&, const RouteRequest&>;
}

/// A function of nothing, or of a RouteRequest, that returns a RouteResponse.
class RouteFunction {
 public:
  RouteFunction() = default;
  template <std::invocable Function>
  requires std::convertible_to<std::invoke_result_t<Function&>, RouteResponse> RouteFunction(Function function) {
    if (is_empty(function)) return;
    function_ = [function = std::move(function)](const RouteRequest&) mutable { return function(); };
  }
  template <std::invocable<const RouteRequest&> Function>
  requires std::convertible_to<std::invoke_result_t<Function&, const RouteRequest&>, RouteResponse> &&
      (!std::invocable<Function>)RouteFunction(Function function) {
    if (!is_empty(function)) function_ = std::move(function);
  }

  // For wrong functions.
  template <class Function>
  requires(!std::same_as<Function, RouteFunction> && !detail::IsRoute<Function>) RouteFunction(const Function&) {
    static_assert(detail::misuse<Function>,
                  "quipu: a route is a function of nothing, or of a RouteRequest, that returns a RouteResponse");
  }

  [[nodiscard]] RouteResponse operator()(const RouteRequest& request = {}) const { return function_(request); }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(function_); }

 private:
  template <class Function>
  static bool is_empty(const Function&) noexcept {
    return false;
  }
  template <class Signature>
  static bool is_empty(const std::function<Signature>& function) noexcept {
    return !function;
  }

  std::function<RouteResponse(const RouteRequest&)> function_;
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
  RouteFunction respond;
  /// Whether `respond` never waits: neither for a file, a network or another program, nor for a lock that is held while
  /// something else is waited for. It is then called on a thread that has only such functions, so it is answered while
  /// other routes hang.
  bool is_prompt = false;
};

}  // namespace quipu

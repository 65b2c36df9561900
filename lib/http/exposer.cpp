#include "quipu/exposer.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/signals_blocked.hpp"
#include "http/compression.hpp"
#include "http/event_loop.hpp"
#include "http/exposer.hpp"
#include "http/listener.hpp"
#include "http/work_queue.hpp"
#include "http/worker.hpp"

// The division of work: the reception, one thread, is the only one that waits for sockets, for all of them at once; the
// workers make answers, and send them for as long as the socket takes them. So no client, however slow, can keep
// another one waiting. Between them is the desk. Routes have a desk and a worker of their own, as those for pages may
// all be waiting for collectors.

namespace quipu {
namespace {

using http::Desk;
using http::Reception;

// Scrapes are few, and a page of thousands of series is made in milliseconds. With the reception it is four threads,
// and one more if there are routes.
constexpr int worker_count = 3;

bool is_path(std::string_view path) {
  static constexpr std::string_view punctuation = "-._~!$&'()*+,;=:@/";
  return path.starts_with('/') && std::all_of(path.begin(), path.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  punctuation.find(c) != punctuation.npos;
         });
}

std::string checked_path(std::string_view path) {
  if (!is_path(path) || path == "/") {
    throw ListenError(fmt::format(
        "path \"{}\": expected '/' and then at least one letter, digit or other character of URL paths, without '%'",
        path));
  }
  return std::string(path);
}

std::vector<Route> checked_routes(std::vector<Route> routes, std::string_view metrics_path) {
  for (auto route = routes.begin(); route != routes.end(); ++route) {
    const std::string& path = route->path;
    if (!is_path(path)) {
      throw ListenError(fmt::format(
          "route \"{}\": expected '/' and then letters, digits or other characters of URL paths, without '%'", path));
    }
    if (path == metrics_path) {
      throw ListenError(fmt::format("route \"{}\": the metrics are there; choose another path for one of them", path));
    }
    if (std::find_if(routes.begin(), route, [&](const Route& other) { return other.path == path; }) != route) {
      throw ListenError(fmt::format("route \"{}\": it is there twice; give each route a path of its own", path));
    }
    if (!route->answer) throw ListenError(fmt::format("route \"{}\": it has no function that answers", path));
  }
  return routes;
}

}  // namespace

/// Starts the reception and the workers, and ends them.
class Exposer::Server {
 public:
  Server(PageSource source, const ExposerOptions& options)
      : site_{.source = std::move(source),
              .path = checked_path(options.path),
              .gzip = options.gzip && can_gzip(),
              .routes = checked_routes(options.routes, options.path)},
        listener_(http::listen_at(options.listen)),
        url_(fmt::format("http://{}:{}{}", listener_.host, listener_.port, site_.path)) {
    try {
      wake_pipe_.open();
      start_threads(std::clamp<std::size_t>(options.max_concurrent_scrapes, 1, http::scrape_limit));
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
    if (!listener_.socket) return;
    if (::getpid() != owner_) {
      // A forked child has none of the threads, and shares the sockets with its parent, which goes on.
      listener_.socket.reset();
      static_cast<void>(staff_.release());
      return;
    }
    staff_->page_desk.stop();
    staff_->route_desk.stop();
    ::shutdown(listener_.socket.get(), SHUT_RDWR);  // refuses clients while the last answers are sent
    if (staff_->receptionist.joinable()) {
      staff_->receptionist.join();
    } else {
      staff_->page_desk.close();
      staff_->route_desk.close();
    }
    for (std::thread& thread : staff_->threads) thread.join();
    listener_.socket.reset();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  /// What must not be destroyed in a forked child, where nobody leaves the condition variable any more.
  struct Staff {
    explicit Staff(const http::WakePipe& wake_pipe) : page_desk(wake_pipe), route_desk(wake_pipe) {}
    Desk page_desk;
    Desk route_desk;
    std::list<http::Worker> workers;
    std::list<std::thread> threads;
    std::thread receptionist;
  };

  void start_threads(std::size_t max_scrapes) {
    for (int i = 0; i < worker_count; ++i) staff_->workers.emplace_back(site_, staff_->page_desk);
    if (!site_.routes.empty()) staff_->workers.emplace_back(site_, staff_->route_desk);
    Reception reception(listener_.socket.get(), site_.routes, max_scrapes, wake_pipe_, staff_->page_desk,
                        staff_->route_desk);
    const detail::SignalsBlocked blocked;
    for (http::Worker& worker : staff_->workers) {
      staff_->threads.emplace_back([&worker] {
        name_thread();
        worker.run();
      });
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

  const http::Site site_;
  const pid_t owner_ = ::getpid();

  std::mutex stopping_;
  http::Listener listener_;
  const std::string url_;
  http::WakePipe wake_pipe_;
  std::unique_ptr<Staff> staff_ = std::make_unique<Staff>(wake_pipe_);
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

void http::check_path(std::string_view path) { static_cast<void>(checked_path(path)); }

}  // namespace quipu

#include "quipu/exposer.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/threads.hpp"
#include "http/compression.hpp"
#include "http/event_loop.hpp"
#include "http/exposer.hpp"
#include "http/listener.hpp"
#include "http/work_queue.hpp"
#include "http/worker.hpp"

// The event loop, one thread, waits for all sockets at once. The workers make responses, and send them while the
// sockets take them. So no client, however slow, delays another one. Work queues connect the threads. Routes have a
// queue and a worker of their own, because the workers for pages may all be waiting for collectors.

namespace quipu {
namespace {

using http::EventLoop;
using http::WorkQueue;

// Scrapes are few, and a page of thousands of series takes milliseconds. There are four threads with the event loop,
// five with routes.
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
    if (!route->respond) throw ListenError(fmt::format("route \"{}\": it has no function that answers", path));
  }
  return routes;
}

}  // namespace

/// Starts and ends the event loop and the workers.
class Exposer::Server {
 public:
  Server(PageSource source, const ExposerOptions& options)
      : config_{.source = std::move(source),
                .path = checked_path(options.path),
                .gzip = options.gzip && can_gzip(),
                .routes = checked_routes(options.routes, options.path)},
        listener_(http::listen_at(options.listen)),
        url_(fmt::format("http://{}:{}{}", listener_.host, listener_.port, config_.path)) {
    try {
      wake_pipe_.open();
      start_threads({.scrapes = std::clamp<std::size_t>(options.max_concurrent_scrapes, 1, http::scrape_limit),
                     .response_bytes = std::max(options.max_response_bytes, http::min_response_bytes)});
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
      // A forked child has none of the threads, and its parent goes on using the sockets.
      listener_.socket.reset();
      static_cast<void>(threads_.release());
      return;
    }
    threads_->page_queue.stop();
    threads_->route_queue.stop();
    ::shutdown(listener_.socket.get(), SHUT_RDWR);  // refuses clients while the last responses are sent
    if (threads_->event_loop_thread.joinable()) {
      threads_->event_loop_thread.join();
    } else {
      threads_->page_queue.close();
      threads_->route_queue.close();
    }
    for (std::thread& thread : threads_->worker_threads) thread.join();
    listener_.socket.reset();
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  /// A forked child must not destroy this: it has none of the threads that wait for the condition variables.
  struct Threads {
    explicit Threads(const http::WakePipe& wake_pipe) : page_queue(wake_pipe), route_queue(wake_pipe) {}
    WorkQueue page_queue;
    WorkQueue route_queue;
    std::list<http::Worker> workers;
    std::list<std::thread> worker_threads;
    std::thread event_loop_thread;
  };

  void start_threads(EventLoop::Limits limits) {
    for (int i = 0; i < worker_count; ++i) threads_->workers.emplace_back(config_, threads_->page_queue);
    if (!config_.routes.empty()) threads_->workers.emplace_back(config_, threads_->route_queue);
    const auto event_loop = std::make_shared<EventLoop>(listener_.socket.get(), config_.routes, limits, wake_pipe_,
                                                        threads_->page_queue, threads_->route_queue);
    constexpr const char* thread_name = "quipu-endpoint";
    for (http::Worker& worker : threads_->workers) {
      threads_->worker_threads.push_back(detail::start_thread(thread_name, [&worker] { worker.run(); }));
    }
    threads_->event_loop_thread = detail::start_thread(thread_name, [event_loop] { event_loop->run(); });
  }

  const http::ServerConfig config_;
  const pid_t owner_ = ::getpid();

  std::mutex stopping_;
  http::Listener listener_;
  const std::string url_;
  http::WakePipe wake_pipe_;
  std::unique_ptr<Threads> threads_ = std::make_unique<Threads>(wake_pipe_);
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

#include "quipu/exposer.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/fork.hpp"
#include "base/threads.hpp"
#include "http/allowed_hosts.hpp"
#include "http/compression.hpp"
#include "http/event_loop.hpp"
#include "http/exposer.hpp"
#include "http/listener.hpp"
#include "http/resources.hpp"
#include "http/server_config.hpp"
#include "http/work_queue.hpp"
#include "http/worker.hpp"
#include "quipu/detail/exposition/scrape_time.hpp"

// The event loop, one thread, waits for all sockets at once. The workers make responses, and send them while the
// sockets take them. So no client, however slow, delays another one. Work queues connect the threads. There are three,
// each with workers of its own: the workers for pages may all be waiting for collectors, and the one for routes for a
// function of the program's. What waits for nothing, such as a probe, has the third.

namespace quipu {
namespace {

using http::EventLoop;
using http::Resource;
using http::Resources;
using http::WorkQueue;

// Scrapes are few, and a page of thousands of series takes milliseconds. There are five threads with the event loop and
// the worker for prompt responses, six with routes that are not prompt.
constexpr std::size_t worker_count = 3;

// A little more than the event loop takes to end.
constexpr auto joining_time = http::leaving_time + std::chrono::milliseconds(200);

bool is_path(std::string_view path) {
  static constexpr std::string_view punctuation = "-._~!$&'()*+,;=:@/";
  return path.starts_with('/') && std::all_of(path.begin(), path.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  punctuation.find(c) != punctuation.npos;
         });
}

std::size_t checked_max_scrapes(std::size_t max_scrapes) {
  if (max_scrapes >= 1 && max_scrapes <= http::scrape_limit) return max_scrapes;
  throw ListenError(fmt::format("ExposerOptions::max_concurrent_scrapes is {}, and must be from 1 to {}", max_scrapes,
                                http::scrape_limit));
}

std::size_t checked_response_bytes(std::size_t bytes) {
  if (bytes >= http::min_response_bytes) return bytes;
  throw ListenError(fmt::format("ExposerOptions::max_response_bytes is {}, and must be at least {}", bytes,
                                http::min_response_bytes));
}

std::string checked_path(std::string_view path) {
  if (!is_path(path) || path == "/") {
    throw ListenError(fmt::format(
        "path \"{}\": expected '/' and then at least one letter, digit or other character of URL paths, without '%'",
        path));
  }
  return std::string(path);
}

std::shared_ptr<Resource> made_page(std::string_view path, PageSource source) {
  auto made = std::make_shared<Resource>(checked_path(path), std::move(source));
  if (!made->is_page()) throw ListenError(fmt::format("path \"{}\": it has no function that makes pages", path));
  return made;
}

std::shared_ptr<Resource> made_route(Route route) {
  if (!is_path(route.path)) {
    throw ListenError(
        fmt::format("route \"{}\": expected '/' and then letters, digits or other characters of URL paths, without '%'",
                    route.path));
  }
  if (!route.respond) throw ListenError(fmt::format("route \"{}\": it has no function that answers", route.path));
  return std::make_shared<Resource>(std::move(route));
}

std::shared_ptr<Resources> made_resources(PageSource source, const ExposerOptions& options) {
  auto made = std::make_shared<Resources>();
  made->add(made_page(options.path, std::move(source)));
  for (const Route& route : options.routes) made->add(made_route(route));
  return made;
}

std::chrono::milliseconds checked_scrape_time(std::chrono::milliseconds time) {
  if (time.count() <= 0) {
    throw ListenError(fmt::format("ExposerOptions::max_scrape_time is {} ms, and must be positive", time.count()));
  }
  return std::min(time, detail::longest_scrape_time);
}

}  // namespace

/// Starts and ends the event loop and the workers.
class Exposer::Server {
 public:
  Server(PageSource source, const ExposerOptions& options)
      : state_(std::make_shared<State>(std::move(source), options)),
        port_(state_->listener.port),
        url_(fmt::format("http://{}:{}{}", state_->listener.host, port_, options.path)) {
    try {
      state_->wake_pipe.open();
      start_threads();
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
    if (std::exchange(is_stopped_, true)) return;
    if (!process_.is_current()) {
      // A forked child has none of the threads, which keep the state there for ever. Its parent goes on using the
      // sockets.
      state_->listener.socket.reset();
      static_cast<void>(threads_.release());
      return;
    }
    ::shutdown(state_->listener.socket.get(), SHUT_RDWR);  // refuses clients while the last responses are sent
    for (WorkQueue* const queue : state_->queues()) queue->stop();
    // Without the event loop nobody else closes them.
    if (!has_event_loop_) {
      for (WorkQueue* const queue : state_->queues()) queue->close();
    }
    join_or_leave();
  }

  ServedPath add(std::shared_ptr<Resource> resource) {
    const auto& resources = state_->config.resources;
    const std::lock_guard lock(stopping_);
    resources->add(resource);
    ServedPath made(resources, std::move(resource));
    if (!may_wait(*made.resource_) || is_stopped_ || !process_.is_current()) return made;
    try {
      start_route_worker();
    } catch (const std::system_error& error) {
      throw ListenError(
          fmt::format("route \"{}\": it needs a thread: {}", made.resource_->path, error.code().message()));
    }
    return made;
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }

 private:
  /// What the threads use. Each of them has a share in it, because one that is inside a function of the program's when
  /// the server stops is left alone, and comes back later or never. It then closes the connection that it has.
  struct State {
    State(PageSource source, const ExposerOptions& options)
        : State(std::move(source), options, http::listen_at(options.listen)) {}
    State(PageSource source, const ExposerOptions& options, http::Listener listening)
        : config{.resources = made_resources(std::move(source), options),
                 .gzip = options.gzip && can_gzip(),
                 .max_scrapes = checked_max_scrapes(options.max_concurrent_scrapes),
                 .max_response_bytes = checked_response_bytes(options.max_response_bytes),
                 .max_scrape_time = checked_scrape_time(options.max_scrape_time),
                 .allowed_hosts = http::AllowedHosts(listening, options.allowed_hosts)},
          listener(std::move(listening)) {}

    [[nodiscard]] std::array<WorkQueue*, 3> queues() noexcept { return {&page_queue, &route_queue, &prompt_queue}; }

    const http::ServerConfig config;
    http::Listener listener;
    http::WakePipe wake_pipe;
    http::Peers peers;  // of the connections in what follows
    WorkQueue page_queue{wake_pipe};
    WorkQueue route_queue{wake_pipe};
    WorkQueue prompt_queue{wake_pipe};
    EventLoop event_loop{listener.socket.get(), config, peers, wake_pipe, {page_queue, route_queue, prompt_queue}};

    std::mutex mutex;  // guards what follows
    std::condition_variable has_ended;
    std::vector<std::thread::id> ended;
  };

  template <class Run>
  void start_thread(Run run) {
    threads_->push_back(detail::start_thread("quipu-endpoint", [state = state_, run] {
      run(*state);
      const std::lock_guard lock(state->mutex);
      state->ended.push_back(std::this_thread::get_id());
      state->has_ended.notify_all();
    }));
  }

  void start_worker(WorkQueue& queue) {
    start_thread([&queue](State& state) { http::Worker(state.config, queue).run(); });
  }

  /// Whether it is a route that is not prompt.
  [[nodiscard]] static bool may_wait(const Resource& resource) noexcept {
    return !resource.is_page() && !resource.is_prompt;
  }

  void start_route_worker() {
    if (has_route_worker_) return;
    start_worker(state_->route_queue);
    has_route_worker_ = true;
  }

  void start_threads() {
    const Resources::List resources = state_->config.resources->all();
    threads_->reserve(worker_count + 3);  // those for routes and for prompt responses, and the event loop
    state_->ended.reserve(threads_->capacity());
    for (std::size_t i = 0; i < worker_count; ++i) start_worker(state_->page_queue);
    start_worker(state_->prompt_queue);
    if (std::ranges::any_of(resources, [](const auto& resource) { return may_wait(*resource); })) start_route_worker();
    // This thread closes the listening socket. If stop() did, accept() might be called with another socket of the same
    // number.
    start_thread([](State& state) {
      state.event_loop.run();
      state.listener.socket.reset();
    });
    has_event_loop_ = true;
  }

  /// Waits for the threads, but not for those that do not come back from a function of the program's: that function may
  /// even be the one that stops the server.
  void join_or_leave() noexcept {
    std::size_t others = threads_->size();
    for (const std::thread& thread : *threads_) others -= thread.get_id() == std::this_thread::get_id() ? 1 : 0;
    std::unique_lock lock(state_->mutex);
    // A thread that has ended needs the lock no more.
    const std::vector<std::thread::id>& ended = state_->ended;
    state_->has_ended.wait_for(lock, joining_time, [&] { return ended.size() == others; });
    for (std::thread& thread : *threads_) {
      if (std::ranges::find(ended, thread.get_id()) != ended.end()) {
        thread.join();
      } else {
        thread.detach();
      }
    }
  }

  const detail::ProcessGeneration process_;
  const std::shared_ptr<State> state_;
  const std::uint16_t port_;
  const std::string url_;

  std::mutex stopping_;  // guards what follows
  bool is_stopped_ = false;
  std::unique_ptr<std::vector<std::thread>> threads_ = std::make_unique<std::vector<std::thread>>();
  bool has_event_loop_ = false;  // its thread has been started
  bool has_route_worker_ = false;
};

Exposer::Exposer(PageSource source, ExposerOptions options)
    : server_(std::make_unique<Server>(std::move(source), options)) {}
Exposer::Exposer(const Registry& registry, ExposerOptions options) : Exposer(page_source(registry), options) {}
Exposer::Exposer(const Registries& registries, ExposerOptions options) : Exposer(page_source(registries), options) {}
Exposer::Exposer(Exposer&&) noexcept = default;
Exposer& Exposer::operator=(Exposer&&) noexcept = default;
Exposer::~Exposer() = default;

std::uint16_t Exposer::port() const noexcept { return server_ ? server_->port() : std::uint16_t{0}; }

const std::string& Exposer::url() const& noexcept {
  static const std::string none;
  return server_ ? server_->url() : none;
}

Exposer::Server& Exposer::server() const {
  if (!server_) throw ListenError("the endpoint was moved to another object; add the path there");
  return *server_;
}

ServedPath Exposer::add(std::string_view path, const Registry& registry) { return add(path, page_source(registry)); }
ServedPath Exposer::add(std::string_view path, const Registries& registries) {
  return add(path, page_source(registries));
}
ServedPath Exposer::add(std::string_view path, PageSource source) {
  return server().add(made_page(path, std::move(source)));
}
ServedPath Exposer::add(Route route) { return server().add(made_route(std::move(route))); }

ServedPath::ServedPath(std::weak_ptr<Resources> resources, std::shared_ptr<Resource> resource) noexcept
    : resources_(std::move(resources)), resource_(std::move(resource)) {}
ServedPath::ServedPath(ServedPath&&) noexcept = default;
ServedPath& ServedPath::operator=(ServedPath&& other) noexcept {
  if (this != &other) {
    end();
    resources_ = std::move(other.resources_);
    resource_ = std::move(other.resource_);
  }
  return *this;
}
ServedPath::~ServedPath() { end(); }

void ServedPath::end() noexcept {
  const auto resource = std::exchange(resource_, nullptr);
  if (resource == nullptr) return;
  if (const auto resources = resources_.lock()) resources->remove(*resource);
}

void Exposer::stop() noexcept {
  if (server_) server_->stop();
}

void http::check_path(std::string_view path) { static_cast<void>(checked_path(path)); }

}  // namespace quipu

// A web server of the program's own, made with cpp-httplib, whose metrics are one of its pages: quipu::mount puts them
// there, and quipu::HttpServerMetrics counts and times what its handlers do.
//
// It keeps notes. To have some at once, the program also visits itself; the same round is the same each time.

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <iostream>
#include <mutex>
#include <quipu/httplib.hpp>
#include <quipu/quipu.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "listening.hpp"
#include "program.hpp"

using namespace std::chrono_literals;

class Notes {
 public:
  Notes(httplib::Server& server, const quipu::Registry& registry)
      : count_(registry.gauge({.name = "notes", .help = "Notes that are kept."})) {
    // Everything below is compiled with the httplib.h that this program has, whatever its version.
    quipu::mount(server, registry, "/metrics");

    const quipu::HttpServerMetrics metrics(registry.subsystem("http"));
    server.Get("/notes/(\\d+)", metrics.handler("/notes/:number", [this](const auto& request, auto& response) {
      show(request, response);
    }));
    server.Post("/notes", metrics.handler("/notes", [this](const httplib::Request& request,
                                                           httplib::Response& response) { keep(request, response); }));
  }

 private:
  void show(const httplib::Request& request, httplib::Response& response) {
    const std::lock_guard lock(mutex_);
    const std::size_t number = std::stoul(request.matches[1]);
    if (number >= notes_.size()) {
      response.status = 404;
      return;
    }
    response.set_content(notes_[number], "text/plain; charset=utf-8");
  }

  void keep(const httplib::Request& request, httplib::Response& response) {
    // What a handler throws is counted as 500, and goes on to the server, which answers so.
    if (request.body.empty()) throw std::invalid_argument("an empty note");
    const std::lock_guard lock(mutex_);
    notes_.push_back(request.body);
    count_.set(static_cast<double>(notes_.size()));
    response.status = 201;
  }

  std::mutex mutex_;
  std::vector<std::string> notes_;
  quipu::Gauge count_;
};

int main(int argc, char** argv) {
  return example::program("web_server", argc, argv, [](const auto& arguments, const auto& signals) {
    const quipu::Registry registry({.prefix = "web"});
    httplib::Server server;
    Notes notes(server, registry);
    const example::Listening listening(server, arguments.listen);
    const std::string host = arguments.listen.substr(0, arguments.listen.rfind(':'));
    const std::string url = "http://" + host + ':' + std::to_string(listening.port());
    std::cout << "metrics: " << url << "/metrics\nnotes:   " << url << "/notes/0\n" << std::flush;

    httplib::Client client(host, listening.port());
    example::run(arguments, signals, 20ms, [&client](int round) {
      client.Post("/notes", round % 10 == 9 ? "" : "note of round " + std::to_string(round), "text/plain");
      client.Get("/notes/" + std::to_string(round));
    });
  });
}

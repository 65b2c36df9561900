// A server for comments and chat, whose parts record what they do through a facade. They do not know where the numbers
// go: main() sends them to a page for Prometheus, and also to a StatsD server if the environment names one:
//
//     QUIPU_RECORDER=registry,dogstatsd://127.0.0.1:8125 realtime
//
// Here the clients are made up, and so is how long things take: the same in each run.

#include <array>
#include <chrono>
#include <iostream>
#include <quipu/environment.hpp>
#include <quipu/quipu.hpp>
#include <quipu/recorder.hpp>
#include <string>
#include <string_view>

#include "program.hpp"

using namespace std::chrono_literals;

// The parts of the server. They know a Recorder, and nothing else of quipu..

class Database {
 public:
  explicit Database(quipu::Recorder recorder) : recorder_(std::move(recorder)) {}

  void query(std::string_view source, std::string_view operation, std::chrono::milliseconds took) const {
    recorder_.increment("database.query.count", 1, {{"source", source}, {"operation", operation}});
    recorder_.time("database.query.duration", took, {{"source", source}, {"operation", operation}});
  }

 private:
  quipu::Recorder recorder_;
};

class Comments {
 public:
  explicit Comments(quipu::Recorder recorder) : recorder_(recorder), database_(recorder) {}

  void create(std::string_view region, std::chrono::milliseconds query_took) {
    // A timer measures until the end of its scope.
    auto timer = recorder_.time("comment.creation.duration", {{"region", region}});
    database_.query("comments", "insert", query_took);
    recorder_.increment("comments.created");
  }

 private:
  quipu::Recorder recorder_;
  Database database_;
};

class Web {
 public:
  explicit Web(quipu::Recorder recorder) : recorder_(recorder), database_(recorder), comments_(recorder) {}

  // Serves request number n.
  void serve(unsigned n) {
    static constexpr std::array<std::string_view, 4> routes = {"/", "/rooms/:id", "/comments", "/search"};
    static constexpr std::array<std::string_view, 3> sources = {"comments", "rooms", "users"};
    static constexpr std::array<std::string_view, 2> regions = {"eu", "us"};
    const std::string_view route = routes[n % 4];
    const std::string_view status = n % 20 == 19 ? "500" : n % 25 == 7 ? "404" : "200";
    const auto query_took = std::chrono::milliseconds(1 + n * 17 % 130);

    if (route == "/comments" && status == "200") {
      comments_.create(regions[n / 4 % 2], query_took);
    } else {
      database_.query(sources[n % 3], "select", query_took);
    }
    const auto took = query_took + std::chrono::milliseconds(n * 7 % 40);
    recorder_.increment("phoenix.request.count", 1, {{"route", route}, {"status", status}});
    recorder_.time("phoenix.request.duration", took, {{"route", route}, {"status", status}});
    recorder_.time("request.duration", took, {{"route", route}});
    recorder_.histogram("response.size.bytes", 200 + n % 10 * 300, {{"route", route}});
  }

 private:
  quipu::Recorder recorder_;
  Database database_;
  Comments comments_;
};

class Channels {
 public:
  explicit Channels(quipu::Recorder recorder) : recorder_(std::move(recorder)) {}

  // What happened in round i.
  void talk(unsigned i) const {
    static constexpr std::array<std::string_view, 3> channels = {"room:lobby", "room:news", "presence"};
    static constexpr std::array<std::string_view, 2> events = {"new_msg", "typing"};
    for (unsigned c = 0; c < 3; ++c) {
      recorder_.gauge("websocket.connections", 10 + (7 * i + 5 * c) % 20, {{"channel", channels[c]}});
      for (unsigned e = 0; e < 2; ++e) {
        recorder_.increment("websocket.messages", 1 + (i + c + e) % 3,
                            {{"channel", channels[c]}, {"event", events[e]}});
      }
    }
    recorder_.gauge("users.online", 100 + 13 * i % 50, {{"region", "eu"}});
    recorder_.gauge("users.online", 80 + 11 * i % 50, {{"region", "us"}});
  }

 private:
  quipu::Recorder recorder_;
};

// Where the numbers go: known here alone..

int main(int argc, char** argv) {
  return example::program("realtime", argc, argv, [](const auto& arguments, const auto& signals) {
    const quipu::Environment environment;
    const quipu::Registry registry(environment.registry());
    quipu::RegistryRecorderOptions options;
    options.metrics = {
        {.name = "phoenix.request.count", .help = "Requests served."},
        {.name = "phoenix.request.duration", .help = "Time to answer."},
        {.name = "database.query.duration", .help = "Time per query."},
        {.name = "response.size.bytes", .help = "Bytes per answer.", .buckets = quipu::Buckets{500, 1000, 2000}},
    };
    options.on_error = [](std::string_view, std::string_view why) { std::cerr << "realtime: " << why << '\n'; };
    const quipu::Recorder recorder = environment.recorder(registry, {.registry = options});

    const quipu::Exposer endpoint{registry, {.listen = arguments.listen}};
    std::cout << "metrics: " << endpoint.url() << "\n\ntry:     curl " << endpoint.url() << '\n' << std::flush;

    Web web(recorder);
    const Channels channels(recorder);
    unsigned served = 0;
    example::run(arguments, signals, 50ms, [&](int round) {
      for (int i = 0; i < 10; ++i) web.serve(served++);
      channels.talk(static_cast<unsigned>(round));
    });
  });
}

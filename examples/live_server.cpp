// A server of live views: browsers keep a connection, send what their users do, and get back what has changed on the
// page. Its numbers are structs, each registered as a whole (quipu::batch); what it may be told from outside, it is
// told by the environment (quipu::Environment):
//
//     QUIPU_LISTEN=127.0.0.1:9000 QUIPU_CONST_LABELS=env=staging build/examples/live_server
//
// The browsers are made up; the same round is the same each time.

#include <array>
#include <chrono>
#include <iostream>
#include <quipu/batch.hpp>
#include <quipu/environment.hpp>
#include <quipu/quipu.hpp>
#include <string>
#include <string_view>

#include "program.hpp"

using namespace std::chrono_literals;
using std::chrono::microseconds;

// The numbers.

// Label values that are known beforehand are enums: a closed set, all of which can be on the page from the start.
enum class Outcome { success, error };
enum class Direction { in, out };
enum class Message { event, diff, heartbeat };
enum class Event { click, submit, keyup };
enum class Error { render, pubsub };
enum class Operation { select, insert };
enum class DbError { conflict, timeout };

const auto latency_buckets = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0};

struct DbMetrics {
  quipu::Scope scope;

  quipu::CounterFamily<Operation> queries =
      scope.counter<Operation>({.name = "queries_total", .help = "Queries."}, {"operation"});
  quipu::HistogramFamily<Operation> query_duration = scope.histogram<Operation>(
      {.name = "query_duration_seconds", .help = "Time per query.", .buckets = latency_buckets}, {"operation"});
  quipu::Gauge connections = scope.gauge({.name = "connections", .help = "Connections in the pool."});
  quipu::CounterFamily<DbError> errors =
      scope.counter<DbError>({.name = "errors_total", .help = "Queries that failed."}, {"type"});
};

struct LiveMetrics {
  quipu::Scope scope;

  quipu::CounterFamily<Outcome> connections =
      scope.counter<Outcome>({.name = "connections_total", .help = "Connections, by how they began."}, {"status"});
  quipu::Gauge active_connections = scope.gauge({.name = "active_connections", .help = "Connections that are open."});
  quipu::CounterFamily<Direction, Message> messages =
      scope.counter<Direction, Message>({.name = "messages_total", .help = "Messages."}, {"direction", "type"});
  quipu::Histogram message_size = scope.histogram(
      {.name = "message_size_bytes", .help = "Sizes of messages.", .buckets = quipu::buckets::exponential(64, 4, 6)});
  quipu::HistogramFamily<Event> event_latency = scope.histogram<Event>(
      {.name = "event_latency_seconds", .help = "Time from an event to its answer.", .buckets = latency_buckets},
      {"event_type"});
  quipu::HistogramFamily<std::string_view> render_latency = scope.histogram(
      {.name = "render_latency_seconds", .help = "Time to render.", .buckets = latency_buckets}, {"component"});
  quipu::Histogram diff_size = scope.histogram({.name = "diff_size_bytes",
                                                .help = "Sizes of what has changed.",
                                                .buckets = quipu::buckets::exponential(64, 4, 6)});
  quipu::Histogram diff_latency =
      scope.histogram({.name = "diff_latency_seconds", .help = "Time to find it.", .buckets = latency_buckets});
  quipu::CounterFamily<Error> errors = scope.counter<Error>({.name = "errors_total", .help = "Errors."}, {"type"});
  quipu::CounterFamily<std::string_view> pubsub_messages =
      scope.counter({.name = "pubsub_messages_total", .help = "Messages published."}, {"topic"});
  // Its dashboards know it by this name. A better one would not end in _count, as a histogram's parts do.
  quipu::Gauge presence = scope.gauge({.name = "presence_count", .help = "People who are there."});
  quipu::GaugeFamily<std::string_view> component_instances =
      scope.gauge({.name = "component_instances", .help = "Components that are alive."}, {"component"});

  // A batch in a batch: should one of its names be taken, nothing of this one stays either.
  DbMetrics db = quipu::batch<DbMetrics>(scope, "db");
};

// The server.

constexpr std::array<std::string_view, 3> components{"page", "list", "chat"};
constexpr std::array<std::string_view, 2> topics{"news", "chat"};

class Server {
 public:
  explicit Server(const LiveMetrics& metrics) : metrics_(metrics) {
    metrics_.connections.create_all();
    metrics_.messages.create_all();
    metrics_.event_latency.create_all();
    metrics_.errors.create_all();
    metrics_.db.queries.create_all();
    metrics_.db.query_duration.create_all();
    metrics_.db.errors.create_all();
    for (const auto topic : topics) metrics_.pubsub_messages.create(topic);
    for (const auto component : components) metrics_.render_latency.create(component);
  }

  void serve(int round) {
    connect(round);
    for (int i = 0; i < 10; ++i) handle(round * 10 + i);
    for (int i = 0; i < 8; ++i) metrics_.pubsub_messages(topics[i < 3 ? 0 : 1]).inc();
    if (round % 30 == 0) metrics_.errors(Error::render).inc();
    if (round % 3 == 0) metrics_.errors(Error::pubsub).inc();
    metrics_.presence.set(round % 100);
  }

 private:
  // Four come in each round, until three quarters of a day of 200 rounds are over; then they go, twelve at a time. One
  // in five rounds somebody does not get in.
  void connect(int round) {
    if (round % 200 < 150) {
      metrics_.connections(Outcome::success).inc(4);
      metrics_.active_connections.inc(4);
    } else {
      metrics_.active_connections.dec(12);
    }
    if (round % 5 == 0) metrics_.connections(Outcome::error).inc();
  }

  // An event comes in, is handled with a query, and what has changed goes out.
  void handle(int number) {
    const auto event = static_cast<Event>(number % 3);
    // A tenth of the submissions is slow.
    const microseconds time = event == Event::submit && number % 10 == 0 ? 700ms : 800us * (1 + number * 7 % 50);
    const double size = 32 << number % 10;
    record(Direction::in, Message::event, size);
    query(number, time / 4);
    const auto component = components[static_cast<std::size_t>(number / 3 % 3)];
    metrics_.component_instances(component).set(1 + number % 7);
    metrics_.render_latency(component).observe(time / 2);
    metrics_.diff_latency.observe(time / 8);
    metrics_.diff_size.observe(size * 2);
    record(Direction::out, number % 4 == 0 ? Message::heartbeat : Message::diff, size * 2);
    metrics_.event_latency(event).observe(time);
  }

  void record(Direction direction, Message message, double size) {
    metrics_.messages(direction, message).inc();
    metrics_.message_size.observe(size);
  }

  void query(int number, microseconds time) {
    const auto operation = number % 5 == 0 ? Operation::insert : Operation::select;
    const auto one_more = metrics_.db.connections.track();
    metrics_.db.queries(operation).inc();
    metrics_.db.query_duration(operation).observe(time);
    if (number % 50 == 0) metrics_.db.errors(DbError::timeout).inc();
  }

  const LiveMetrics& metrics_;
};

// The program.

int main(int argc, char** argv) {
  return example::program("live_server", argc, argv, [](const auto& arguments, const auto& signals) {
    const quipu::Environment environment;  // says all that is wrong with it, and ends the program
    for (const std::string& name : environment.unknown()) std::cerr << "live_server: nobody reads " << name << '\n';

    const quipu::Registry registry(
        environment.registry({.prefix = "golivekit",
                              .const_labels = {{"service", "golivekit"}, {"env", "production"}},
                              .build_info = {.version = "1.4.0", .revision = "5f3a9c1"},
                              .runtime_metrics = true}));
    const auto metrics = quipu::batch<LiveMetrics>(registry, "");
    Server server(metrics);

    const quipu::Exposer endpoint(registry, environment.exposer({.listen = arguments.listen}));
    std::cout << "metrics: " << endpoint.url() << std::endl;
    example::run(arguments, signals, 20ms, [&](int round) { server.serve(round); });
  });
}

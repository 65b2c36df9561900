// An assistant that answers by asking models of two providers (here, played by this program). It counts its requests,
// the tokens and what they cost, and shows whether its providers and its stores are in good health.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <iostream>
#include <mutex>
#include <optional>
#include <quipu/health.hpp>
#include <quipu/quipu.hpp>
#include <quipu/requests.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "program.hpp"

using namespace std::chrono_literals;

// The numbers.

enum class Method { get, post };
enum class Tokens { prompt, completion };

// What goes wrong at a provider.
enum class Failure { timeout, rate_limited, server_error };

struct Metrics {
  quipu::Registry registry{{.prefix = "assistant"}};

  // Four families in one: http_requests_total{method,endpoint,status_code}, and http_request_errors_total,
  // http_request_duration_seconds and http_requests_in_flight, without a status.
  quipu::RequestFamily<Method, std::string_view, quipu::AtEnd<int>> requests{
      registry.subsystem("http"), {}, {"method", "endpoint"}, {"status_code"}};

  quipu::Gauge connections =
      registry.gauge({.name = "active_connections", .help = "Connections that clients have open."});

  quipu::CounterFamily<Failure> errors = registry.counter<Failure>(
      {.name = "errors_total", .help = "Requests without an answer, by what went wrong last."}, {"type"});

  quipu::CounterFamily<std::string_view, std::string_view, Tokens> tokens =
      registry.counter<std::string_view, std::string_view, Tokens>(
          {.name = "tokens_total", .help = "Tokens that models read and wrote."}, {"provider", "model", "kind"});

  quipu::HistogramFamily<std::string_view, std::string_view> latency =
      registry.histogram({.name = "model_latency_seconds",
                          .help = "Time to the whole answer of a model.",
                          .buckets = quipu::buckets::exponential(100ms, 2, 7)},
                         {"provider", "model"});

  quipu::FractionalCounterFamily<std::string_view, std::string_view> cost = registry.fractional_counter(
      {.name = "estimated_cost_dollars_total", .help = "Tokens by their price."}, {"provider", "model"});

  quipu::CounterFamily<std::string_view, Failure> provider_errors = registry.counter<std::string_view, Failure>(
      {.name = "provider_errors_total", .help = "Calls of a provider that failed."}, {"provider", "kind"});

  quipu::CounterFamily<std::string_view> rate_limits =
      registry.counter({.name = "provider_rate_limits_total", .help = "Calls that a provider put off."}, {"provider"});

  quipu::GaugeFamily<std::string_view> provider_health = registry.gauge(
      {.name = "provider_health", .help = "Share of a provider's last calls that did not fail."}, {"provider"});
};

// Providers and their models.

// Dollars for a million tokens.
struct Price {
  double prompt;
  double completion;
};

// Made once, with the instruments of its labels, so that a call looks nothing up.
class Model {
 public:
  Model(const Metrics& metrics, std::string_view provider, std::string_view name, Price price)
      : price_(price),
        prompt_(metrics.tokens(provider, name, Tokens::prompt)),
        completion_(metrics.tokens(provider, name, Tokens::completion)),
        latency_(metrics.latency(provider, name)),
        cost_(metrics.cost(provider, name)) {}

  void answer(example::Dice& dice) const {
    // A real call would be timed: `const auto timer = latency_.time();`.
    auto time = 100ms + dice.throw_one(900) * 1ms;
    if (dice.throw_one(20) == 0) time += 4s;
    latency_.observe(time);
    const int prompt = 50 + dice.throw_one(500);
    const int completion = 20 + dice.throw_one(300);
    prompt_.inc(static_cast<unsigned>(prompt));
    completion_.inc(static_cast<unsigned>(completion));
    cost_.inc((prompt * price_.prompt + completion * price_.completion) / 1e6);
  }

 private:
  Price price_;
  quipu::Counter prompt_;
  quipu::Counter completion_;
  quipu::Histogram latency_;
  quipu::FractionalCounter cost_;
};

class Provider {
 public:
  Provider(const Metrics& metrics, std::string name)
      : metrics_(metrics), name_(std::move(name)), health_(metrics.provider_health(name_)) {
    // A rate of errors begins with 0 errors.
    for (const Failure failure : {Failure::timeout, Failure::rate_limited, Failure::server_error}) {
      metrics.provider_errors.create(name_, failure);
    }
    metrics.rate_limits.create(name_);
    health_.set(1);
  }

  [[nodiscard]] const std::string& name() const { return name_; }

  // What went wrong, if there was no answer.
  std::optional<Failure> ask(const Model& model, example::Dice& dice) {
    const int mishap = dice.throw_one(12);
    const auto failure = mishap < 3 ? std::optional(static_cast<Failure>(mishap)) : std::nullopt;
    if (failure) {
      metrics_.provider_errors(name_, *failure).inc();
      if (*failure == Failure::rate_limited) metrics_.rate_limits(name_).inc();
    } else {
      model.answer(dice);
    }
    const std::lock_guard lock(mutex_);
    last_.push_back(!failure);
    if (last_.size() > 20) last_.pop_front();
    health_.set(share_of_successes());
    return failure;
  }

  quipu::HealthResult check() const {
    const std::lock_guard lock(mutex_);
    const double share = share_of_successes();
    return {.status = share > 0.8 ? quipu::HealthStatus::healthy : quipu::HealthStatus::degraded,
            .message = share > 0.8 ? "answers" : "fails often",
            .details = {{"success_share", share}, {"calls", static_cast<std::int64_t>(last_.size())}}};
  }

 private:
  // With the lock held.
  [[nodiscard]] double share_of_successes() const {
    if (last_.empty()) return 1;
    return static_cast<double>(std::count(last_.begin(), last_.end(), true)) / static_cast<double>(last_.size());
  }

  const Metrics& metrics_;
  const std::string name_;
  const quipu::Gauge health_;
  mutable std::mutex mutex_;
  std::deque<bool> last_;
};

// The assistant.

class Assistant {
 public:
  explicit Assistant(const Metrics& metrics) : metrics_(metrics), north_(metrics, "north"), south_(metrics, "south") {
    // A rate of errors begins with 0 errors, and that of a status with 0 requests.
    metrics.errors.create_all();
    for (const auto& [method, path] : endpoints) {
      for (const int status : {200, 502, 503, 504}) metrics.requests.create(method, path, status);
    }
  }

  void serve(int number) {
    accept(number);
    const auto& [method, path] = endpoints[static_cast<std::size_t>(number) % endpoints.size()];
    // Counted and timed until its end. Its status is 500 if an exception leaves the scope.
    auto request = metrics_.requests(method, path).start(500);
    const bool is_large = dice_.throw_one(3) == 0;
    auto failure = north_.ask(is_large ? north_large_ : north_small_, dice_);
    if (failure) failure = south_.ask(south_one_, dice_);
    if (failure) {
      metrics_.errors(*failure).inc();
      request.fail();
    }
    request.end(failure ? status_of(*failure) : 200);
  }

  [[nodiscard]] const Provider& north() const { return north_; }
  [[nodiscard]] const Provider& south() const { return south_; }

 private:
  struct Endpoint {
    Method method;
    std::string_view path;
  };
  static constexpr std::array<Endpoint, 3> endpoints = {
      {{Method::post, "/chat"}, {Method::post, "/complete"}, {Method::get, "/summarize"}}};

  static int status_of(Failure failure) {
    switch (failure) {
      case Failure::timeout:
        return 504;
      case Failure::rate_limited:
        return 503;
      case Failure::server_error:
        return 502;
    }
    return 500;
  }

  // A client comes every ten requests, and stays for thirty.
  void accept(int number) {
    if (number % 10 != 0) return;
    if (clients_.size() == 3) clients_.pop_front();
    clients_.push_back(metrics_.connections.track());
  }

  const Metrics& metrics_;
  example::Dice dice_;
  std::deque<quipu::GaugeTracker> clients_;
  Provider north_;
  Provider south_;
  const Model north_large_{metrics_, "north", "north-large", {.prompt = 5, .completion = 20}};
  const Model north_small_{metrics_, "north", "north-small", {.prompt = 0.5, .completion = 2}};
  const Model south_one_{metrics_, "south", "south-one", {.prompt = 1, .completion = 4}};
};

// The program.

void body(const example::Arguments& arguments, const example::EndSignals& signals) {
  const Metrics metrics;
  Assistant assistant(metrics);

  // Without its database the assistant cannot work; without one of the others it works less well.
  quipu::Health health({.version = "3.1.0"});
  for (const Provider* const provider : {&assistant.north(), &assistant.south()}) {
    health.add({.name = provider->name(),
                .check = [provider] { return provider->check(); },
                .interval = 250ms,
                .is_critical = false});
  }
  health.add({.name = "database",
              .check =
                  [] {
                    return quipu::HealthResult{.message = "answers", .details = {{"connections", 4}}};
                  },
              .interval = 1s,
              .timeout = 2s});
  health.add({.name = "cache",
              .check = [] { return quipu::HealthResult{.message = "answers"}; },
              .interval = 1s,
              .timeout = 500ms,
              .is_critical = false});
  const auto health_registration = health.expose(metrics.registry);

  const quipu::Exposer endpoint(metrics.registry, {.listen = arguments.listen, .routes = health.routes()});
  const std::string root = endpoint.url().substr(0, endpoint.url().rfind('/'));
  std::cout << "metrics: " << endpoint.url() << "\nhealth:  " << root << "/health\n" << std::flush;

  example::run(arguments, signals, 20ms, [&assistant](int number) { assistant.serve(number); });
}

int main(int argc, char** argv) { return example::program("assistant", argc, argv, body); }

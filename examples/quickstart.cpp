// A small shop, served over HTTP, that keeps its numbers with quipu and shows them to Prometheus.
//
// Real requests drive the numbers. To have some at once, the program also visits itself.

#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <quipu/quipu.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "program.hpp"

using namespace std::chrono_literals;

// ---- The numbers ----

// The values of an enum are a closed set of label values, and their names are what the page shows.
enum class Method { get, post, other };

enum class Sign { open, closed };

// Every instrument is made once, here, and may be used by any thread. Those without labels are on the page from the
// start, at 0; a family shows the series that were asked for.
struct Metrics {
  quipu::Registry registry{{.prefix = "shop", .const_labels = {{"env", "prod"}}}};

  quipu::CounterFamily<Method, int> requests =
      registry.counter<Method, int>({.name = "http_requests_total", .help = "Requests served."}, "method", "code");

  quipu::HistogramFamily<std::string_view> latency =
      registry.histogram({.name = "http_request_duration_seconds",
                          .help = "Time to answer.",
                          .buckets = quipu::buckets::exponential(1ms, 2, 12)},
                         "route");

  quipu::Gauge busy = registry.gauge({.name = "http_requests_in_flight", .help = "Requests being served."});

  quipu::Gauge cart_items = registry.gauge({.name = "cart_items", .help = "Things in the cart."});

  quipu::FractionalCounter revenue =
      registry.fractional_counter({.name = "revenue_euros_total", .help = "Euros taken in."});

  quipu::Histogram order_value = registry.histogram(
      {.name = "order_value_euros", .help = "Euros per order.", .buckets = {5, 10, 20, 50, 100, 200}});

  // Its buckets come by themselves, each 9 % wider than the one before. Scrapers that do not take native histograms see
  // its sum and its count.
  quipu::NativeHistogram answer_size =
      registry.native_histogram({.name = "http_response_size_bytes", .help = "Bytes per answer."});

  quipu::StateSet<Sign> sign =
      registry.stateset<Sign>({.name = "sign", .help = "What the door says.", .first = Sign::open});

  // Facts that do not change. A label value may be any text.
  Metrics() {
    registry.info({.name = "build_info", .help = "What is running."},
                  {{"version", "1.0"}, {"motto", "\"Knots\\strings\",\nand no paper."}});
  }
};

// ---- The shop ----

struct Product {
  std::string name;
  double euros;
};

class Shop {
 public:
  Shop() {
    get(R"(/product/(\d+))", "/product/:id", [this](const auto& request, auto& response) {
      const auto product = products_.find(request.matches[1].str());
      if (product == products_.end()) return answer(response, 404, "no such product");
      answer(response, 200, product->second.name);
    });
    post("/cart", "/cart", [this](const auto& request, auto& response) {
      const auto id = request.has_param("product") ? request.get_param_value("product") : "1";
      const auto product = products_.find(id);
      if (product == products_.end()) return answer(response, 404, "no such product");
      const std::lock_guard lock(cart_mutex_);
      cart_value_ += product->second.euros;
      metrics_.cart_items.inc();
      answer(response, 200, "in the cart");
    });
    post("/checkout", "/checkout", [this](const auto&, auto& response) {
      const std::lock_guard lock(cart_mutex_);
      if (cart_value_ == 0) return answer(response, 409, "the cart is empty");
      metrics_.revenue.inc(cart_value_);
      metrics_.order_value.observe(cart_value_);
      metrics_.cart_items.set(0);
      cart_value_ = 0;
      answer(response, 200, "sold");
    });
    get("/slow", "/slow", [](const auto& request, auto& response) {
      int ms = 100;
      const std::string text = request.get_param_value("ms");
      std::from_chars(text.data(), text.data() + text.size(), ms);
      std::this_thread::sleep_for(std::clamp(ms, 0, 2000) * 1ms);
      answer(response, 200, "at last");
    });
    const auto nothing = [](const auto&, auto& response) { answer(response, 404, "not found"); };
    get(".*", "other", nothing);
    post(".*", "other", nothing);
  }
  ~Shop() { stop(); }

  // Returns the port. Throws std::runtime_error.
  int start(const std::string& host, int port) {
    // httplib's own choice would let two programs listen on one port.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server_.set_keep_alive_max_count(1);  // an idle client would delay the end of the program
    const int bound = port == 0 ? server_.bind_to_any_port(host) : server_.bind_to_port(host, port) ? port : -1;
    if (bound < 0) {
      throw std::runtime_error("the shop cannot listen on \"" + host + ":" + std::to_string(port) +
                               "\"; is the port in use?");
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(1ms);
    return bound;
  }

  void stop() {
    metrics_.sign.set(Sign::closed);
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] const quipu::Registry& registry() const { return metrics_.registry; }

 private:
  using Handler = httplib::Server::Handler;

  static void answer(httplib::Response& response, int status, const std::string& text) {
    response.status = status;
    response.set_content(text + "\n", "text/plain");
  }

  void get(const std::string& pattern, std::string_view route, Handler handler) {
    server_.Get(pattern, measured(route, std::move(handler)));
  }

  // Leaves the body of the request unread: all that matters is in the URL, and `curl -X POST` sends no length.
  void post(const std::string& pattern, std::string_view route, Handler handler) {
    server_.Post(pattern, [handler = measured(route, std::move(handler))](const auto& request, auto& response,
                                                                          const httplib::ContentReader&) {
      handler(request, response);
    });
  }

  // Makes a handler count and time what it does.
  //
  // The label is the route, one of a few that this program knows. It is never the path that was asked for: clients
  // choose those, and each one would be a new series.
  Handler measured(std::string_view route, Handler handler) {
    return [this, latency = metrics_.latency(route), handler = std::move(handler)](const httplib::Request& request,
                                                                                   httplib::Response& response) {
      const auto in_flight = metrics_.busy.track();  // one more until the end of the scope
      const auto timer = latency.time();             // observes the seconds until the end of the scope
      handler(request, response);
      const auto method = request.method == "GET"    ? Method::get
                          : request.method == "POST" ? Method::post
                                                     : Method::other;
      // An example of the requests that were counted, by which Prometheus can lead from a graph to one trace. It is
      // made for one request a second at the most.
      const std::string trace = request.get_header_value("X-Trace-Id");
      metrics_.requests(method, response.status).inc(1, [&trace] {
        return trace.empty() ? quipu::Exemplar() : quipu::Exemplar{{"trace_id", trace}};
      });
      metrics_.answer_size.observe(static_cast<double>(response.body.size()));
    };
  }

  const std::map<std::string, Product> products_{
      {"1", {"a ball of wool", 4.5}}, {"2", {"a llama", 180}}, {"3", {"knots, a dozen", 12.25}}};

  std::mutex cart_mutex_;
  double cart_value_ = 0;

  Metrics metrics_;
  // A value that the program has anyway can be read when the page is made, instead of being kept up to date. The
  // callback uses the members above, so this one is declared after them, and ends before them.
  quipu::Registration cart_value_gauge_ =
      metrics_.registry.gauge_callback({.name = "cart_value_euros", .help = "Euros in the cart."}, [this] {
        const std::lock_guard lock(cart_mutex_);
        return cart_value_;
      });

  httplib::Server server_;
  std::thread thread_;
};

// ---- Visitors ----

// Sends the shop a request at every `pause`, until destruction.
class Visitors {
 public:
  Visitors(std::string host, int port, std::chrono::milliseconds pause)
      : thread_([host = std::move(host), port, pause](const std::stop_token& end) {
          httplib::Client client(host, port);
          std::mutex mutex;
          std::condition_variable_any wake;
          std::unique_lock lock(mutex);
          for (unsigned i = 0; !end.stop_requested(); ++i) {
            const std::string product = std::to_string(i % 5);  // products 0 and 4 do not exist
            switch (i % 8) {
              case 5:
                client.Post("/cart?product=" + product);
                break;
              case 6:
                client.Get("/slow?ms=" + std::to_string(i * 37 % 150));
                break;
              case 7:
                client.Post("/checkout");
                break;
              default:
                client.Get("/product/" + product);
            }
            wake.wait_for(lock, end, pause, [] { return false; });
          }
        }) {}

 private:
  std::jthread thread_;
};

// ---- The program ----

constexpr std::string_view usage =
    "usage: quickstart [--listen HOST:PORT] [--shop HOST:PORT] [--seconds N] [--quiet-traffic | --no-traffic]\n"
    "  --listen HOST:PORT  where the metrics are (127.0.0.1:9464)\n"
    "  --shop HOST:PORT    where the shop is (127.0.0.1:0; with port 0 the system chooses)\n"
    "  --seconds N         end after N seconds instead of at Ctrl-C\n"
    "  --quiet-traffic     visit the shop once a second instead of 20 times\n"
    "  --no-traffic        do not visit the shop\n";

struct Arguments {
  std::string listen = "127.0.0.1:9464";
  example::Address shop{"127.0.0.1", 0};
  std::optional<int> seconds;
  std::chrono::milliseconds pause = 50ms;  // between two visits; 0 for none
};

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--quiet-traffic") {
      arguments.pause = 1s;
    } else if (option == "--no-traffic") {
      arguments.pause = 0s;
    } else if (++i == argc) {
      return std::nullopt;
    } else if (const auto address = example::parse_address(argv[i]); option == "--listen" && address) {
      arguments.listen = argv[i];
    } else if (option == "--shop" && address && !address->host.empty()) {
      arguments.shop = *address;
    } else if (const auto number = example::parse_number(argv[i], 1'000'000'000); option == "--seconds" && number) {
      arguments.seconds = number;
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

int main(int argc, char** argv) try {
  if (argc == 2 && argv[1] == std::string_view("--help")) {
    std::cout << usage;
    return 0;
  }
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    std::cerr << usage;
    return 2;
  }
  const example::EndSignals signals;
  Shop shop;
  const quipu::Exposer endpoint{shop.registry(), {.listen = arguments->listen}};
  const int port = shop.start(arguments->shop.host, arguments->shop.port);
  const std::string url = "http://" + arguments->shop.host + ":" + std::to_string(port);
  std::cout << "metrics: " << endpoint.url() << "\nshop:    " << url << "\n\ntry:     curl " << endpoint.url()
            << "\n         curl " << url << "/product/2\n         curl -X POST '" << url
            << "/cart?product=2'\n         curl -X POST " << url << "/checkout\n"
            << std::flush;

  std::optional<Visitors> visitors;
  if (arguments->pause > 0s) visitors.emplace(arguments->shop.host, port, arguments->pause);

  if (arguments->seconds) {
    signals.wait_for(std::chrono::seconds(*arguments->seconds));
  } else {
    signals.wait();
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "quickstart: " << error.what() << '\n';
  return 1;
}

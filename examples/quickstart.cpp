// A small shop, served over HTTP, that keeps its numbers with quipu and shows them to Prometheus.
//
// Real requests drive the numbers. To have some at once, the program also visits itself.

#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <quipu/quipu.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "listening.hpp"
#include "program.hpp"

using namespace std::chrono_literals;

// The numbers.

// The values of an enum are a closed set of label values, and their names are what the page shows.
enum class Method { get, post, other };

enum class Sign { open, closed };

// Every instrument is made once, here, and may be used by any thread. Those without labels are on the page from the
// start, at 0; a family shows the series that were asked for.
struct Metrics {
  quipu::Registry registry{{.prefix = "shop", .const_labels = {{"env", "prod"}}}};

  quipu::CounterFamily<Method, int> requests =
      registry.counter<Method, int>({.name = "http_requests_total", .help = "Requests served."}, {"method", "code"});

  quipu::HistogramFamily<std::string_view> latency =
      registry.histogram({.name = "http_request_duration_seconds",
                          .help = "Time to answer.",
                          .buckets = quipu::buckets::exponential(1ms, 2, 12)},
                         {"route"});

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

// The shop.

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
  int start(const std::string& address) {
    listening_ = std::make_unique<example::Listening>(server_, address);
    return listening_->port();
  }

  void stop() {
    metrics_.sign.set(Sign::closed);
    listening_.reset();
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
  std::unique_ptr<example::Listening> listening_;
};

// A visitor.

class Visitor {
 public:
  Visitor(const std::string& host, int port) : client_(host, port) {}

  void visit(int number) {
    const std::string product = std::to_string(number % 5);  // products 0 and 4 do not exist
    switch (number % 8) {
      case 5:
        client_.Post("/cart?product=" + product);
        break;
      case 6:
        client_.Get("/slow?ms=" + std::to_string(number % 150 * 37 % 150));
        break;
      case 7:
        client_.Post("/checkout");
        break;
      default:
        client_.Get("/product/" + product);
    }
  }

 private:
  httplib::Client client_;
};

// The program.

int main(int argc, char** argv) {
  std::string address = "127.0.0.1:0";
  const auto body = [&address](const example::Arguments& arguments, const example::EndSignals& signals) {
    Shop shop;
    const quipu::Exposer endpoint{shop.registry(), {.listen = arguments.listen}};
    const int port = shop.start(address);
    const std::string host = address.substr(0, address.rfind(':'));
    const std::string url = "http://" + host + ":" + std::to_string(port);
    std::cout << "metrics: " << endpoint.url() << "\nshop:    " << url << "\n\ntry:     curl " << endpoint.url()
              << "\n         curl " << url << "/product/2\n         curl -X POST '" << url
              << "/cart?product=2'\n         curl -X POST " << url << "/checkout\n"
              << std::flush;

    Visitor visitor(host, port);
    example::run(arguments, signals, 50ms, [&visitor](int number) { visitor.visit(number); });
  };
  return example::program("quickstart", argc, argv, body,
                          {example::address_option("--shop", "where the shop is (" + address + ')', address)});
}

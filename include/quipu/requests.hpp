#pragma once

#include <cstddef>
#include <exception>
#include <utility>

#include "quipu/batch.hpp"
#include "quipu/buckets.hpp"
#include "quipu/counter.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/family.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/label.hpp"
#include "quipu/name.hpp"
#include "quipu/registry.hpp"

/// The usual metrics of a service: how many requests, how many errors, how long requests take, and how many there are
/// at the moment (rate, errors, duration: "RED").
///
///     quipu::RequestFamily requests(registry.subsystem("http"), {}, {"route"});
///
///     auto request = requests("/cart").start();  // one more in flight
///     if (!sell()) request.fail();               // an error; an exception that leaves the scope is one, too
///
/// makes http_requests_total, http_request_errors_total, http_request_duration_seconds and http_requests_in_flight.
namespace quipu {

struct RequestOptions {
  /// The buckets of the durations, in seconds.
  Buckets buckets = quipu::buckets::defaults();
  /// The limit for each of the families, as in MetricOptions.
  std::size_t max_series = 100'000;
};

namespace detail {

/// The definitions of the four families, apart from their labels.
struct RequestDefinitions {
  explicit RequestDefinitions(const RequestOptions& options)
      : total{.name = "requests_total", .help = "Requests that were served.", .max_series = options.max_series},
        errors{.name = "request_errors_total", .help = "Requests that failed.", .max_series = options.max_series},
        duration{.name = "request_duration_seconds",
                 .help = "Time to serve a request.",
                 .buckets = options.buckets,
                 .max_series = options.max_series},
        in_flight{.name = "requests_in_flight", .help = "Requests being served.", .max_series = options.max_series} {}

  MetricOptions total;
  MetricOptions errors;
  HistogramOptions duration;
  MetricOptions in_flight;
};

}  // namespace detail

class [[nodiscard("quipu: keep the request until it has been served")]] Request;

/// The four series of one kind of request. It consists of four handles, nine words in all, and makes the same promises.
/// Thread-safe.
class Requests {
 public:
  Requests() noexcept = default;
  Requests(Counter total, Counter errors, Histogram duration, Gauge in_flight) noexcept
      : total_(total), errors_(errors), duration_(duration), in_flight_(in_flight) {}
  /// Registers the series without labels, as a batch. Throws RegistrationError.
  explicit Requests(const Scope& scope, const RequestOptions& options = {})
      : Requests(batch<Requests>(scope, "", detail::RequestDefinitions(options))) {}
  /// For batch().
  Requests(const Scope& scope, const detail::RequestDefinitions& definitions)
      : total_(scope.counter(definitions.total)),
        errors_(scope.counter(definitions.errors)),
        duration_(scope.histogram(definitions.duration)),
        in_flight_(scope.gauge(definitions.in_flight)) {}

  /// Starts a request, which ends with the scope. Start and end together take two clock reads and about 20 ns.
  Request start() const noexcept;

  [[nodiscard]] Counter total() const noexcept { return total_; }
  [[nodiscard]] Counter errors() const noexcept { return errors_; }
  [[nodiscard]] Histogram duration() const noexcept { return duration_; }
  [[nodiscard]] Gauge in_flight() const noexcept { return in_flight_; }

  friend bool operator==(const Requests&, const Requests&) = default;

 private:
  Counter total_;
  Counter errors_;
  Histogram duration_;
  Gauge in_flight_;
};

/// A request that is being served, until the end of the scope. When it ends, it is counted, with its time. It also
/// counts as an error if fail() was called, or if an exception leaves the scope. Movable. Thread-compatible.
///
/// An exception is noticed if it leaves the scope of the request on the thread that started it. An exception that a
/// coroutine stores is not noticed: call `fail()` where it is caught.
class Request {
 public:
  [[nodiscard("quipu: keep the request until it has been served")]] explicit Request(const Requests& requests) noexcept
      : total_(requests.total()),
        errors_(requests.errors()),
        in_flight_(requests.in_flight().track()),
        timer_(requests.duration()) {}
  Request(Request&& other) noexcept
      : total_(other.total_),
        errors_(other.errors_),
        in_flight_(std::move(other.in_flight_)),
        timer_(std::move(other.timer_)),
        exceptions_(other.exceptions_),
        has_failed_(other.has_failed_),
        is_running_(std::exchange(other.is_running_, false)) {}
  Request& operator=(Request&&) = delete;
  ~Request() {
    if (is_running_ && std::uncaught_exceptions() > exceptions_) fail();
    end();
  }

  /// Makes the request an error, however it ends.
  void fail() noexcept { has_failed_ = true; }

  /// Changes the series in which the request is counted at its end, for instance when its status is known. It stays in
  /// flight where it started.
  void into(const Requests& requests) noexcept {
    total_ = requests.total();
    errors_ = requests.errors();
    timer_.into(requests.duration());
  }

  /// Ends the request now. The end of the scope then does nothing.
  void end() noexcept { end_with(); }
  /// The same with an exemplar of the duration, or with a function that makes one (see ExemplarMaker).
  void end(const Exemplar& exemplar) noexcept { end_with(exemplar); }
  template <ExemplarMaker Make>
  void end(Make make) {
    end_with(std::move(make));
  }

  /// Counts nothing, now or at the end of the scope. The request is not in flight any more.
  void discard() noexcept {
    is_running_ = false;
    timer_.discard();
    in_flight_.end();
  }

  /// Time since the start.
  [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return timer_.elapsed(); }

 private:
  template <class... Source>
  void end_with(Source&&... exemplar) {
    if (!std::exchange(is_running_, false)) return;
    total_.inc();
    if (has_failed_) errors_.inc();
    in_flight_.end();
    timer_.stop(std::forward<Source>(exemplar)...);
  }

  Counter total_;
  Counter errors_;
  GaugeTracker in_flight_;
  Timer timer_;
  int exceptions_ = std::uncaught_exceptions();
  bool has_failed_ = false;
  bool is_running_ = true;
};

inline Request Requests::start() const noexcept { return Request(*this); }

/// The four families of requests with labels: `requests(Method::get, "/cart").start()`. Label types are those of any
/// family. Without them (`RequestFamily requests(scope, {}, {"route"})`) label values are text.
///
/// A handle that keeps the memory of the families alive. Thread-safe.
template <class... LabelTypes>
class RequestFamily {
 public:
  static_assert(sizeof...(LabelTypes) > 0, "quipu: a family has labels; without labels there is quipu::Requests");
  using LabelNames = const LabelName (&)[sizeof...(LabelTypes)];

  /// Registers the families as a batch. Throws RegistrationError.
  RequestFamily(const Scope& scope, const RequestOptions& options, LabelNames labels)
      : RequestFamily(batch<RequestFamily>(scope, "", detail::RequestDefinitions(options), labels)) {}
  /// For batch().
  RequestFamily(const Scope& scope, const detail::RequestDefinitions& definitions, LabelNames labels)
      : total_(scope.counter<LabelTypes...>(definitions.total, labels)),
        errors_(scope.counter<LabelTypes...>(definitions.errors, labels)),
        duration_(scope.histogram<LabelTypes...>(definitions.duration, labels)),
        in_flight_(scope.gauge<LabelTypes...>(definitions.in_flight, labels)) {}

  /// The series with these label values, made (at 0) if they do not exist. Where the values are known beforehand, keep
  /// the result. Never throws, as in Family.
  [[nodiscard]] Requests operator()(detail::LabelArgument<LabelTypes>... values) const noexcept {
    return {total_(values...), errors_(values...), duration_(values...), in_flight_(values...)};
  }

  /// As in Family.
  void create(detail::LabelArgument<LabelTypes>... values) const noexcept { static_cast<void>((*this)(values...)); }
  void create_all() const noexcept {
    total_.create_all();
    errors_.create_all();
    duration_.create_all();
    in_flight_.create_all();
  }
  /// Returns whether there were such series.
  bool remove(detail::LabelArgument<LabelTypes>... values) const {
    const bool was_there = total_.remove(values...);
    errors_.remove(values...);
    duration_.remove(values...);
    in_flight_.remove(values...);
    return was_there;
  }

 private:
  CounterFamily<LabelTypes...> total_;
  CounterFamily<LabelTypes...> errors_;
  HistogramFamily<LabelTypes...> duration_;
  GaugeFamily<LabelTypes...> in_flight_;
};

RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[1])->RequestFamily<std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[2])
    ->RequestFamily<std::string_view, std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[3])
    ->RequestFamily<std::string_view, std::string_view, std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[4])
    ->RequestFamily<std::string_view, std::string_view, std::string_view, std::string_view>;

}  // namespace quipu

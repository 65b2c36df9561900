#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "quipu/batch.hpp"
#include "quipu/buckets.hpp"
#include "quipu/counter.hpp"
#include "quipu/detail/family/kept_label.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/family.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/label.hpp"
#include "quipu/name.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/registry.hpp"
#include "quipu/runtime_family.hpp"
#include "quipu/sample.hpp"

/// The usual metrics of a service: how many requests, how many errors, how long requests take, and how many there are
/// at the moment (rate, errors, duration: "RED").
///
///     quipu::RequestFamily requests(registry.subsystem("http"), {}, {"route"});
///
///     auto request = requests("/cart").start();  // one more in flight
///     if (!sell()) request.fail();               // an error; an exception that leaves the scope is one, too
///
/// makes http_requests_total, http_request_errors_total, http_request_duration_seconds and http_requests_in_flight.
///
/// Labels that are known at the end only, such as a status, have a list of their own:
///
///     quipu::RequestFamily<Method, std::string_view, quipu::AtEnd<int>> requests(
///         registry.subsystem("http"), {}, {"method", "route"}, {"code"});
///
///     auto request = requests(Method::post, "/cart").start(500);  // 500 if an exception leaves the scope
///     request.end(sell() ? 200 : 409);
///
/// makes http_requests_total{method,route,code}, and the other three with {method,route}.
namespace quipu {

/// The type of the histogram of durations.
enum class DurationHistogram : std::uint8_t {
  classic,
  /// See NativeHistogram. Servers that do not read native histograms see the sum and the count.
  native,
  /// Native, with the classic buckets for servers that do not read native ones.
  both,
};

struct RequestOptions {
  /// The classic buckets of the durations, in seconds.
  Buckets buckets = quipu::buckets::defaults();
  DurationHistogram durations = DurationHistogram::classic;
  /// Of native buckets, as in NativeHistogramOptions, whose other values are those by default.
  double native_growth_factor = 1.1;
  /// Whether durations have the labels that are known at the end, too. Then each value of such a label costs a whole
  /// histogram for each combination of the other labels.
  bool end_labels_on_durations = false;
  /// The limit for each of the families, as in MetricOptions.
  std::size_t max_series = 100'000;
};

/// The types of the labels that are known when a request ends; see RequestFamily.
template <class... LabelTypes>
struct AtEnd {};

namespace detail {

/// The definitions of the four families, apart from their labels.
struct RequestDefinitions {
  explicit RequestDefinitions(const RequestOptions& options)
      : total{.name = "requests_total", .help = "Requests that were served.", .max_series = options.max_series},
        errors{.name = "request_errors_total", .help = "Requests that failed.", .max_series = options.max_series},
        classic_duration{.name = "request_duration_seconds",
                         .help = "Time to serve a request.",
                         .buckets = options.buckets,
                         .max_series = options.max_series},
        native_duration{.name = "request_duration_seconds",
                        .help = "Time to serve a request.",
                        .growth_factor = options.native_growth_factor,
                        .max_series = options.max_series},
        in_flight{.name = "requests_in_flight", .help = "Requests being served.", .max_series = options.max_series},
        has_native_durations(options.durations != DurationHistogram::classic),
        has_end_labels_on_durations(options.end_labels_on_durations) {
    if (options.durations == DurationHistogram::both) native_duration.buckets = options.buckets;
  }

  MetricOptions total;
  MetricOptions errors;
  HistogramOptions classic_duration;
  NativeHistogramOptions native_duration;
  MetricOptions in_flight;
  bool has_native_durations;
  bool has_end_labels_on_durations;
};

/// A histogram of either type.
class Durations {
 public:
  Durations() noexcept = default;
  Durations(Histogram histogram) noexcept : histogram_(histogram) {}
  Durations(NativeHistogram histogram) noexcept : histogram_(histogram) {}

  template <class... Source>
  void observe(std::chrono::nanoseconds time, const Source&... exemplar) const {
    if (const auto* classic = std::get_if<Histogram>(&histogram_)) [[likely]] {
      classic->observe(time, exemplar...);
    } else {
      std::get_if<NativeHistogram>(&histogram_)->observe(time, exemplar...);
    }
  }

  friend bool operator==(const Durations&, const Durations&) = default;

 private:
  std::variant<Histogram, NativeHistogram> histogram_;
};

/// A list of label names, which may be empty.
template <std::size_t Count>
struct LabelNames {
  LabelName names[Count];
};
template <>
struct LabelNames<0> {};

template <std::size_t Count>
LabelNames<Count> label_names(const LabelName (&names)[Count]) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) { return LabelNames<Count>{{names[I]...}}; }
  (std::make_index_sequence<Count>());
}
template <std::size_t Left, std::size_t Right>
LabelNames<Left + Right> joined(const LabelNames<Left>& left, const LabelNames<Right>& right) {
  if constexpr (Left == 0) {
    return right;
  } else {
    return [&]<std::size_t... I, std::size_t... J>(std::index_sequence<I...>, std::index_sequence<J...>) {
      return LabelNames<Left + Right>{{left.names[I]..., right.names[J]...}};
    }
    (std::make_index_sequence<Left>(), std::make_index_sequence<Right>());
  }
}

/// A family, or without labels its only series.
template <class Instrument, class... LabelTypes>
class FamilyOrOne {
 public:
  FamilyOrOne() = default;
  FamilyOrOne(Family<Instrument, LabelTypes...> family) noexcept : family_(std::move(family)) {}

  [[nodiscard]] Instrument operator()(LabelArgument<LabelTypes>... values) const noexcept { return family_(values...); }
  [[nodiscard]] Instrument with(const LabelPairs& labels) const { return family_.with(labels); }
  void create_all() const noexcept { family_.create_all(); }
  bool remove(LabelArgument<LabelTypes>... values) const { return family_.remove(values...); }
  template <class Predicate>
  std::size_t remove_if(Predicate& should_remove) const {
    return family_.remove_if([&](Labels labels) -> bool { return should_remove(labels); });
  }

 private:
  Family<Instrument, LabelTypes...> family_;
};
template <class Instrument>
class FamilyOrOne<Instrument> {
 public:
  FamilyOrOne() = default;
  FamilyOrOne(Instrument one) noexcept : one_(one) {}

  [[nodiscard]] Instrument operator()() const noexcept { return one_; }
  void create_all() const noexcept {}
  template <class Predicate>
  std::size_t remove_if(Predicate&) const {
    return 0;
  }

 private:
  Instrument one_;
};

template <class... LabelTypes>
FamilyOrOne<Counter, LabelTypes...> counters(const Scope& scope, const MetricOptions& options,
                                             const LabelNames<sizeof...(LabelTypes)>& labels) {
  if constexpr (sizeof...(LabelTypes) == 0) {
    return scope.counter(options);
  } else {
    return scope.counter<LabelTypes...>(options, labels.names);
  }
}
template <class... LabelTypes>
FamilyOrOne<Gauge, LabelTypes...> gauges(const Scope& scope, const MetricOptions& options,
                                         const LabelNames<sizeof...(LabelTypes)>& labels) {
  if constexpr (sizeof...(LabelTypes) == 0) {
    return scope.gauge(options);
  } else {
    return scope.gauge<LabelTypes...>(options, labels.names);
  }
}

/// The durations of all requests, in histograms of either type.
template <class... LabelTypes>
class DurationFamily {
 public:
  /// Is on no page.
  DurationFamily() = default;
  DurationFamily(const Scope& scope, const RequestDefinitions& definitions,
                 const LabelNames<sizeof...(LabelTypes)>& labels)
      : is_native_(definitions.has_native_durations) {
    if constexpr (sizeof...(LabelTypes) == 0) {
      if (is_native_) {
        native_ = scope.native_histogram(definitions.native_duration);
      } else {
        classic_ = scope.histogram(definitions.classic_duration);
      }
    } else {
      if (is_native_) {
        native_ = scope.native_histogram<LabelTypes...>(definitions.native_duration, labels.names);
      } else {
        classic_ = scope.histogram<LabelTypes...>(definitions.classic_duration, labels.names);
      }
    }
  }

  [[nodiscard]] Durations operator()(LabelArgument<LabelTypes>... values) const noexcept {
    if (is_native_) return native_(values...);
    return classic_(values...);
  }
  [[nodiscard]] Durations with(const LabelPairs& labels) const {
    if (is_native_) return native_.with(labels);
    return classic_.with(labels);
  }
  void create_all() const noexcept { is_native_ ? native_.create_all() : classic_.create_all(); }
  bool remove(LabelArgument<LabelTypes>... values) const {
    return is_native_ ? native_.remove(values...) : classic_.remove(values...);
  }
  template <class Predicate>
  std::size_t remove_if(Predicate& should_remove) const {
    return is_native_ ? native_.remove_if(should_remove) : classic_.remove_if(should_remove);
  }

 private:
  bool is_native_ = false;
  FamilyOrOne<Histogram, LabelTypes...> classic_;
  FamilyOrOne<NativeHistogram, LabelTypes...> native_;
};

template <class... Values>
constexpr void these_requests_have_labels_known_at_the_end() {
  static_assert(sizeof...(Values) == 0,
                "quipu: these requests have no labels known at the end: give the family their types and names, as in "
                "RequestFamily<Method, AtEnd<int>>(scope, options, {\"method\"}, {\"code\"})");
}

/// A request apart from its total.
class RunningRequest {
 public:
  RunningRequest(Counter errors, Durations duration, Gauge in_flight) noexcept
      : errors_(errors), duration_(duration), in_flight_(in_flight) {
    in_flight_.inc();
  }
  RunningRequest(RunningRequest&& other) noexcept
      : errors_(other.errors_),
        duration_(other.duration_),
        in_flight_(other.in_flight_),
        start_(other.start_),
        exceptions_(other.exceptions_),
        has_failed_(other.has_failed_),
        is_running_(std::exchange(other.is_running_, false)) {}
  RunningRequest& operator=(RunningRequest&&) = delete;
  /// It has ended.
  ~RunningRequest() = default;

  [[nodiscard]] bool is_running() const noexcept { return is_running_; }
  [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return Timer::Clock::now() - start_; }
  void fail() noexcept { has_failed_ = true; }
  /// Makes it an error if an exception is leaving its scope.
  void notice_exception() noexcept {
    if (std::uncaught_exceptions() > exceptions_) fail();
  }
  void into(Durations duration) noexcept { duration_ = duration; }
  void discard() noexcept {
    if (std::exchange(is_running_, false)) in_flight_.dec();
  }
  /// To be called while it is running.
  void end(Counter total) noexcept {
    const auto time = leave(total);
    observe_time(duration_, time);
    if (has_failed_) errors_.inc(1, current_exemplar);
  }
  template <class Source>
  void end(Counter total, const Source& exemplar) {
    const auto time = leave(total);
    try {
      duration_.observe(time, exemplar);
    } catch (...) {  // it was observed; what makes the exemplar threw
      if (has_failed_) errors_.inc();
      throw;
    }
    if (has_failed_) errors_.inc(1, exemplar);
  }

 private:
  Timer::Clock::duration leave(Counter total) noexcept {
    is_running_ = false;
    const auto time = elapsed();
    total.inc();
    in_flight_.dec();
    return time;
  }

  Counter errors_;
  Durations duration_;
  Gauge in_flight_;
  Timer::Clock::time_point start_ = Timer::Clock::now();
  int exceptions_ = std::uncaught_exceptions();
  bool has_failed_ = false;
  bool is_running_ = true;
};

}  // namespace detail

class [[nodiscard("quipu: keep the request until it has been served")]] Request;

/// The four series of one kind of request. It consists of four handles, ten words in all, and makes the same promises.
/// Thread-safe.
class Requests {
 public:
  Requests() noexcept = default;
  Requests(Counter total, Counter errors, detail::Durations duration, Gauge in_flight) noexcept
      : total_(total), errors_(errors), duration_(duration), in_flight_(in_flight) {}
  /// Registers the series without labels, as a batch. Throws RegistrationError.
  explicit Requests(const Scope& scope, const RequestOptions& options = {})
      : Requests(batch<Requests>(scope, "", detail::RequestDefinitions(options))) {}
  /// For batch().
  Requests(const Scope& scope, const detail::RequestDefinitions& definitions)
      : total_(scope.counter(definitions.total)),
        errors_(scope.counter(definitions.errors)),
        duration_(detail::DurationFamily<>(scope, definitions, {})()),
        in_flight_(scope.gauge(definitions.in_flight)) {}

  /// Starts a request, which ends with the scope. Start and end together take two clock reads and about 20 ns.
  Request start() const noexcept;
  template <class... Values>
  requires(sizeof...(Values) > 0) void start(const Values&...) const {
    detail::these_requests_have_labels_known_at_the_end<Values...>();
  }

  [[nodiscard]] Counter total() const noexcept { return total_; }
  [[nodiscard]] Counter errors() const noexcept { return errors_; }
  [[nodiscard]] Gauge in_flight() const noexcept { return in_flight_; }

  friend bool operator==(const Requests&, const Requests&) = default;

 private:
  friend Request;

  Counter total_;
  Counter errors_;
  detail::Durations duration_;
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
      : total_(requests.total_), running_(requests.errors_, requests.duration_, requests.in_flight_) {}
  Request(Request&&) noexcept = default;
  Request& operator=(Request&&) = delete;
  ~Request() {
    if (!running_.is_running()) return;
    running_.notice_exception();
    end();
  }

  /// Makes the request an error, however it ends.
  void fail() noexcept { running_.fail(); }

  /// Ends the request now. The end of the scope then does nothing. Its duration, and its error if it is one, have the
  /// exemplar of the registry's source (RegistryOptions::exemplars), if there is one.
  void end() noexcept { end_with(); }
  /// The same with this exemplar, or with a function that makes one (see ExemplarMaker), which an error asks as well.
  void end(const Exemplar& exemplar) noexcept { end_with(exemplar); }
  template <ExemplarMaker Make>
  void end(Make make) {
    if constexpr (std::is_same_v<Make, CurrentExemplar>) {
      end_with();
    } else {
      end_with([&make]() -> Exemplar { return make(); });
    }
  }
  template <class Value>
  requires(!ExemplarMaker<Value> && !std::is_convertible_v<const Value&, Exemplar>) void end(const Value&) {
    detail::these_requests_have_labels_known_at_the_end<Value>();
  }

  /// Counts nothing, now or at the end of the scope. The request is not in flight any more.
  void discard() noexcept { running_.discard(); }

  /// Time since the start.
  [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return running_.elapsed(); }

 private:
  template <class... Source>
  void end_with(const Source&... exemplar) {
    if (running_.is_running()) running_.end(total_, exemplar...);
  }

  Counter total_;
  detail::RunningRequest running_;
};

inline Request Requests::start() const noexcept { return Request(*this); }

namespace detail {

template <class... LabelTypes>
struct TypeList {};

template <class LabelType>
inline constexpr bool is_at_end = false;
template <class... LabelTypes>
inline constexpr bool is_at_end<AtEnd<LabelTypes...>> = true;

/// Whether the lists of names are as long as those of types.
template <std::size_t StartNames, std::size_t StartTypes, std::size_t EndNames, std::size_t EndTypes>
struct NamesOfTypes {
  static_assert(StartNames == StartTypes && EndNames == EndTypes,
                "quipu: each label has a name and a type, and the labels known at the end have a list of their own: "
                "RequestFamily<Method, AtEnd<int>>(scope, options, {\"method\"}, {\"code\"})");
  static constexpr bool are_as_many = true;
};

template <class Start, class End>
class EndLabelFamily;

/// A RequestFamily that has labels known at the end. `Start` are the types of the labels known at the start.
template <class... Start, class... End>
class EndLabelFamily<TypeList<Start...>, TypeList<End...>> {
  static_assert(sizeof...(End) > 0 && (!is_at_end<End> && ...),
                "quipu: AtEnd lists the types of the labels known at the end: RequestFamily<Method, AtEnd<int>>");

  struct Families {
    Families(const Scope& scope, const RequestDefinitions& definitions, const LabelNames<sizeof...(Start)>& start,
             const LabelNames<sizeof...(End)>& end)
        : total(counters<Start..., End...>(scope, definitions.total, joined(start, end))),
          errors(counters<Start...>(scope, definitions.errors, start)),
          in_flight(gauges<Start...>(scope, definitions.in_flight, start)),
          has_end_labels_on_durations(definitions.has_end_labels_on_durations) {
      if (has_end_labels_on_durations) {
        full_duration = DurationFamily<Start..., End...>(scope, definitions, joined(start, end));
      } else {
        duration = DurationFamily<Start...>(scope, definitions, start);
      }
    }

    FamilyOrOne<Counter, Start..., End...> total;
    FamilyOrOne<Counter, Start...> errors;
    FamilyOrOne<Gauge, Start...> in_flight;
    // Only one of these is registered.
    DurationFamily<Start...> duration{};
    DurationFamily<Start..., End...> full_duration{};
    bool has_end_labels_on_durations;
  };

  /// What finds a series, as soon as the labels known at the end are known.
  struct Site {
    std::shared_ptr<const Families> families;
    std::tuple<KeptLabel<Start>...> start_values;
  };

 public:
  class Request;

  /// The requests with some values of the labels known at the start. Keep it where these are known beforehand.
  /// Thread-safe.
  class Requests {
   public:
    /// Starts a request, which ends with the scope. The labels known at the end have these values if the request is
    /// told no others.
    [[nodiscard]] Request start(LabelArgument<End>... values) const& noexcept {
      return Request(Site(site_), errors_, duration_, in_flight_, values...);
    }
    [[nodiscard]] Request start(LabelArgument<End>... values) && noexcept {
      return Request(std::move(site_), errors_, duration_, in_flight_, values...);
    }
    template <class... Values>
    requires(sizeof...(Values) != sizeof...(End)) void start(const Values&...) const {
      static_assert(sizeof...(Values) == sizeof...(End),
                    "quipu: start() takes the values that the labels known at the end have if the request is told no "
                    "others, because an exception leaves the scope, say: start(500)");
    }

   private:
    friend EndLabelFamily;
    Requests(const std::shared_ptr<const Families>& families, LabelArgument<Start>... values) noexcept
        : site_{families, std::tuple<KeptLabel<Start>...>(KeptLabel<Start>(values)...)},
          errors_(families->errors(values...)),
          in_flight_(families->in_flight(values...)) {
      if (!families->has_end_labels_on_durations) duration_ = families->duration(values...);
    }

    Site site_;
    Counter errors_;
    Gauge in_flight_;
    Durations duration_;
  };

  /// A quipu::Request that can be told the values of the labels known at the end. Movable. Thread-compatible.
  class [[nodiscard]] Request {
   public:
    Request(Request&&) noexcept = default;
    Request& operator=(Request&&) = delete;
    ~Request() {
      if (!running_.is_running()) return;
      running_.notice_exception();
      end();
    }

    void fail() noexcept { running_.fail(); }

    /// Says the values of the labels known at the end. The last ones count, however the scope is left.
    void status(LabelArgument<End>... values) noexcept {
      end_values_ = std::tuple<KeptLabel<End>...>(KeptLabel<End>(values)...);
    }

    void end() noexcept { end_with(); }
    /// The same with these values of the labels known at the end.
    void end(LabelArgument<End>... values) noexcept {
      if (!running_.is_running()) return;
      status(values...);
      end_with();
    }
    void end(const Exemplar& exemplar) noexcept { end_with(exemplar); }
    template <ExemplarMaker Make>
    void end(Make make) {
      if constexpr (std::is_same_v<Make, CurrentExemplar>) {
        end_with();
      } else {
        end_with([&make]() -> Exemplar { return make(); });
      }
    }

    void discard() noexcept { running_.discard(); }
    [[nodiscard]] Timer::Clock::duration elapsed() const noexcept { return running_.elapsed(); }

   private:
    friend Requests;
    Request(Site site, Counter errors, Durations duration, Gauge in_flight, LabelArgument<End>... values) noexcept
        : site_(std::move(site)), end_values_(KeptLabel<End>(values)...), running_(errors, duration, in_flight) {}

    template <class... Source>
    void end_with(const Source&... exemplar) {
      if (!running_.is_running()) return;
      const Families& families = *site_.families;
      const Counter total = with_all_values(families.total);
      if (families.has_end_labels_on_durations) running_.into(with_all_values(families.full_duration));
      running_.end(total, exemplar...);
    }
    template <class AnyFamily>
    [[nodiscard]] auto with_all_values(const AnyFamily& family) const noexcept {
      return [&]<std::size_t... I, std::size_t... J>(std::index_sequence<I...>, std::index_sequence<J...>) {
        return family(std::get<I>(site_.start_values).get()..., std::get<J>(end_values_).get()...);
      }
      (std::index_sequence_for<Start...>(), std::index_sequence_for<End...>());
    }

    Site site_;
    std::tuple<KeptLabel<End>...> end_values_;
    RunningRequest running_;
  };

  /// Registers the families as a batch. Throws RegistrationError.
  template <std::size_t AtStart, std::size_t AtEnd>
  EndLabelFamily(const Scope& scope, const RequestOptions& options, const LabelName (&start)[AtStart],
                 const LabelName (&end)[AtEnd])
      : families_(registered(scope, options, label_names(start), label_names(end))) {
    static_assert(NamesOfTypes<AtStart, sizeof...(Start), AtEnd, sizeof...(End)>::are_as_many);
  }
  /// The same without labels known at the start.
  template <std::size_t AtEnd>
  EndLabelFamily(const Scope& scope, const RequestOptions& options, const LabelName (&end)[AtEnd])
      : families_(registered(scope, options, LabelNames<0>(), label_names(end))) {
    static_assert(NamesOfTypes<0, sizeof...(Start), AtEnd, sizeof...(End)>::are_as_many);
  }

  // There is no move, so that it always has its families.
  EndLabelFamily(const EndLabelFamily&) noexcept = default;
  EndLabelFamily& operator=(const EndLabelFamily&) noexcept = default;

  /// The requests with these values of the labels known at the start. Their series of durations, errors and requests in
  /// flight are made (at 0) if they do not exist; a series of totals is made when a request ends. Never throws.
  [[nodiscard]] Requests operator()(LabelArgument<Start>... values) const noexcept {
    return Requests(families_, values...);
  }

  /// Makes all series with these values, at 0, before anything happens.
  void create(LabelArgument<Start>... start, LabelArgument<End>... end) const noexcept {
    static_cast<void>((*this)(start...));
    static_cast<void>(families_->total(start..., end...));
    if (families_->has_end_labels_on_durations) static_cast<void>(families_->full_duration(start..., end...));
  }
  void create_all() const noexcept requires(closed_combinations<Start..., End...> > 0) {
    families_->total.create_all();
    families_->errors.create_all();
    families_->in_flight.create_all();
    families_->has_end_labels_on_durations ? families_->full_duration.create_all() : families_->duration.create_all();
  }

  /// Removes from each family the series for which `should_remove(labels)` is true, and returns how many. The labels
  /// known at the start come first; totals have those known at the end, too. As in Family.
  template <class Predicate>
  std::size_t remove_if(Predicate should_remove) const {
    return families_->total.remove_if(should_remove) + families_->errors.remove_if(should_remove) +
           families_->in_flight.remove_if(should_remove) +
           (families_->has_end_labels_on_durations ? families_->full_duration.remove_if(should_remove)
                                                   : families_->duration.remove_if(should_remove));
  }

 private:
  template <class StartNames, class EndNames>
  [[nodiscard]] static std::shared_ptr<const Families> registered(const Scope& scope, const RequestOptions& options,
                                                                  const StartNames& start, const EndNames& end) {
    return std::make_shared<const Families>(batch<Families>(scope, "", RequestDefinitions(options), start, end));
  }

  std::shared_ptr<const Families> families_;
};

/// Takes the types before AtEnd one by one.
template <class Start, class... Rest>
struct EndLabelFamilyOf;
template <class... Start, class... End>
struct EndLabelFamilyOf<TypeList<Start...>, AtEnd<End...>> {
  using Type = EndLabelFamily<TypeList<Start...>, TypeList<End...>>;
};
template <class... Start, class Next, class... Rest>
struct EndLabelFamilyOf<TypeList<Start...>, Next, Rest...> : EndLabelFamilyOf<TypeList<Start..., Next>, Rest...> {};
template <class... Start, class... End, class Next, class... Rest>
struct EndLabelFamilyOf<TypeList<Start...>, AtEnd<End...>, Next, Rest...> {
  static_assert(std::is_void_v<Next>,
                "quipu: the labels known at the end come last, in one AtEnd: RequestFamily<Method, AtEnd<int>>");
  using Type = EndLabelFamily<TypeList<Start...>, TypeList<End...>>;
};

}  // namespace detail

/// The four families of requests with labels: `requests(Method::get, "/cart").start()`. Label types are those of any
/// family. Without them (`RequestFamily requests(scope, {}, {"route"})`) label values are text.
///
/// A handle that keeps the memory of the families alive. Thread-safe.
template <class... LabelTypes>
class RequestFamily {
 public:
  static_assert(sizeof...(LabelTypes) > 0,
                "quipu: give so many labels their types: RequestFamily<Method, std::string_view, AtEnd<int>>");

  /// Registers the families as a batch. Throws RegistrationError.
  template <std::size_t Count>
  RequestFamily(const Scope& scope, const RequestOptions& options, const LabelName (&labels)[Count])
      : RequestFamily(
            batch<RequestFamily>(scope, "", detail::RequestDefinitions(options), detail::label_names(labels))) {
    static_assert(detail::NamesOfTypes<Count, sizeof...(LabelTypes), 0, 0>::are_as_many);
  }
  template <std::size_t AtStart, std::size_t AtEnd>
  RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[AtStart], const LabelName (&)[AtEnd]) {
    static_assert(detail::NamesOfTypes<AtStart, sizeof...(LabelTypes), AtEnd, 0>::are_as_many);
  }
  /// For batch().
  RequestFamily(const Scope& scope, const detail::RequestDefinitions& definitions,
                const detail::LabelNames<sizeof...(LabelTypes)>& labels)
      : total_(scope.counter<LabelTypes...>(definitions.total, labels.names)),
        errors_(scope.counter<LabelTypes...>(definitions.errors, labels.names)),
        duration_(scope, definitions, labels),
        in_flight_(scope.gauge<LabelTypes...>(definitions.in_flight, labels.names)) {}

  /// The series with these label values, made (at 0) if they do not exist. Where the values are known beforehand, keep
  /// the result. Never throws, as in Family.
  [[nodiscard]] Requests operator()(detail::LabelArgument<LabelTypes>... values) const noexcept {
    return {total_(values...), errors_(values...), duration_(values...), in_flight_(values...)};
  }

  /// The same by name, in any order. Throws as Family::with.
  [[nodiscard]] Requests with(const detail::LabelPairs& labels) const {
    return {total_.with(labels), errors_.with(labels), duration_.with(labels), in_flight_.with(labels)};
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
  detail::DurationFamily<LabelTypes...> duration_;
  GaugeFamily<LabelTypes...> in_flight_;
};

/// The four families of requests of which some labels are known at the end only. Their types are in AtEnd, and their
/// names in a list of their own:
///
///     quipu::RequestFamily<Method, std::string_view, quipu::AtEnd<int>> requests(
///         scope, {}, {"method", "route"}, {"code"});
///     auto request = requests(Method::post, "/cart").start(500);
///     request.end(200);
///
/// Only requests_total has the labels known at the end, and request_duration_seconds if RequestOptions says so. There
/// is a series for the values that a request ended with, and for those of `create()`. A rate() begins with the second
/// sample of its series, so create those whose first request must not be missed.
///
/// What start() is given stands for the end that nobody foresaw: an exception that leaves the scope, or a return that
/// says nothing. Such a request is counted like any other. It is an error only if fail() was called or an exception
/// leaves the scope, whatever its values.
///
/// A handle, which requests copy: it keeps the memory of the families alive. Thread-safe. Texts are copied, so none has
/// to outlive the call that it is given to. A request costs the look-ups of four series.
template <class... LabelTypes>
requires(detail::is_at_end<LabelTypes> || ...) class RequestFamily<LabelTypes...>
    : public detail::EndLabelFamilyOf<detail::TypeList<>, LabelTypes...>::Type {
  using Base = typename detail::EndLabelFamilyOf<detail::TypeList<>, LabelTypes...>::Type;

 public:
  using Base::Base;
};

RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[1])->RequestFamily<std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[2])
    ->RequestFamily<std::string_view, std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[3])
    ->RequestFamily<std::string_view, std::string_view, std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[4])
    ->RequestFamily<std::string_view, std::string_view, std::string_view, std::string_view>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[1], const LabelName (&)[1])
    ->RequestFamily<std::string_view, AtEnd<std::string_view>>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[2], const LabelName (&)[1])
    ->RequestFamily<std::string_view, std::string_view, AtEnd<std::string_view>>;
RequestFamily(const Scope&, const RequestOptions&, const LabelName (&)[3], const LabelName (&)[1])
    ->RequestFamily<std::string_view, std::string_view, std::string_view, AtEnd<std::string_view>>;

/// The same for labels whose names are known only at run time, and whose values are text. Thread-safe.
class RuntimeRequestFamily {
 public:
  using LabelNames = std::span<const std::string>;

  /// Registers the families as a batch. Throws RegistrationError.
  RuntimeRequestFamily(const Scope& scope, const RequestOptions& options, LabelNames labels)
      : RuntimeRequestFamily(batch<RuntimeRequestFamily>(scope, "", detail::RequestDefinitions(options), labels)) {}
  /// For batch().
  RuntimeRequestFamily(const Scope& scope, const detail::RequestDefinitions& definitions, LabelNames labels)
      : total_(scope.counter(definitions.total, labels)),
        errors_(scope.counter(definitions.errors, labels)),
        is_native_(definitions.has_native_durations),
        in_flight_(scope.gauge(definitions.in_flight, labels)) {
    if (is_native_) {
      native_ = scope.native_histogram(definitions.native_duration, labels);
    } else {
      classic_ = scope.histogram(definitions.classic_duration, labels);
    }
  }

  /// The series with these label values, made (at 0) if they do not exist. Throws as RuntimeFamily.
  [[nodiscard]] Requests operator()(const detail::TextValues& values) const {
    return {total_(values), errors_(values), is_native_ ? detail::Durations(native_(values)) : classic_(values),
            in_flight_(values)};
  }
  /// The same by name, in any order. Throws as Family::with.
  [[nodiscard]] Requests with(const detail::LabelPairs& labels) const {
    return {total_.with(labels), errors_.with(labels),
            is_native_ ? detail::Durations(native_.with(labels)) : classic_.with(labels), in_flight_.with(labels)};
  }

  /// As in RuntimeFamily.
  void create(const detail::TextValues& values) const { static_cast<void>((*this)(values)); }
  /// Returns whether there were such series.
  bool remove(const detail::TextValues& values) const {
    const bool was_there = total_.remove(values);
    errors_.remove(values);
    classic_.remove(values);
    native_.remove(values);
    in_flight_.remove(values);
    return was_there;
  }

 private:
  RuntimeFamily<Counter> total_;
  RuntimeFamily<Counter> errors_;
  bool is_native_;
  RuntimeFamily<Histogram> classic_;
  RuntimeFamily<NativeHistogram> native_;
  RuntimeFamily<Gauge> in_flight_;
};

}  // namespace quipu

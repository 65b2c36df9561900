#include "quipu/health.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <iterator>
#include <list>
#include <mutex>
#include <thread>

#include "base/json.hpp"
#include "base/signals_blocked.hpp"
#include "base/utf8.hpp"
#include "quipu/registry.hpp"

namespace quipu {
namespace {

using Clock = std::chrono::steady_clock;
using WallClock = std::chrono::system_clock;
using detail::JsonObject;
using namespace std::chrono_literals;

/// Nobody waits longer for a check, and every clock holds it.
constexpr std::chrono::milliseconds longest_time = 365 * 24h;

/// A check that takes longer does not keep the next one waiting: another thread goes on. It is a thousand times what
/// starting a thread costs, and nothing to those who look every few seconds.
constexpr auto long_call = 100ms;

/// What came of a call.
struct Outcome {
  bool has_timed_out = false;
  HealthResult result{};  // nothing if it has
  WallClock::time_point at{};
  std::chrono::nanoseconds duration{0};
};

/// A check that is being called, or about to be.
struct Call {
  std::stop_source stop{};
  std::thread::id thread{};
  WallClock::time_point wall_begin{};
  Clock::time_point begin{};
  Clock::time_point deadline{};

  void start(std::chrono::milliseconds timeout) noexcept {
    wall_begin = WallClock::now();
    begin = Clock::now();
    deadline = begin + timeout;
  }
  [[nodiscard]] Outcome timed_out() const noexcept {
    const auto time = deadline - begin;
    return {.has_timed_out = true,
            .at = wall_begin + std::chrono::duration_cast<WallClock::duration>(time),
            .duration = time};
  }
};

/// A call that is over its deadline has timed out, whoever looks, and whether it ever comes back: until then that
/// follows from `call`, and then it is what becomes of it in `last`. There is never a second call beside `call`.
struct Component {
  HealthCheck check;
  Clock::time_point due{};  // for the next call, if there is none
  std::optional<Call> call{};
  std::optional<Outcome> last{};

  [[nodiscard]] ComponentHealth known(Clock::time_point now) const {
    ComponentHealth known{.name = check.name, .is_critical = check.is_critical};
    const auto outcome = call && call->deadline <= now ? std::optional(call->timed_out()) : last;
    if (!outcome) {
      known.message = "not checked yet";
      return known;
    }
    if (outcome->has_timed_out) {
      known.status = HealthStatus::unhealthy;
      known.message = fmt::format("timed out after {} s", std::chrono::duration<double>(check.timeout).count());
    } else {
      known.status = outcome->result.status;
      known.message = outcome->result.message;
      known.details = outcome->result.details;
    }
    known.last_checked = outcome->at;
    known.duration = outcome->duration;
    return known;
  }
};

HealthResult cleaned(HealthResult result) {
  if (result.status > HealthStatus::unknown) result.status = HealthStatus::unknown;
  result.message = detail::to_utf8(result.message);
  std::vector<HealthDetail> details;
  for (HealthDetail& one : result.details) {
    one.name = detail::to_utf8(one.name);
    if (auto* const text = std::get_if<std::string>(&one.value)) *text = detail::to_utf8(*text);
    const bool is_known = std::any_of(details.begin(), details.end(),
                                      [&one](const HealthDetail& other) { return other.name == one.name; });
    if (!is_known) details.push_back(std::move(one));
  }
  result.details = std::move(details);
  return result;
}

HealthResult unhealthy(std::string_view message) noexcept try {
  return {.status = HealthStatus::unhealthy, .message = detail::to_utf8(message)};
} catch (...) {
  return {.status = HealthStatus::unhealthy};
}

HealthResult ask(const HealthFunction& check, const std::stop_token& stop) noexcept {
  try {
    return cleaned(check(stop));
  } catch (const std::exception& error) {
    return unhealthy(error.what());
  } catch (...) {
    return unhealthy("unknown exception");
  }
}

HealthStatus status_of(const std::vector<ComponentHealth>& components) noexcept {
  const auto has = [&components](auto condition) {
    return std::any_of(components.begin(), components.end(), condition);
  };
  for (const HealthStatus status : {HealthStatus::unhealthy, HealthStatus::unknown}) {
    if (has([status](const ComponentHealth& one) { return one.is_critical && one.status == status; })) return status;
  }
  const bool is_degraded = has([](const ComponentHealth& one) { return one.status != HealthStatus::healthy; });
  return is_degraded ? HealthStatus::degraded : HealthStatus::healthy;
}

void name_thread() noexcept {
#ifdef __linux__
  ::pthread_setname_np(::pthread_self(), "quipu-health");
#endif
}

}  // namespace

/// What is known, and the threads that find it out.
///
/// The scheduler hands checks, when they are due, to the runner that has the turn, one after another. When that has
/// been inside a call for `long_call`, it loses the turn, and the next check that is due is handed to a new one; the
/// old one ends when its call comes back. So no check waits longer than that for another one, and there are no more
/// runners than calls that take so long, and one. When a call is over its deadline, the scheduler asks it to stop.
///
/// `mutex_` guards all that changes, and is not held while a check is called, or asked to stop.
class Health::Monitor {
 public:
  explicit Monitor(HealthOptions options) : options_(std::move(options)) {
    options_.version = detail::to_utf8(options_.version);
  }
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// A forked child has none of the threads, and the mutex as somebody held it: there nothing is touched.
  [[nodiscard]] bool is_of_this_process() const noexcept { return ::getpid() == owner_; }

  void add(HealthCheck check);
  bool remove(const std::string& name);
  void end() noexcept;

  [[nodiscard]] HealthReport report() const;
  [[nodiscard]] const HealthOptions& options() const noexcept { return options_; }

 private:
  using ComponentPtr = std::shared_ptr<Component>;

  struct Runner {
    std::thread thread{};
    ComponentPtr task{};  // what it is to call next
    bool is_done = false;
  };

  void schedule() noexcept;
  void run(Runner& self) noexcept;

  // With the lock held.
  [[nodiscard]] ComponentPtr next_due() const noexcept;
  void begin(std::unique_lock<std::mutex>& lock, ComponentPtr component) noexcept;
  [[nodiscard]] bool has_runner() noexcept;
  void perform(std::unique_lock<std::mutex>& lock, ComponentPtr component) noexcept;
  [[nodiscard]] bool join_one(std::unique_lock<std::mutex>& lock) noexcept;
  static void stop(std::unique_lock<std::mutex>& lock, std::stop_source source) noexcept;

  HealthOptions options_;
  const pid_t owner_ = ::getpid();
  const Clock::time_point began_ = Clock::now();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ComponentPtr> components_;
  ComponentPtr checked_;  // what the runner that has the turn is calling, or about to
  Runner* turn_ = nullptr;
  std::list<Runner> runners_;
  std::thread scheduler_;
  bool is_ending_ = false;
};

void Health::Monitor::add(HealthCheck check) {
  check.name = detail::to_utf8(check.name);
  const auto refuse = [&check](std::string_view why) {
    throw RegistrationError(fmt::format("cannot add health check \"{}\": {}", check.name, why));
  };
  if (check.name.empty()) refuse("the name is empty; name the component that it checks");
  if (check.interval <= 0ms) refuse("the interval is not positive; say how long to wait between two calls");
  if (check.timeout <= 0ms) refuse("the timeout is not positive; say how long a call may take");
  if (!is_of_this_process()) refuse("this process was forked from the one that checks; make a Health of its own");
  check.interval = std::min(check.interval, longest_time);
  check.timeout = std::min(check.timeout, longest_time);
  auto component = std::make_shared<Component>(Component{.check = std::move(check), .due = Clock::now()});

  const std::lock_guard lock(mutex_);
  for (const ComponentPtr& other : components_) {
    if (other->check.name == component->check.name) {
      throw RegistrationError(
          fmt::format("cannot add health check \"{}\": there is one of that name; remove it, or choose another name",
                      component->check.name));
    }
  }
  components_.push_back(std::move(component));
  if (!scheduler_.joinable()) {
    try {
      const detail::SignalsBlocked blocked;
      scheduler_ = std::thread([this] { schedule(); });
    } catch (...) {
      components_.pop_back();
      throw;
    }
  }
  changed_.notify_all();
}

bool Health::Monitor::remove(const std::string& name) {
  if (!is_of_this_process()) return false;
  std::unique_lock lock(mutex_);
  const auto found = std::find_if(components_.begin(), components_.end(),
                                  [&name](const ComponentPtr& one) { return one->check.name == name; });
  if (found == components_.end()) return false;
  const ComponentPtr component = *found;
  components_.erase(found);
  if (component->call) {
    stop(lock, component->call->stop);
    changed_.wait(lock,
                  [&component] { return !component->call || component->call->thread == std::this_thread::get_id(); });
    if (component->call) return true;
  }
  // A runner may have the component for a moment longer. What the check holds goes now.
  const HealthFunction gone = std::move(component->check.check);
  lock.unlock();
  return true;
}

void Health::Monitor::end() noexcept {
  std::unique_lock lock(mutex_);
  is_ending_ = true;
  changed_.notify_all();
  for (auto next = components_.begin(); next != components_.end();) {
    const ComponentPtr& component = *next;
    if (component->call && !component->call->stop.stop_requested()) {
      stop(lock, component->call->stop);
      next = components_.begin();
    } else {
      ++next;
    }
  }
  lock.unlock();
  if (scheduler_.joinable()) scheduler_.join();
  for (Runner& runner : runners_) runner.thread.join();
  lock.lock();
  runners_.clear();
  checked_.reset();
  const auto gone = std::exchange(components_, {});
  lock.unlock();
}

HealthReport Health::Monitor::report() const {
  HealthReport report{.version = options_.version, .timestamp = WallClock::now(), .uptime = Clock::now() - began_};
  if (!is_of_this_process()) return report;
  const std::lock_guard lock(mutex_);
  if (is_ending_) return report;
  const auto now = Clock::now();
  for (const ComponentPtr& component : components_) report.components.push_back(component->known(now));
  report.status = status_of(report.components);
  return report;
}

void Health::Monitor::schedule() noexcept {
  name_thread();
  std::unique_lock lock(mutex_);
  while (!is_ending_) {
    if (join_one(lock)) continue;
    const auto now = Clock::now();
    auto wake = now + 1h;
    std::optional<std::stop_source> late;
    for (const ComponentPtr& component : components_) {
      const auto& call = component->call;
      if (!call || call->stop.stop_requested()) continue;
      if (call->deadline <= now) late = call->stop;
      wake = std::min(wake, call->deadline);
    }
    if (late) {
      stop(lock, *late);
      continue;
    }
    if (checked_ != nullptr) {
      const auto end_of_turn = checked_->call->begin + long_call;
      if (end_of_turn <= now) {
        checked_.reset();
        turn_ = nullptr;
        continue;
      }
      wake = std::min(wake, end_of_turn);
    } else if (auto next = next_due(); next != nullptr) {
      if (next->due <= now) {
        begin(lock, std::move(next));
        continue;
      }
      wake = std::min(wake, next->due);
    }
    changed_.wait_until(lock, wake);
  }
}

/// Null if there is none, or each is being called.
Health::Monitor::ComponentPtr Health::Monitor::next_due() const noexcept {
  ComponentPtr next;
  for (const ComponentPtr& component : components_) {
    if (!component->call && (next == nullptr || component->due < next->due)) next = component;
  }
  return next;
}

void Health::Monitor::begin(std::unique_lock<std::mutex>& lock, ComponentPtr component) noexcept {
  try {
    component->call.emplace();
  } catch (const std::exception&) {
    component->due = Clock::now() + component->check.interval;
    return;
  }
  component->call->start(component->check.timeout);
  checked_ = component;
  if (has_runner()) {
    turn_->task = std::move(component);
    changed_.notify_all();
  } else {
    perform(lock, std::move(component));
  }
}

bool Health::Monitor::has_runner() noexcept {
  if (turn_ != nullptr) return true;
  try {
    std::list<Runner> made(1);
    const detail::SignalsBlocked blocked;
    made.front().thread = std::thread([this, &self = made.front()] { run(self); });
    runners_.splice(runners_.end(), made);
  } catch (const std::exception&) {
    return false;
  }
  turn_ = &runners_.back();
  return true;
}

void Health::Monitor::run(Runner& self) noexcept {
  name_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    if (self.task != nullptr) {
      perform(lock, std::exchange(self.task, nullptr));
    } else if (turn_ != &self || is_ending_) {
      break;
    } else {
      changed_.wait(lock);
    }
  }
  self.is_done = true;
  changed_.notify_all();
}

/// Calls a check, unless it was asked to stop before that, and writes down what comes of it.
void Health::Monitor::perform(std::unique_lock<std::mutex>& lock, ComponentPtr component) noexcept {
  Call& call = *component->call;
  std::optional<HealthResult> result;
  if (!call.stop.stop_requested()) {
    call.thread = std::this_thread::get_id();
    call.start(component->check.timeout);
    lock.unlock();
    result = ask(component->check.check, call.stop.get_token());
    lock.lock();
  }
  const auto now = Clock::now();  // with the lock, so that nobody has seen the deadline pass before
  if (now >= call.deadline) {
    component->last = call.timed_out();
  } else if (result) {
    component->last = Outcome{.result = std::move(*result), .at = WallClock::now(), .duration = now - call.begin};
  }
  component->due = now + component->check.interval;
  component->call.reset();
  if (checked_ == component) checked_.reset();
  changed_.notify_all();
  // It may have been removed, and what the check holds may go with it.
  lock.unlock();
  component.reset();
  lock.lock();
}

/// Whether one has ended.
bool Health::Monitor::join_one(std::unique_lock<std::mutex>& lock) noexcept {
  const auto done = std::find_if(runners_.begin(), runners_.end(), [](const Runner& one) { return one.is_done; });
  if (done == runners_.end()) return false;
  std::list<Runner> ended;
  ended.splice(ended.end(), runners_, done);
  lock.unlock();
  ended.front().thread.join();
  lock.lock();
  return true;
}

void Health::Monitor::stop(std::unique_lock<std::mutex>& lock, std::stop_source source) noexcept {
  lock.unlock();
  source.request_stop();
  lock.lock();
}

// What it shows.

namespace {

double number_of(HealthStatus status) noexcept {
  switch (status) {
    case HealthStatus::healthy:
      return 1;
    case HealthStatus::degraded:
      return 0.5;
    case HealthStatus::unhealthy:
    case HealthStatus::unknown:
      break;
  }
  return 0;
}

/// A collector of what `report` returns.
class HealthCollector final : public Collector {
 public:
  HealthCollector(std::function<HealthReport()> report, bool version_label)
      : report_(std::move(report)), version_label_(version_label) {}

  std::vector<FamilyDescription> describe() const override {
    FamilyDescription whole{.name = "health_status",
                            .help = "Whether the program works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown."};
    FamilyDescription parts{.name = "component_health",
                            .help = "Whether a component works: 1 healthy, 0.5 degraded, 0 unhealthy or unknown.",
                            .labels = {"component"}};
    if (version_label_) {
      for (FamilyDescription* const family : {&whole, &parts}) family->labels.emplace_back("version");
    }
    return {std::move(whole), std::move(parts)};
  }

  void collect(Samples& samples) override {
    const HealthReport report = report_();
    const auto add = [&](std::string_view family, std::vector<std::string_view> labels, HealthStatus status) {
      if (version_label_) labels.emplace_back(report.version);
      samples.add(family, labels, number_of(status));
    };
    add("health_status", {}, report.status);
    for (const ComponentHealth& one : report.components) add("component_health", {one.name}, one.status);
  }

 private:
  const std::function<HealthReport()> report_;
  const bool version_label_;
};

RouteResponse json_response(int status, std::string body) {
  return {.status = status, .content_type = "application/json", .body = std::move(body)};
}

int http_status_of(HealthStatus status) noexcept {
  return status == HealthStatus::healthy || status == HealthStatus::degraded ? 200 : 503;
}

std::string status_alone(std::string_view status) { return fmt::format("{{\"status\":\"{}\"}}\n", status); }

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

void append_json(std::string& out, const ComponentHealth& component) {
  JsonObject object(out);
  object.add("name", component.name);
  object.add("status", to_string(component.status));
  object.add("critical", component.is_critical);
  object.add("message", component.message);
  if (component.last_checked) {
    object.add("last_checked", *component.last_checked);
  } else {
    object.key("last_checked") += "null";
  }
  object.add("duration", seconds(component.duration));
  JsonObject details(object.key("details"));
  for (const HealthDetail& one : component.details) {
    std::visit([&](const auto& value) { details.add(one.name, value); }, one.value);
  }
}

}  // namespace

std::string to_json(const HealthReport& report) {
  std::string out;
  {
    JsonObject object(out);
    object.add("status", to_string(report.status));
    object.add("timestamp", report.timestamp);
    object.add("version", report.version);
    object.add("uptime", seconds(report.uptime));
    JsonObject components(object.key("components"));
    for (const ComponentHealth& one : report.components) append_json(components.key(one.name), one);
  }
  return out += '\n';
}

Health::Health(HealthOptions options)
    : monitor_(new Monitor(std::move(options)), [](Monitor* monitor) {
        if (monitor->is_of_this_process()) delete monitor;
      }) {}

Health::~Health() {
  if (monitor_->is_of_this_process()) monitor_->end();
}

void Health::add(HealthCheck check) { monitor_->add(std::move(check)); }
bool Health::remove(std::string_view name) { return monitor_->remove(detail::to_utf8(name)); }
HealthReport Health::report() const { return monitor_->report(); }

std::vector<Route> Health::routes() const {
  const auto whole = [monitor = monitor_] {
    const HealthReport report = monitor->report();
    return json_response(http_status_of(report.status), to_json(report));
  };
  const auto ready = [monitor = monitor_] {
    const HealthStatus status = monitor->report().status;
    return json_response(http_status_of(status), status_alone(to_string(status)));
  };
  const auto live = [] { return json_response(200, status_alone("alive")); };
  return {
      {"/health", whole}, {"/health/ready", ready}, {"/-/ready", ready}, {"/health/live", live}, {"/-/healthy", live}};
}

Registration Health::expose(const Scope& scope) const {
  return scope.add(std::make_shared<HealthCollector>([monitor = monitor_] { return monitor->report(); },
                                                     monitor_->options().version_label));
}

}  // namespace quipu

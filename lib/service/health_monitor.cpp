#include "service/health_monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "base/calling_thread.hpp"
#include "base/threads.hpp"
#include "base/utf8.hpp"

namespace quipu {
namespace {

using Clock = std::chrono::steady_clock;
using WallClock = std::chrono::system_clock;
using namespace std::chrono_literals;

/// Nobody waits longer for a check, and every clock holds it.
constexpr std::chrono::milliseconds longest_time = 365 * 24h;

/// What came of a call.
struct Outcome {
  bool has_timed_out = false;
  HealthResult result{};  // nothing if it has
  WallClock::time_point at{};
  std::chrono::nanoseconds duration{0};
};

/// A call under way.
class Call {
 public:
  explicit Call(std::chrono::milliseconds timeout) : deadline_(begin_ + timeout) {}

  [[nodiscard]] const std::stop_source& stop() const noexcept { return stop_; }
  [[nodiscard]] Clock::time_point deadline() const noexcept { return deadline_; }
  [[nodiscard]] const detail::CallingThread& thread() const noexcept { return thread_; }

  [[nodiscard]] Outcome ended(Clock::time_point now, HealthResult result) const noexcept {
    if (now >= deadline_) return timed_out();
    return {.result = std::move(result), .at = WallClock::now(), .duration = now - begin_};
  }
  [[nodiscard]] Outcome timed_out() const noexcept {
    const auto time = deadline_ - begin_;
    return {.has_timed_out = true,
            .at = wall_begin_ + std::chrono::duration_cast<WallClock::duration>(time),
            .duration = time};
  }

 private:
  std::stop_source stop_{};
  const detail::CallingThread& thread_ = detail::CallingThread::current();
  WallClock::time_point wall_begin_ = WallClock::now();
  Clock::time_point begin_ = Clock::now();
  Clock::time_point deadline_;
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

/// Of the check that this thread is inside of; otherwise nobody can stop it.
thread_local std::stop_token stop_of_this_check;

HealthResult result_of(const HealthFunction& check, const std::stop_token& stop) noexcept {
  const detail::CallingThread::Call under_way;
  stop_of_this_check = stop;
  const struct Leave {
    ~Leave() { stop_of_this_check = {}; }
  } leave;
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

}  // namespace

/// A component waits until `due`; then it is a task (`is_task`) until its call begins, and `call` until that ends. So
/// there is never more than one call. Calls are numbered from 1 as they begin. If the one that ends has a lower number
/// than `wanted`, the next one is due at once.
///
/// A call that is over its deadline has timed out, even if it never comes back. While it is under way, a report derives
/// that from `call`; when it comes back, it becomes `last`.
struct Health::Monitor::Component {
  HealthCheck check;
  Clock::time_point due{};
  bool is_task = false;
  std::optional<Call> call{};
  std::optional<Outcome> last{};
  std::uint64_t begun = 0;                    // calls, and attempts for which there was no memory
  std::uint64_t wanted = 0;                   // the number of a call that somebody waits for
  HealthStatus told = HealthStatus::unknown;  // to on_change
  std::uint64_t change = 0;                   // the number of its first change that is not told; 0 for none

  [[nodiscard]] std::uint64_t ended() const noexcept { return begun - static_cast<std::uint64_t>(call.has_value()); }

  [[nodiscard]] HealthStatus status(Clock::time_point now) const noexcept {
    if (call && call->deadline() <= now) return HealthStatus::unhealthy;
    if (!last) return HealthStatus::unknown;
    return last->has_timed_out ? HealthStatus::unhealthy : last->result.status;
  }
  [[nodiscard]] ComponentHealth known(Clock::time_point now) const {
    ComponentHealth known{.name = check.name, .is_critical = check.is_critical};
    const auto outcome = call && call->deadline() <= now ? std::optional(call->timed_out()) : last;
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

Health::Monitor::Monitor(HealthOptions options) : options_(std::move(options)) {
  options_.version = detail::to_utf8(options_.version);
}

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

  const std::lock_guard lock(mutex_);
  for (const ComponentPtr& other : components_) {
    if (other->check.name == check.name) refuse("there is one of that name; remove it, or choose another name");
  }
  if (!scheduler_.joinable()) {
    try {
      scheduler_ = detail::start_thread("quipu-health", [this] { schedule(); });
    } catch (const std::system_error& error) {
      throw HealthError(
          fmt::format("cannot add health check \"{}\": no thread: {}", check.name, error.code().message()));
    }
  }
  components_.push_back(std::make_shared<Component>(Component{.check = std::move(check), .due = Clock::now()}));
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
  changed_.notify_all();
  if (component->call) {
    stop(lock, component->call->stop());
    const detail::CallingThread::Wait wait;
    changed_.wait(lock, [&] { return !component->call || !wait.is_for(component->call->thread()); });
    if (component->call) return true;
  }
  // A task may have the component for a while. What the check holds goes now.
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
    if (component->call && !component->call->stop().stop_requested()) {
      stop(lock, component->call->stop());
      next = components_.begin();
    } else {
      ++next;
    }
  }
  lock.unlock();
  if (scheduler_.joinable()) scheduler_.join();
  tasks_.clear();
  executor_.join();
  lock.lock();
  // Reports may keep this object. What the functions hold goes now.
  const auto gone = std::exchange(components_, {});
  const auto on_change = std::exchange(options_.on_change, nullptr);
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

HealthReport Health::Monitor::check_now(std::chrono::milliseconds limit) {
  if (!is_of_this_process()) return report();
  const std::stop_token own_stop = stop_of_this_check;
  const std::stop_callback wake_up(own_stop, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);  // released before `wake_up` goes, which waits for its call
  const auto began = Clock::now();
  const auto give_up = began + std::clamp(limit, 0ms, longest_time);
  struct Wanted {
    ComponentPtr component;
    std::uint64_t number;  // of the call
  };
  std::vector<Wanted> calls;
  for (const ComponentPtr& component : components_) {
    calls.push_back({component, component->begun + 1});
    component->wanted = component->begun + 1;
    component->due = began;
  }
  changed_.notify_all();
  // The scheduler calls checks itself where there is no other thread, and cannot wait for those it has yet to call.
  if (scheduler_.get_id() != std::this_thread::get_id()) {
    const detail::CallingThread::Wait wait;
    const auto is_settled = [&](const Wanted& one, Clock::time_point now) {
      const Component& component = *one.component;
      if (component.ended() >= one.number || !has(one.component)) return true;
      return component.call && (component.call->deadline() <= now || !wait.is_for(component.call->thread()));
    };
    while (!is_ending_ && !own_stop.stop_requested()) {
      const auto now = Clock::now();
      std::erase_if(calls, [&](const Wanted& one) { return is_settled(one, now); });
      if (calls.empty() || now >= give_up) break;
      auto wake = give_up;
      for (const Wanted& one : calls) {
        const auto& call = one.component->call;
        wake = std::min(wake, call ? call->deadline() : now + one.component->check.timeout);
      }
      changed_.wait_until(lock, wake);
    }
  }
  lock.unlock();
  return report();
}

void Health::Monitor::schedule() noexcept {
  std::unique_lock lock(mutex_);
  while (!is_ending_) {
    lock.unlock();
    const auto hand_on_again = tasks_.hand_on({});  // the tasks are gone before this object is
    lock.lock();
    if (is_ending_) break;

    const auto now = Clock::now();
    auto wake = std::min(now + 1h, hand_on_again);
    ComponentPtr late;
    ComponentPtr next;
    for (const ComponentPtr& component : components_) {
      if (const auto& call = component->call) {
        if (call->stop().stop_requested()) continue;
        if (call->deadline() <= now) late = component;
        wake = std::min(wake, call->deadline());
      } else if (component->is_task) {
        wake = std::min(wake, now + component->check.timeout);  // it may begin now, and is then late
      } else if (next == nullptr || component->due < next->due) {
        next = component;
      }
    }
    if (late != nullptr) {
      note_change(*late);
      if (late->change != 0) add_task_of_telling();
      const std::stop_source source = late->call->stop();
      late.reset();  // it may be removed meanwhile, and then goes without the lock
      stop(lock, source);
    } else if (next != nullptr && next->due <= now) {
      add_task(next);
    } else {
      if (next != nullptr) wake = std::min(wake, next->due);
      next.reset();
      changed_.wait_until(lock, wake);
    }
  }
}

void Health::Monitor::add_task(const ComponentPtr& component) noexcept {
  try {
    tasks_.add([this, component] { call(component); });
    component->is_task = true;
  } catch (const std::exception&) {
    ++component->begun;
    component->due = Clock::now() + component->check.interval;
  }
}

void Health::Monitor::add_task_of_telling() noexcept try {
  tasks_.add([this] {
    std::unique_lock lock(mutex_);
    tell_changes(lock);
  });
} catch (const std::exception&) {
  // The next change is told together with this one.
}

/// Notes the status of a component for on_change, if it is not the one that was told.
void Health::Monitor::note_change(Component& component) noexcept {
  if (!options_.on_change || component.change != 0 || component.status(Clock::now()) == component.told) return;
  component.change = ++changes_;
}

/// Tells the changes that are noted, the oldest one first, unless another thread is doing that.
void Health::Monitor::tell_changes(std::unique_lock<std::mutex>& lock) noexcept {
  if (is_telling_) return;
  is_telling_ = true;
  while (!is_ending_) {
    ComponentPtr next;
    for (const ComponentPtr& component : components_) {
      if (component->change != 0 && (next == nullptr || component->change < next->change)) next = component;
    }
    if (next == nullptr) break;
    next->change = 0;
    try {
      const ComponentHealth known = next->known(Clock::now());
      const HealthStatus before = std::exchange(next->told, known.status);
      if (known.status == before) continue;
      lock.unlock();
      next.reset();  // it may have been removed meanwhile, and goes without the lock
      try {
        const detail::CallingThread::Call under_way;
        options_.on_change(known, before);
      } catch (...) {
        // Nobody is there to be told.
      }
      lock.lock();
    } catch (const std::exception&) {
      // There was no memory for what is known.
    }
  }
  is_telling_ = false;
}

bool Health::Monitor::has(const ComponentPtr& component) const noexcept {
  return std::find(components_.begin(), components_.end(), component) != components_.end();
}

/// Calls a check, unless it was removed meanwhile, and writes down what comes of it. What a removed check holds goes
/// with the task, without the lock.
void Health::Monitor::call(const ComponentPtr& component) noexcept {
  std::unique_lock lock(mutex_);
  component->is_task = false;
  if (is_ending_ || !has(component)) return;
  ++component->begun;
  try {
    component->call.emplace(component->check.timeout);
    lock.unlock();
    auto result = result_of(component->check.check, component->call->stop().get_token());
    lock.lock();
    // The time is taken with the lock, so that nobody has seen the deadline pass before.
    component->last = component->call->ended(Clock::now(), std::move(result));
    component->call.reset();
  } catch (const std::exception&) {
    // There was no memory for the call.
  }
  const bool is_wanted_again = component->begun < component->wanted;
  component->due = is_wanted_again ? Clock::now() : Clock::now() + component->check.interval;
  changed_.notify_all();
  if (!has(component)) return;
  note_change(*component);
  if (component->change != 0) tell_changes(lock);
}

void Health::Monitor::stop(std::unique_lock<std::mutex>& lock, std::stop_source source) noexcept {
  lock.unlock();
  source.request_stop();
  lock.lock();
}

}  // namespace quipu

#include "registry/registered_collector.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace quipu {
namespace detail {
namespace {

/// What is being thrown, for people. Null if there is no memory for it.
std::shared_ptr<const std::string> thrown_text() noexcept {
  try {
    try {
      throw;
    } catch (const std::exception& error) {
      return std::make_shared<const std::string>(error.what());
    } catch (...) {
      return std::make_shared<const std::string>("it threw something that is not a std::exception");
    }
  } catch (...) {
    return nullptr;
  }
}

std::string default_name(const std::vector<CollectedFamily>& families) {
  return families.empty() ? "unnamed" : families.front().definition->name;
}

}  // namespace

RegisteredCollector::RegisteredCollector(Collector& collector, std::string name, std::shared_ptr<Collector> owned,
                                         std::vector<CollectedFamily> families, MakeFamily make_family,
                                         std::unique_ptr<const std::vector<std::string>> fixed_labels,
                                         std::function<void(const RegisteredCollector&)> on_end)
    : collector_(collector),
      name_(name.empty() ? default_name(families) : std::move(name)),
      families_(std::move(families)),
      make_family_(std::move(make_family)),
      fixed_labels_(std::move(fixed_labels)),
      on_end_(std::move(on_end)),
      owned_(std::move(owned)) {}

CollectorOutcome RegisteredCollector::collect() noexcept {
  std::unique_lock lock(mutex_);
  forget_parent();
  return call(lock, false);
}

RegisteredCollector::Joined RegisteredCollector::join(CallWaiter& waiter, std::size_t index, Clock::duration patience) {
  const std::lock_guard lock(mutex_);
  forget_parent();
  const Call* const under_way = shared_call();
  if (under_way != nullptr && under_way->thread == &CallingThread::current()) return Joined::cannot_wait;
  waiters_.push_back({&waiter, index, under_way != nullptr});
  const bool is_hung = under_way != nullptr && Clock::now() - under_way->begin > patience;
  return is_hung ? Joined::does_not_wait : Joined::waits;
}

void RegisteredCollector::leave(const CallWaiter& waiter) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase_if(waiters_, [&waiter](const Waiter& one) { return one.waiter == &waiter; });
}

void RegisteredCollector::call_for_waiters() noexcept {
  std::unique_lock lock(mutex_);
  forget_parent();
  if (waiters_.empty() || shared_call() != nullptr) return;
  const CollectorOutcome outcome = call(lock, true);
  forget_parent();  // the collector may have forked
  for (const Waiter& one : waiters_) one.waiter->take(one.index, outcome, !one.has_joined_during_call);
  std::erase_if(waiters_, [](const Waiter& one) { return !one.has_joined_during_call; });
  for (Waiter& one : waiters_) one.has_joined_during_call = false;
}

void RegisteredCollector::end() noexcept {
  on_end_(*this);
  std::unique_lock lock(mutex_);
  is_open_ = false;
  forget_parent();
  {
    const CallingThread::Wait wait;
    left_.wait(lock, [&] {
      return std::ranges::none_of(calls_, [&wait](const Call& call) { return wait.is_for(*call.thread); });
    });
  }
  if (!calls_.empty()) return;
  // A scrape may keep this object for a while. What a callback owns is released now.
  const auto owned = std::move(owned_);
  lock.unlock();
}

CollectorOutcome RegisteredCollector::call(std::unique_lock<std::mutex>& lock, bool is_shared) noexcept {
  if (!is_open_) return {CollectorOutcome::Kind::ended};
  const CallingThread::Call under_way;
  const auto begin = Clock::now();
  try {
    calls_.push_back({&under_way, &CallingThread::current(), begin, is_shared});
  } catch (...) {
    return {CollectorOutcome::Kind::thrown};
  }
  lock.unlock();
  CollectorOutcome outcome;
  try {
    outcome = {CollectorOutcome::Kind::shown, read()};
  } catch (...) {
    outcome = {CollectorOutcome::Kind::thrown, nullptr, thrown_text()};
  }
  outcome.duration = Clock::now() - begin;
  lock.lock();
  std::erase_if(calls_, [&under_way](const Call& call) { return call.call == &under_way; });
  left_.notify_all();
  return outcome;
}

std::shared_ptr<const std::vector<CollectedFamily>> RegisteredCollector::read() const {
  const auto families = std::make_shared<std::vector<CollectedFamily>>(families_);
  Samples samples(*families, make_family_);
  collector_.collect(samples);
  return families;
}

const RegisteredCollector::Call* RegisteredCollector::shared_call() const noexcept {
  const auto found = std::ranges::find_if(calls_, [](const Call& call) { return call.is_shared; });
  return found == calls_.end() ? nullptr : &*found;
}

void RegisteredCollector::forget_parent() noexcept {
  const auto is_of_parent = [](const auto& one) { return !one.process.is_current(); };
  std::erase_if(calls_, is_of_parent);
  std::erase_if(waiters_, is_of_parent);
}

}  // namespace detail

Registration::Registration(std::shared_ptr<detail::RegisteredCollector> collector) noexcept
    : collector_(std::move(collector)) {}
Registration::Registration(Registration&&) noexcept = default;
Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    end();
    collector_ = std::move(other.collector_);
  }
  return *this;
}
Registration::~Registration() { end(); }

void Registration::end() noexcept {
  if (const auto collector = std::exchange(collector_, nullptr)) collector->end();
}

}  // namespace quipu

#include "registry/registered_collector.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace quipu {
namespace detail {

/// Enters the collector if that is allowed, and leaves it on destruction.
class RegisteredCollector::Entry {
 public:
  Entry(RegisteredCollector& collector, const CollectionRequest& request) : collector_(collector), request_(request) {
    const std::lock_guard lock(collector_.mutex_);
    collector_.forget_calls_before_fork(request.process);
    is_skipped_ = request.has_deadline && std::ranges::any_of(collector_.calls_, [](const Call& call) {
                    return call.request->is_abandoned.load(std::memory_order_relaxed);
                  });
    is_inside_ = collector_.is_open_ && !is_skipped_;
    if (is_inside_) collector_.calls_.push_back({&request, request.process, std::this_thread::get_id()});
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() {
    if (!is_inside_) return;
    const std::lock_guard lock(collector_.mutex_);
    std::erase_if(collector_.calls_, [this](const Call& call) { return call.request == &request_; });
    collector_.left_.notify_all();
  }

  [[nodiscard]] bool is_inside() const noexcept { return is_inside_; }
  [[nodiscard]] bool is_skipped() const noexcept { return is_skipped_; }

 private:
  RegisteredCollector& collector_;
  const CollectionRequest& request_;
  bool is_inside_;
  bool is_skipped_;
};

RegisteredCollector::RegisteredCollector(Collector& collector, std::shared_ptr<Collector> owned,
                                         std::vector<CollectedFamily> families,
                                         std::unique_ptr<const std::vector<std::string>> fixed_labels,
                                         std::function<void(const RegisteredCollector&)> on_end)
    : collector_(collector),
      families_(std::move(families)),
      fixed_labels_(std::move(fixed_labels)),
      on_end_(std::move(on_end)),
      owned_(std::move(owned)) {}

std::optional<std::vector<CollectedFamily>> RegisteredCollector::collect(const CollectionRequest& request) {
  const Entry entry(*this, request);
  if (entry.is_skipped()) return std::nullopt;
  std::vector<CollectedFamily> families = families_;
  if (entry.is_inside()) {
    Samples samples(families);
    collector_.collect(samples);
  }
  return families;
}

void RegisteredCollector::end() noexcept {
  on_end_(*this);
  std::unique_lock lock(mutex_);
  is_open_ = false;
  forget_calls_before_fork(::getpid());
  left_.wait(lock, [this] {
    return std::ranges::all_of(calls_, [](const Call& call) { return call.thread == std::this_thread::get_id(); });
  });
  if (!calls_.empty()) return;
  // A scrape may keep this object for a while. What a callback owns is released now.
  const auto owned = std::move(owned_);
  lock.unlock();
}

void RegisteredCollector::forget_calls_before_fork(pid_t process) noexcept {
  std::erase_if(calls_, [process](const Call& call) { return call.process != process; });
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

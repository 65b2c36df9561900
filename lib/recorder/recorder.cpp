#include "quipu/recorder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quipu/label.hpp"

namespace quipu {

struct Recorder::Core {
  explicit Core(Backends made) : backends(std::move(made)) {}

  const Backends backends;
  std::atomic<std::uint64_t> failures{0};
};

Recorder::Recorder(Backends backends) {
  std::erase(backends, nullptr);
  if (!backends.empty()) core_ = std::make_shared<Core>(std::move(backends));
}

template <class Record>
void Recorder::each(Record record) const noexcept {
  if (core_ == nullptr) return;
  for (const auto& backend : core_->backends) {
    try {
      record(*backend);
    } catch (...) {
      core_->failures.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void Recorder::increment(std::string_view name, double step, RecordedLabels labels) const noexcept {
  if (step < 0) return detail::reject(detail::Rejection::negative_step);
  if (!std::isfinite(step)) return detail::reject(detail::Rejection::not_a_number);
  add(name, step, labels);
}

void Recorder::add(std::string_view name, Number step, RecordedLabels labels) const noexcept {
  each([&](RecorderBackend& backend) { backend.increment(name, step, labels); });
}

void Recorder::gauge(std::string_view name, double value, RecordedLabels labels) const noexcept {
  each([&](RecorderBackend& backend) { backend.gauge(name, value, labels); });
}

void Recorder::histogram(std::string_view name, double value, RecordedLabels labels) const noexcept {
  each([&](RecorderBackend& backend) { backend.histogram(name, value, labels); });
}

void Recorder::time(std::string_view name, std::chrono::nanoseconds time, RecordedLabels labels) const noexcept {
  each([&](RecorderBackend& backend) { backend.time(name, time, labels); });
}

RecorderTimer Recorder::time(std::string_view name, RecordedLabels labels) const {
  return RecorderTimer(*this, name, labels);
}

void Recorder::flush() const noexcept {
  each([](RecorderBackend& backend) { backend.flush(); });
}

std::uint64_t Recorder::failures() const noexcept {
  return core_ == nullptr ? 0 : core_->failures.load(std::memory_order_relaxed);
}

namespace {

/// As much of a label value as any backend looks at.
std::string_view kept(std::string_view value) noexcept {
  return value.substr(0, detail::highest_max_label_value + detail::label_value_lookahead);
}

}  // namespace

RecorderTimer::RecorderTimer(Recorder recorder, std::string_view name, RecordedLabels labels)
    : recorder_(std::move(recorder)), name_(name), views_(labels.size()) {
  labels_.reserve(labels.size());
  for (const Label& label : labels) labels_.emplace_back(label.name, kept(label.value));
  start_ = Clock::now();
}

RecorderTimer::RecorderTimer(RecorderTimer&& other) noexcept
    : recorder_(std::move(other.recorder_)),
      name_(std::move(other.name_)),
      labels_(std::move(other.labels_)),
      views_(std::move(other.views_)),
      start_(other.start_),
      is_running_(std::exchange(other.is_running_, false)) {}

RecorderTimer& RecorderTimer::operator=(RecorderTimer&& other) noexcept {
  if (this == &other) return *this;
  stop();
  recorder_ = std::move(other.recorder_);
  name_ = std::move(other.name_);
  labels_ = std::move(other.labels_);
  views_ = std::move(other.views_);
  start_ = other.start_;
  is_running_ = std::exchange(other.is_running_, false);
  return *this;
}

void RecorderTimer::label(std::string_view name, std::string_view value) {
  const auto known = std::ranges::find(labels_, name, &std::pair<std::string, std::string>::first);
  if (known != labels_.end()) {
    known->second = kept(value);
    return;
  }
  views_.reserve(labels_.size() + 1);
  labels_.emplace_back(name, kept(value));
  views_.resize(labels_.size());
}

RecorderTimer::Clock::duration RecorderTimer::stop() noexcept {
  if (!std::exchange(is_running_, false)) return Clock::duration::zero();
  const Clock::duration time = elapsed();
  std::ranges::transform(labels_, views_.begin(), [](const auto& label) { return Label{label.first, label.second}; });
  recorder_.time(name_, time, views_);
  return time;
}

}  // namespace quipu

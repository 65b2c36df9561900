#include "source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "registry_core.hpp"
#include "utf8.hpp"

namespace quipu {
namespace detail {
namespace {

/// A callback, as a collector of one series.
class Callback final : public Collector {
 public:
  Callback(FamilyDescription family, std::vector<std::string> label_values, std::function<double()> read)
      : family_(std::move(family)), label_values_(std::move(label_values)), read_(std::move(read)) {}

  std::vector<FamilyDescription> describe() const override { return {family_}; }
  void collect(Samples& samples) override {
    const std::vector<std::string_view> values(label_values_.begin(), label_values_.end());
    samples.add(family_.name, values, read_());
  }

 private:
  const FamilyDescription family_;
  const std::vector<std::string> label_values_;
  const std::function<double()> read_;
};

}  // namespace

std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                         std::function<double()> read) {
  return std::make_shared<Callback>(std::move(family), std::move(label_values), std::move(read));
}

/// A thread being inside a collector.
class Source::Call {
 public:
  explicit Call(Source& source) : source_(source) {
    const std::lock_guard lock(source_.mutex_);
    is_inside_ = source_.is_open_;
    if (is_inside_) source_.calls_.push_back(std::this_thread::get_id());
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (!is_inside_) return;
    const std::lock_guard lock(source_.mutex_);
    source_.calls_.erase(std::ranges::find(source_.calls_, std::this_thread::get_id()));
    source_.left_.notify_all();
  }

  [[nodiscard]] bool is_inside() const noexcept { return is_inside_; }

 private:
  Source& source_;
  bool is_inside_;
};

Source::Source(Collector& collector, std::vector<CollectedFamily> families,
               std::unique_ptr<const std::vector<std::string>> fixed_labels)
    : collector_(collector), families_(std::move(families)), fixed_labels_(std::move(fixed_labels)) {}

void Source::belong_to(std::weak_ptr<RegistryCore> registry, std::shared_ptr<Collector> owned) noexcept {
  registry_ = std::move(registry);
  owned_ = std::move(owned);
}

std::vector<CollectedFamily> Source::collect() {
  const Call call(*this);
  std::vector<CollectedFamily> families = families_;
  if (call.is_inside()) {
    Samples samples(families);
    collector_.collect(samples);
  }
  return families;
}

void Source::end() noexcept {
  if (const auto registry = registry_.lock()) registry->remove_source(*this);
  std::unique_lock lock(mutex_);
  is_open_ = false;
  left_.wait(lock, [this] {
    return std::ranges::all_of(calls_, [](std::thread::id id) { return id == std::this_thread::get_id(); });
  });
}

Collected collect(std::span<const std::shared_ptr<Source>> sources, std::chrono::steady_clock::time_point /*deadline*/,
                  CollectorErrors& errors) {
  Collected collected;
  for (const auto& source : sources) {
    try {
      collected.emplace(source.get(), source->collect());
    } catch (...) {
      errors.exceptions.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return collected;
}

}  // namespace detail

void Samples::add(std::string_view family, std::initializer_list<std::string_view> label_values, Number value) {
  add(family, std::span(label_values.begin(), label_values.size()), value);
}

void Samples::add(std::string_view family, std::span<const std::string_view> label_values, Number value) {
  const auto found = std::ranges::find(families_, family, &detail::CollectedFamily::local_name);
  if (found == families_.end()) {
    throw std::invalid_argument(fmt::format("collector: family \"{}\" was not described", family));
  }
  const std::size_t labels = found->definition->label_names.size();
  if (label_values.size() != labels) {
    throw std::invalid_argument(
        fmt::format("collector: family \"{}\" has {} labels, not {}", family, labels, label_values.size()));
  }
  detail::CollectedSeries series{{}, value};
  for (const std::string_view label : label_values) series.label_values.push_back(detail::to_utf8(label));
  found->series.push_back(std::move(series));
}

Registration::Registration(std::shared_ptr<detail::Source> source) noexcept : source_(std::move(source)) {}
Registration::Registration(Registration&&) noexcept = default;
Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    end();
    source_ = std::move(other.source_);
  }
  return *this;
}
Registration::~Registration() { end(); }

void Registration::end() noexcept {
  if (const auto source = std::exchange(source_, nullptr)) source->end();
}

}  // namespace quipu

#include "cells/summary_window.hpp"

#include <algorithm>
#include <utility>

namespace quipu::detail {

SummaryWindow::SummaryWindow(std::shared_ptr<const SummarySpec> spec, TimePoint begin) : spec_(std::move(spec)) {
  kept_.push_back({begin, {}});
}

NativeHistogramSnapshot SummaryWindow::advance(const NativeHistogramSnapshot& reading, TimePoint now) {
  const std::chrono::nanoseconds part = spec_->max_age / spec_->age_buckets;
  now = std::max(now, kept_.back().time);  // another reader, which came first, may have looked at the clock later
  std::ptrdiff_t first = 0;
  while (first + 1 < std::ssize(kept_) &&
         now - kept_[static_cast<std::size_t>(first) + 1].time >= spec_->max_age - part) {
    ++first;
  }
  NativeHistogramSnapshot window = reading.since(kept_[static_cast<std::size_t>(first)].reading);
  if (now - kept_.back().time >= part) kept_.push_back({now, reading});
  kept_.erase(kept_.begin(), kept_.begin() + first);
  return window;
}

}  // namespace quipu::detail

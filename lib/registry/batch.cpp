#include "quipu/batch.hpp"

#include "registry/batch.hpp"
#include "registry/registry_core.hpp"

namespace quipu::detail {

OpenBatch::OpenBatch(const Scope& scope, MetricPrefix subsystem) : scope_(scope.subsystem(subsystem)) {
  scope_.batch_ = std::make_shared<Batch>(scope.batch_);
}

OpenBatch::~OpenBatch() {
  if (!is_taken_back_) scope_.core_->close(*scope_.batch_);
}

void OpenBatch::take_back() noexcept {
  is_taken_back_ = true;
  scope_.core_->take_back(*scope_.batch_);
}

}  // namespace quipu::detail

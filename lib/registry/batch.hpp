#pragma once

#include <list>
#include <memory>
#include <utility>

#include "quipu/detail/family/label_key.hpp"
#include "quipu/family.hpp"

namespace quipu::detail {

/// A series of an info family.
struct Info {
  std::shared_ptr<FamilyCore> family{};
  LabelKey key{};
};

/// The batch of a scope that registers as a whole. The registry's mutex guards all but its const members.
///
/// While a batch is open, the families and collectors that it registers carry its mark
/// (RegistryCore::FamilyEntry::batches, RegistryCore::CollectorEntry::batch) and are on no page. Its infos are not even
/// made, because they may belong to a family that is shown. No mark is left when the batch ends. If it is taken back,
/// the marks go with what they were on. Otherwise they become marks of the batch around it. If there is none,
/// everything is shown at once. What is registered through its scopes afterwards belongs to the nearest open batch
/// around it, or to none.
struct Batch {
  explicit Batch(std::shared_ptr<Batch> outer_one) noexcept : outer(std::move(outer_one)) {}

  const std::shared_ptr<Batch> outer;  // null for none
  bool is_open = true;
  std::list<Info> infos{};
};

/// The nearest open batch: this one, or one around it; null for none.
[[nodiscard]] inline Batch* nearest_open(Batch* batch) noexcept {
  while (batch != nullptr && !batch->is_open) batch = batch->outer.get();
  return batch;
}

}  // namespace quipu::detail

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

/// What a scope belongs to that registers as a whole. The registry's mutex guards it, but for what is const.
///
/// While it is open, what it registers carries its mark and is on no page: families
/// (RegistryCore::FamilyEntry::batches) and collectors (RegistryCore::CollectorEntry::batch). Its infos are not even
/// made, because they may belong to a family that is shown. When it ends, no mark of it is left: they are gone with
/// what they were on, or have become those of the batch around it, or, without one, all of it is shown at once.
/// Whatever is registered through its scopes afterwards belongs to the nearest batch around it that is open, or to
/// none.
struct Batch {
  explicit Batch(std::shared_ptr<Batch> outer_one) noexcept : outer(std::move(outer_one)) {}

  const std::shared_ptr<Batch> outer;  // null for none
  bool is_open = true;
  std::list<Info> infos{};
};

/// Itself, or the nearest around it; null for none.
[[nodiscard]] inline Batch* nearest_open(Batch* batch) noexcept {
  while (batch != nullptr && !batch->is_open) batch = batch->outer.get();
  return batch;
}

}  // namespace quipu::detail

#pragma once

#include <cstddef>
#include <memory>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/family/definition.hpp"
#include "quipu/family.hpp"
#include "quipu/scope.hpp"

namespace quipu::detail {

/// Operations on a scope that only the library may use. Thread-safe, as scopes are.
struct QUIPU_EXPORT ScopeAccess {
  /// Registers a family that has only the labels of its definition. The scope's prefix is put before its name. Throws
  /// RegistrationError.
  [[nodiscard]] static std::shared_ptr<FamilyCore> add_family(const Scope& scope, Definition definition,
                                                              std::size_t max_series);
  /// The same for a family of the library's own. Its name has no prefix, and it belongs to no batch.
  [[nodiscard]] static std::shared_ptr<FamilyCore> add_unprefixed(const Scope& scope, Definition definition,
                                                                  std::size_t max_series);
  [[nodiscard]] static const std::shared_ptr<RegistryCore>& core(const Scope& scope) noexcept;
};

}  // namespace quipu::detail

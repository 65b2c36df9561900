#pragma once

#include <cstddef>
#include <new>

#include "quipu/detail/base/export.hpp"

/// Memory for what recording makes. It comes from the system, not from operator new: a program may replace that, and
/// count allocations in quipu's own instruments. It is reused, and never given back.
namespace quipu::detail {

/// Aligned to 64 bytes. May hold old contents. Null if memory ran out. Thread-safe; takes a lock.
[[nodiscard]] QUIPU_EXPORT void* acquire_memory(std::size_t bytes) noexcept;
/// `bytes` as for acquire_memory().
QUIPU_EXPORT void release_memory(void* memory, std::size_t bytes) noexcept;

template <class T>
struct CellAllocator {
  using value_type = T;

  CellAllocator() = default;
  template <class Other>
  CellAllocator(const CellAllocator<Other>&) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    void* memory = acquire_memory(count * sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) noexcept { release_memory(memory, count * sizeof(T)); }

  friend bool operator==(const CellAllocator&, const CellAllocator&) = default;
};

}  // namespace quipu::detail

#pragma once

// operator new and delete of a test program in the place of the standard ones. To be included in one source of the
// program, which defines the two functions.

#include <cstddef>
#include <cstdlib>
#include <new>

/// Called for each allocation. If it returns false, there is no memory for it.
bool may_allocate(std::size_t bytes) noexcept;
/// Called before memory is freed.
void on_deallocation() noexcept;

namespace replaced_new {

inline void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (!may_allocate(bytes)) return nullptr;
  return std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}
inline void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
inline void deallocate(void* memory) noexcept {
  if (memory != nullptr) on_deallocation();
  std::free(memory);
}

}  // namespace replaced_new

void* operator new(std::size_t bytes) { return replaced_new::allocate_or_throw(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return replaced_new::allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return replaced_new::allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return replaced_new::allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { replaced_new::deallocate(memory); }
void operator delete(void* memory, std::size_t) noexcept { replaced_new::deallocate(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { replaced_new::deallocate(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { replaced_new::deallocate(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { replaced_new::deallocate(memory); }

#pragma once

#include <mutex>

/// The locks of this room that fork_handlers.cpp holds over a fork, so that the child does not find them taken. They
/// are taken in the order in which they stand here.
namespace quipu::detail {

/// For changes to native histograms. Held for a moment, while nothing is waited for. So it is taken under guards too.
extern std::mutex native_lock;

/// For the list of free slabs, the memory of blocks, and the slots.
extern std::mutex slabs_lock;

/// For the memory of cells, and of what recording makes.
extern std::mutex cell_memory_lock;

}  // namespace quipu::detail

#include "quipu/detail/cells/exemplars.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <new>
#include <optional>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/fork.hpp"
#include "base/utf8.hpp"
#include "quipu/detail/cells/cell_memory.hpp"
#include "quipu/name.hpp"

namespace quipu {
namespace detail {
namespace {

/// Room for the texts of an exemplar in ASCII. Only others can be longer, and need more memory.
constexpr std::size_t usual_bytes = ExemplarCopy::max_code_points;

struct Entry {
  /// 0 if no thread has made the entry busy. Otherwise one more than forks_before_this_process() in the process of the
  /// thread that has. If that is an older process, the thread is not in this one.
  std::atomic<std::uint32_t> busy{0};
  // Stored only by the thread that has made the entry busy. Others load them to find out whether a new exemplar is due.
  std::atomic<std::uint32_t> tag{0};   // of the exemplar's series
  std::atomic<std::int64_t> taken{0};  // when the exemplar was kept, by milliseconds_now()

  // Used only by the thread that has made the entry busy.
  WallTime time;
  double value;
  std::size_t labels;
  std::array<std::uint16_t, 2 * Exemplar::max_labels> sizes;  // of each name and value, in the order of the text
  std::array<char, usual_bytes> usual_text;
  char* long_text = nullptr;  // max_bytes, made when it is first needed
};

using Place = std::atomic<Entry*>;
struct Block {
  Place places[2 * cells_per_block]{};
};

constinit std::atomic<Block*> blocks[max_blocks]{};

/// Each is stored before its series is published, and loaded by who has found the series: relaxed.
struct SourceBlock {
  std::atomic<ExemplarSource::Function*> sources[cells_per_block]{};
};

constinit std::atomic<SourceBlock*> source_blocks[max_blocks]{};
/// Whether this thread is inside a source, which then is not asked again.
constinit thread_local bool is_inside_source = false;
constinit std::atomic<bool> has_entries{false};
constinit std::atomic<std::int64_t> interval{1000};  // milliseconds

/// From a clock that never goes back and takes a few nanoseconds to read. It may be a few milliseconds late.
std::int64_t milliseconds_now() noexcept {
#ifdef CLOCK_MONOTONIC_COARSE
  timespec now{};
  if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0)
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
#endif
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

/// The entry at the place. Null if there is none yet.
Entry* find_entry(CellRef series, std::size_t place) noexcept {
  // Acquire, both: pair with publish().
  Block* block = blocks[series.slot / cells_per_block].load(std::memory_order_acquire);
  if (block == nullptr) return nullptr;
  return block->places[2 * (series.slot % cells_per_block) + place].load(std::memory_order_acquire);
}

/// What `pointer` points to, made if it is null. Null if memory ran out.
template <class T>
T* publish(std::atomic<T*>& pointer) noexcept {
  T* known = pointer.load(std::memory_order_acquire);  // pairs with the release below
  if (known != nullptr) return known;
  static_assert(std::is_trivially_destructible_v<T>);
  void* memory = acquire_memory(sizeof(T));
  if (memory == nullptr) return nullptr;
  T* made = new (memory) T;
  // Release: pairs with the acquires of threads that find the pointer. Acquire: pairs with it, if another was faster.
  if (!pointer.compare_exchange_strong(known, made, std::memory_order_acq_rel, std::memory_order_acquire)) {
    release_memory(memory, sizeof(T));
    return known;
  }
  return made;
}

/// The entry at the place, made if there is none. Null if there is no room. To be called under a guard, for a live
/// series.
Entry* make_entry(CellRef series, std::size_t place) noexcept {
  if (series.slot == 0) return nullptr;
  Block* block = publish(blocks[series.slot / cells_per_block]);
  if (block == nullptr) return nullptr;
  Entry* entry = publish(block->places[2 * (series.slot % cells_per_block) + place]);
  if (entry != nullptr) has_entries.store(true, std::memory_order_relaxed);
  return entry;
}

bool is_due(const Entry& entry, std::uint32_t tag) noexcept {
  if (entry.tag.load(std::memory_order_relaxed) != tag) return true;
  const std::int64_t taken = entry.taken.load(std::memory_order_relaxed);
  return milliseconds_now() - taken >= interval.load(std::memory_order_relaxed);
}

/// Makes the entry busy. False if it is busy already.
bool try_lock(Entry& entry) noexcept {
  const std::uint32_t own = forks_before_this_process() + 1;
  std::uint32_t known = entry.busy.load(std::memory_order_relaxed);
  // Acquire: pairs with unlock().
  if (known == own || !entry.busy.compare_exchange_strong(known, own, std::memory_order_acquire)) return false;
  // The exemplar that a thread of the parent was writing at the fork is not whole.
  if (known != 0) entry.tag.store(0, std::memory_order_relaxed);
  return true;
}
void unlock(Entry& entry) noexcept { entry.busy.store(0, std::memory_order_release); }  // pairs with try_lock()

std::optional<Dropped> what_is_wrong(const Exemplar& exemplar) noexcept {
  if (exemplar.has_too_many_labels()) return Dropped::too_long;
  const Labels labels = exemplar.labels();
  std::size_t total = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto& [name, value] = labels[i];
    // The size is checked first, to bound the work of the other checks.
    if (name.size() > ExemplarCopy::max_bytes || value.size() > ExemplarCopy::max_bytes) return Dropped::too_long;
    const auto has_this_name = [&name = name](const Label& other) { return other.name == name; };
    if (!is_label_name(name) || std::ranges::any_of(labels.first(i), has_this_name)) return Dropped::bad_label;
    if (!is_utf8(value)) return Dropped::not_utf8;
    total += name.size() + count_code_points(value);
  }
  if (total > ExemplarCopy::max_code_points) return Dropped::too_long;
  return {};
}

/// Copies the labels. False if memory ran out.
bool write(Entry& entry, const Exemplar& exemplar) noexcept {
  std::size_t size = 0;
  for (const auto& [name, value] : exemplar.labels()) size += name.size() + value.size();
  char* to = entry.usual_text.data();
  if (size > usual_bytes) {
    if (entry.long_text == nullptr) entry.long_text = static_cast<char*>(acquire_memory(ExemplarCopy::max_bytes));
    to = entry.long_text;
    if (to == nullptr) return false;
  }
  std::size_t part = 0;
  for (const auto& [name, value] : exemplar.labels()) {
    for (const std::string_view text : {name, value}) {
      to = std::ranges::copy(text, to).out;
      entry.sizes[part++] = static_cast<std::uint16_t>(text.size());
    }
  }
  entry.labels = part / 2;
  return true;
}

void drop(Dropped why) noexcept {
  dropped_exemplars[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

ExemplarSource::Function* find_source(std::uint32_t slot) noexcept {
  SourceBlock* block = source_blocks[slot / cells_per_block].load(std::memory_order_acquire);  // pairs with publish()
  return block == nullptr ? nullptr : block->sources[slot % cells_per_block].load(std::memory_order_relaxed);
}

}  // namespace

void set_exemplar_source(std::uint32_t slot, ExemplarSource::Function* source) noexcept {
  if (slot == 0 || (source == nullptr && find_source(slot) == nullptr)) return;
  SourceBlock* block = publish(source_blocks[slot / cells_per_block]);
  if (block == nullptr) return;
  block->sources[slot % cells_per_block].store(source, std::memory_order_relaxed);
  has_exemplar_sources.store(true, std::memory_order_relaxed);
}

void keep_current_exemplar(CellRef series, std::size_t place, double value) noexcept {
  if (is_inside_source || series.slot == 0) return;
  ExemplarSource::Function* source = find_source(series.slot);
  if (source == nullptr || !is_exemplar_due(series, place)) return;
  is_inside_source = true;
  try {
    keep_exemplar(series, place, value, source(), true);
  } catch (...) {
    drop(Dropped::source_threw);
  }
  is_inside_source = false;
}

bool is_exemplar_due(CellRef series, std::size_t place) noexcept {
  if (!series.is_live()) return false;
  const Entry* entry = find_entry(series, place);
  return entry == nullptr || is_due(*entry, series.tag);
}

void keep_exemplar(CellRef series, std::size_t place, double value, const Exemplar& exemplar,
                   bool only_if_due) noexcept {
  if (exemplar.is_empty()) return;
  if (const auto wrong = what_is_wrong(exemplar)) return drop(*wrong);
  const Guard guard;  // the place stays that of this series
  if (!series.is_live()) return;
  Entry* entry = make_entry(series, place);
  if (entry == nullptr) return drop(Dropped::no_room);
  if (!try_lock(*entry)) return drop(Dropped::busy);
  // Asked again: of several threads that found an exemplar due, only the first keeps its own.
  if (!only_if_due || is_due(*entry, series.tag)) {
    const bool is_whole = write(*entry, exemplar);
    entry->value = value;
    entry->time = std::chrono::system_clock::now();
    entry->taken.store(milliseconds_now(), std::memory_order_relaxed);
    entry->tag.store(is_whole ? series.tag : 0, std::memory_order_relaxed);
    if (!is_whole) drop(Dropped::no_room);
  }
  unlock(*entry);
}

void drop_exemplar(CellRef series, std::size_t place) noexcept {
  const Guard guard;
  if (!series.is_live()) return;
  Entry* entry = find_entry(series, place);
  if (entry == nullptr || !try_lock(*entry)) return;
  entry->tag.store(0, std::memory_order_relaxed);
  unlock(*entry);
}

bool are_there_exemplars() noexcept { return has_entries.load(std::memory_order_relaxed); }

bool read_exemplar(CellRef series, std::size_t place, ExemplarCopy& into) noexcept {
  Entry* entry = find_entry(series, place);
  if (entry == nullptr) return false;
  // A writer takes much less time than these attempts, unless it was descheduled.
  for (int attempts = 64; !try_lock(*entry); --attempts) {
    if (attempts == 0) return false;
    std::this_thread::yield();
  }
  const bool is_own = entry->tag.load(std::memory_order_relaxed) == series.tag;
  if (is_own) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 2 * entry->labels; ++i) size += entry->sizes[i];
    std::memcpy(into.text.data(), size > usual_bytes ? entry->long_text : entry->usual_text.data(), size);
    const char* text = into.text.data();
    for (std::size_t i = 0; i < entry->labels; ++i) {
      const auto next = [&](std::size_t part) { return std::string_view(std::exchange(text, text + part), part); };
      into.labels[i].name = next(entry->sizes[2 * i]);
      into.labels[i].value = next(entry->sizes[2 * i + 1]);
    }
    into.view = {Labels(into.labels).first(entry->labels), entry->value, entry->time};
  }
  unlock(*entry);
  return is_own;
}

}  // namespace detail

void set_exemplar_interval(std::chrono::milliseconds interval) noexcept {
  detail::interval.store(interval.count(), std::memory_order_relaxed);
}

}  // namespace quipu

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "quipu/detail/cells.hpp"
#include "quipu/label.hpp"

namespace quipu::detail {

enum class CellKind : std::uint8_t { whole, real, histogram };

/// The label values of one series as one string of bytes, which is what series are told apart by: a length before each
/// text, eight bytes for each number, zeros up to a multiple of eight. No two lists of values share a key, as the
/// lengths separate them: ("ab", "c") is not ("a", "bc").
///
/// Built on the stack for each lookup; values of more than about 500 bytes in all take it to the heap.
class LabelKey {
 public:
  LabelKey() noexcept {}
  LabelKey(const LabelKey&) = delete;
  LabelKey& operator=(const LabelKey&) = delete;

  void put(std::string_view text) {
    unsigned char* to = reserve(text.size() + long_header);
    if (text.size() < long_mark) {
      *to++ = static_cast<unsigned char>(text.size());
    } else {
      const auto size = static_cast<std::uint32_t>(text.size());
      *to++ = long_mark;
      std::memcpy(to, &size, sizeof size);
      to += sizeof size;
    }
    copy_text(to, text);
    size_ = static_cast<std::size_t>(to - data_) + text.size();
  }

  void put(std::uint64_t number) {
    std::memcpy(reserve(sizeof number), &number, sizeof number);
    size_ += sizeof number;
  }

  /// The finished key. Nothing is put afterwards.
  [[nodiscard]] std::span<const std::uint64_t> finish() {
    // Zeros to the end of the word; those beyond are not part of the key.
    std::memset(reserve(word), 0, word);
    size_ += -size_ % word;
    return {reinterpret_cast<const std::uint64_t*>(data_), size_ / word};
  }

  static constexpr unsigned char long_mark = 0xFF;
  static constexpr std::size_t long_header = 1 + sizeof(std::uint32_t);

 private:
  static constexpr std::size_t word = sizeof(std::uint64_t);

  /// A memcpy for a few bytes, without the call: whole words, the last one over the end of those before it.
  static void copy_text(unsigned char* to, std::string_view text) noexcept {
    const char* from = text.data();
    const std::size_t size = text.size();
    if (size >= word) {
      for (std::size_t i = 0; i + word < size; i += word) std::memcpy(to + i, from + i, word);
      std::memcpy(to + size - word, from + size - word, word);
    } else if (size >= 4) {
      std::memcpy(to, from, 4);
      std::memcpy(to + size - 4, from + size - 4, 4);
    } else {
      for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<unsigned char>(from[i]);
    }
  }

  unsigned char* reserve(std::size_t more) {
    if (size_ + more > capacity_) [[unlikely]] {
      grow(more);
    }
    return data_ + size_;
  }
  void grow(std::size_t more);

  alignas(word) unsigned char inline_[512];
  std::unique_ptr<std::uint64_t[]> heap_;
  unsigned char* data_ = inline_;
  std::size_t size_ = 0;
  std::size_t capacity_ = sizeof inline_;
};

/// A series: its cell, then its key, in stable memory. All but the cell is written before the series is published and
/// does not change while it can be found, or a guard is held under which it was found.
struct Series {
  Cell cell;
  std::uint32_t hash;
  std::uint32_t slot;
  std::uint32_t position;  // in SeriesTable::order_
  std::uint32_t key_words;

  [[nodiscard]] std::span<const std::uint64_t> key() const noexcept {
    return {reinterpret_cast<const std::uint64_t*>(this + 1), key_words};
  }
  /// For a series that has just been removed, a handle to nowhere.
  [[nodiscard]] CellRef ref() noexcept {
    const std::uint32_t tag = cell.tag.load(std::memory_order_acquire);
    return tag == 0 ? CellRef{} : CellRef{&cell, tag, slot};
  }
};

/// A series as it was when it was looked at: should it be removed, `ref` is not live any more.
struct SeriesRef {
  Series* series = nullptr;
  CellRef ref;
};

/// The series of one family, found by their label values.
///
/// Lookups take no lock. The slots are an open-addressing hash table (linear probing, at most half full) that is
/// published with release and read with acquire, under a guard. Whoever changes it holds the mutex. A change never
/// leaves a reader with a wrong series, because the whole key is compared; at worst a reader misses a series that is
/// being moved, and a miss is looked up again under the mutex. What is taken out, a series or a table that has become
/// too small, is reused or freed only when all guards of that time have ended; where the system has no means for that,
/// it is kept.
///
/// Hashes are seeded at random for each table, so that label values from outside cannot be chosen to collide.
class SeriesTable {
 public:
  static constexpr std::size_t not_closed = static_cast<std::size_t>(-1);

  /// `layout` is given for histograms. `closed_size` is the number of combinations if every label is a closed set,
  /// otherwise 0. From `max_series` on, new label values are counted in one overflow series.
  SeriesTable(CellKind kind, std::vector<LabelColumn> columns, const BucketLayout* layout, std::size_t closed_size,
              std::size_t max_series);
  SeriesTable(const SeriesTable&) = delete;
  SeriesTable& operator=(const SeriesTable&) = delete;
  ~SeriesTable();

  /// Thread-safe. Takes no lock and does not allocate when there is such a series. A handle to nowhere when memory ran
  /// out. `index` numbers the combination, in a family of closed labels.
  [[nodiscard]] CellRef find_or_create(LabelKey& key, std::size_t index = not_closed) noexcept;
  /// The series of a combination of closed labels; a handle to nowhere when it was not made yet.
  /// Thread-safe, takes no lock.
  [[nodiscard]] CellRef closed(std::size_t index) const noexcept {
    const Guard guard;
    Series* series = closed_[index].load(std::memory_order_acquire);  // pairs with the release in publish()
    return series == nullptr ? CellRef{} : series->ref();
  }

  /// Thread-safe. Whether there was such a series.
  bool remove(LabelKey& key);
  bool remove(const SeriesRef& series);
  void clear();

  /// Copies the key of a series, unless it was removed since. Thread-safe, takes no lock.
  [[nodiscard]] static bool copy_key(const SeriesRef& series, std::vector<std::uint64_t>& into);

  /// Shows the series that there are when it begins, in a stable order, a batch at a time. A series that is removed and
  /// made again meanwhile is not shown twice. Thread-compatible.
  class Walk {
   public:
    explicit Walk(const SeriesTable& table);
    Walk(const Walk&) = delete;
    Walk& operator=(const Walk&) = delete;
    ~Walk();

    /// The next batch, empty at the end. Holds the lock for as long as it takes to copy 256 pointers.
    [[nodiscard]] std::span<const SeriesRef> next();

   private:
    const SeriesTable& table_;
    std::size_t position_ = 0;
    std::size_t end_ = 0;
    std::array<SeriesRef, 256> batch_;
  };

  [[nodiscard]] CellKind kind() const noexcept { return kind_; }
  [[nodiscard]] const BucketLayout* layout() const noexcept { return layout_; }
  [[nodiscard]] const std::vector<LabelColumn>& columns() const noexcept { return columns_; }
  [[nodiscard]] std::size_t size() const;
  /// Lookups that went to the overflow series because the table was full.
  [[nodiscard]] std::uint64_t overflows() const noexcept { return overflows_.load(std::memory_order_relaxed); }

 private:
  struct Slots {
    explicit Slots(std::size_t size) : mask(size - 1), slots(new std::atomic<Series*>[size]()) {}
    std::size_t mask;
    std::unique_ptr<std::atomic<Series*>[]> slots;
  };

  [[nodiscard]] std::uint32_t hash(std::span<const std::uint64_t> key) const noexcept;
  [[nodiscard]] Series* find(std::span<const std::uint64_t> key, std::uint32_t hash) const noexcept;
  [[nodiscard]] std::size_t cells() const noexcept;
  CellRef create(std::span<const std::uint64_t> key, std::size_t index);
  Series& publish(std::span<const std::uint64_t> key, std::size_t index);
  void insert(Slots& table, Series& series) noexcept;
  void grow();
  void take_out(Series& series);
  void recycle(std::span<Series* const> removed) noexcept;

  const CellKind kind_;
  const std::vector<LabelColumn> columns_;
  const BucketLayout* const layout_;
  const std::size_t closed_size_;
  const std::size_t max_series_;
  const std::uint64_t seed_;

  std::atomic<Slots*> slots_;
  std::unique_ptr<std::atomic<Series*>[]> closed_;  // for closed labels: the series of each combination, or null
  std::atomic<std::uint64_t> overflows_{0};

  mutable std::mutex mutex_;                    // guards what follows, and changes to the slots
  std::vector<std::unique_ptr<Slots>> tables_;  // the one in use is the last; the others could not be freed
  std::deque<Series*> order_;                   // null where a series was removed
  std::vector<std::uint32_t> free_positions_;   // for new series, but not during a walk, which could meet one twice
  mutable std::size_t walks_ = 0;
  std::size_t live_ = 0;
  Series* overflow_ = nullptr;
};

/// Takes from a key, in order, what was put into it.
class KeyCursor {
 public:
  explicit KeyCursor(std::span<const std::uint64_t> key) noexcept : from_(reinterpret_cast<const char*>(key.data())) {}
  [[nodiscard]] std::string_view text() noexcept;
  [[nodiscard]] std::uint64_t number() noexcept;

 private:
  const char* from_;
};

/// Shows keys as label values.
class KeyReader {
 public:
  explicit KeyReader(std::span<const LabelColumn> columns) : columns_(columns), digits_(columns.size()) {}

  /// Calls take(column, value) for each column. The values are valid until the next call, and as long as `key`.
  /// The key of an overflow series is empty and reads as "overflow" in each column.
  template <class Take>
  void read(std::span<const std::uint64_t> key, Take take) {
    KeyCursor cursor(key);
    for (std::size_t i = 0; i < columns_.size(); ++i) take(i, key.empty() ? overflow : next(cursor, i));
  }

  static constexpr std::string_view overflow = "overflow";

 private:
  [[nodiscard]] std::string_view next(KeyCursor& cursor, std::size_t column);

  std::span<const LabelColumn> columns_;
  std::vector<std::array<char, 24>> digits_;
};

}  // namespace quipu::detail

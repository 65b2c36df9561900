#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "quipu/detail/cells/native_cells.hpp"
#include "quipu/detail/family/label_key.hpp"
#include "quipu/exemplar.hpp"
#include "quipu/label.hpp"

namespace quipu::detail {

/// What the cells of a family's series are used for; see use_of() in lib/family/cell_use.hpp.
enum class CellKind : std::uint8_t { whole, real, gauge, states, histogram, native, summary };

class IdleSeries;

/// A series: its cell, then its key, then the shared sum of a gauge. Everything but cell and sum is written before the
/// series is published. It does not change while the series can be found. Nor does it change, but for `hash` and
/// `position`, while a guard is held under which the series was found. acquire_cell() makes it, with room for key and
/// sum.
struct Series : Cell {
  std::uint32_t hash;
  std::uint32_t slot;      // of its thread cells
  std::uint32_t position;  // in SeriesTable::order_
  std::uint32_t key_words : 31;
  std::uint32_t needs_no_escaping : 1;  // no exposition format escapes anything in its label values

  [[nodiscard]] std::span<const std::uint64_t> key() const noexcept {
    return {reinterpret_cast<const std::uint64_t*>(this + 1), key_words};
  }
  /// The next in a list of series that were taken out of their table. `hash` and `position`, of which they have no more
  /// use, hold its address: removing needs no memory.
  [[nodiscard]] Series* next_removed() const noexcept {
    return reinterpret_cast<Series*>(static_cast<std::uintptr_t>(std::uint64_t{hash} << 32 | position));
  }
  void set_next_removed(Series* next) noexcept {
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(next));
    hash = static_cast<std::uint32_t>(address >> 32);
    position = static_cast<std::uint32_t>(address);
  }
  /// A handle to nowhere if the series has just been removed.
  [[nodiscard]] CellRef ref() noexcept {
    // Acquire: pairs with the releases in begin_series() and end_series().
    const std::uint32_t own = tag.load(std::memory_order_acquire);
    return own == 0 ? CellRef{} : CellRef{this, own, slot};
  }
};

static_assert(alignof(Series) == 16);

/// A series and a handle from the time when it was looked at. If the series is removed, `ref` is no longer live.
struct SeriesRef {
  Series* series = nullptr;
  CellRef ref;
};

/// Counts the series of all families of a registry. The families share it, and may outlive the registry. Thread-safe.
/// Relaxed, because it is only a count: what is counted is published by other means.
class SeriesBudget {
 public:
  explicit SeriesBudget(std::size_t max) noexcept : max_(max) {}

  /// Counts one more, unless there are `max` already.
  [[nodiscard]] bool try_take() noexcept {
    std::size_t taken = taken_.load(std::memory_order_relaxed);
    while (taken < max_) {
      if (taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  /// Counts one more in any case.
  void take() noexcept { taken_.fetch_add(1, std::memory_order_relaxed); }
  void give_back(std::size_t count) noexcept { taken_.fetch_sub(count, std::memory_order_relaxed); }

 private:
  const std::size_t max_;
  std::atomic<std::size_t> taken_{0};
};

/// What a family may hold.
struct SeriesLimits {
  std::size_t series;                    // of the family; 0 if it never has any
  std::size_t label_value;               // the length of a text, in bytes
  std::shared_ptr<SeriesBudget> budget;  // of the registry
};

/// The series of one family, found by their label values.
///
/// A label value that is not valid UTF-8, or too long, is stored in another form. It is looked up as it is, which
/// fails, and then, under the mutex, in the form in which it is stored.
///
/// Lookups take no lock. The hash table is open-addressing (linear probing, at most half full). It is published with
/// release, and read with acquire under a guard. Every change is made with the mutex held. A change never gives a
/// reader a wrong series, because the whole key is compared. A reader may miss a series that is being moved, so a miss
/// is looked up again under the mutex. A removed series is reused, and a table that has become too small is freed, only
/// when all guards of that time have ended. That is waited for without the mutex. On systems that cannot tell when they
/// have, both are kept.
class QUIPU_EXPORT SeriesTable {
 public:
  static constexpr std::size_t not_closed = static_cast<std::size_t>(-1);

  /// `layout` is given for histograms, `native` for native ones and for summaries. `closed_size` is the number of
  /// combinations if every label is a closed set, otherwise 0. When the family or the registry has as many series as it
  /// may, new label values are counted in one overflow series, which is there in any case. `first_bits` is the first
  /// value of each series' cell. Series that are not recorded to for `idle_expiry` are hidden, unless that is 0.
  SeriesTable(CellKind kind, std::vector<LabelColumn> columns, const BucketLayout* layout, std::size_t closed_size,
              SeriesLimits limits, std::uint64_t first_bits, std::optional<NativeSpec> native = {},
              std::chrono::nanoseconds idle_expiry = {});
  SeriesTable(const SeriesTable&) = delete;
  SeriesTable& operator=(const SeriesTable&) = delete;
  ~SeriesTable();

  /// For the series that are made from now on; null for none. To be called before there is a series.
  void set_exemplar_source(ExemplarSource::Function* source) noexcept { exemplar_source_ = source; }

  /// The series with these label values; a handle to nowhere when there is none. Thread-safe. Takes no lock and does
  /// not allocate.
  template <class... Values>
  [[nodiscard]] CellRef find(const Values&... values) const noexcept {
    const std::uint32_t hash = hash_of(seed_, values...);
    const Guard guard;
    Series* series = find_if(hash, [&](const Series& met) { return is_key_of(met.key(), values...); });
    return series == nullptr ? CellRef{} : series->ref();
  }
  /// The same where the compiler does not know how many labels there are: `value(i)` is the value of label i.
  template <class Value>
  [[nodiscard]] CellRef find_values(std::size_t labels, Value value) const noexcept {
    std::uint64_t hash = seed_.start;
    for (std::size_t i = 0; i < labels; ++i) hash = hash_value(hash, seed_, value(i));
    const Guard guard;
    Series* series = find_if(folded(hash), [&](const Series& met) {
      const auto key = met.key();
      const char* next = reinterpret_cast<const char*>(key.data());
      for (std::size_t i = 0; i < labels; ++i) {
        if (key.empty() || !is_next(next, value(i))) return false;
      }
      return true;
    });
    return series == nullptr ? CellRef{} : series->ref();
  }
  /// The same where all values are texts. The loops are unrolled for the usual numbers of labels, which makes the whole
  /// a tenth faster.
  template <class Text>
  [[nodiscard]] CellRef find_texts(std::size_t labels, Text text) const noexcept {
    switch (labels) {
      case 1:
        return find(text(0));
      case 2:
        return find(text(0), text(1));
      case 3:
        return find(text(0), text(1), text(2));
      case 4:
        return find(text(0), text(1), text(2), text(3));
      default:
        return find_values(labels, text);
    }
  }
  /// The same for a finished look-up that missed: finds values that are stored in another form, too. Thread-safe; takes
  /// the lock. Throws std::bad_alloc, but only for texts that are long or not valid UTF-8.
  [[nodiscard]] CellRef find_stored(LabelKey& key) const;
  /// The same, but makes the series if there is none. Thread-safe; takes the lock. A handle to nowhere when memory ran
  /// out. `index` numbers the combination, in a family of closed labels.
  [[nodiscard]] CellRef find_or_create(LabelKey& key, std::size_t index = not_closed) noexcept;
  /// The series of a combination of closed labels; a handle to nowhere when it was not made yet.
  /// Thread-safe, takes no lock.
  [[nodiscard]] CellRef closed(std::size_t index) const noexcept {
    const Guard guard;
    Series* series = closed_[index].load(std::memory_order_acquire);  // pairs with the release in publish()
    return series == nullptr ? CellRef{} : series->ref();
  }

  /// The same, and counts one more holder of the series, unless it is the overflow series. A series with holders does
  /// not expire. `is_held` says whether the holder was counted.
  [[nodiscard]] CellRef hold(LabelKey& key, std::size_t index, bool& is_held) noexcept;
  /// One holder less. The last one removes the series, unless it was removed before.
  void release(CellRef held) noexcept;

  /// The series of a family without labels; a handle to nowhere when it was not made yet. Thread-safe, takes no lock.
  [[nodiscard]] CellRef the_only() const noexcept;

  /// Takes off what each series has recorded; see Family::reset(). Thread-safe. Throws std::bad_alloc.
  void reset();

  /// Removes a series. Returns whether there was one. Thread-safe.
  bool remove(LabelKey& key);
  bool remove(const SeriesRef& series);
  void clear();
  /// Removes every series, and makes no more. Thread-safe.
  void end() noexcept;
  [[nodiscard]] bool has_ended() const;

  /// Goes through the series that exist when it begins, in a stable order, a batch at a time. It does not show a series
  /// that is removed and made again meanwhile, because the new tag is newer than the walk. Thread-compatible.
  ///
  /// To make a batch, it copies pointers under the lock, and then keys under a guard that began while the lock was
  /// held. Neither is held for longer than that copying takes, nor while a batch is used.
  class Walk {
   public:
    struct Item {
      SeriesRef series;
      std::span<const std::uint64_t> key;  // a copy
      bool needs_no_escaping;
      std::uint32_t state;  // of the cell, when it was copied
    };

    /// `newest` is a tag that was the last one at an earlier time. With it, the walk shows the series that existed
    /// then.
    explicit Walk(const SeriesTable& table, std::optional<std::uint32_t> newest = {});
    Walk(const Walk&) = delete;
    Walk& operator=(const Walk&) = delete;

    /// The next batch; empty at the end. It is valid until the next call. Throws std::bad_alloc.
    [[nodiscard]] std::span<const Item> next();
    /// The same for a scrape, which shows no idle series (see IdleSeries). All series of a batch may be idle, so it may
    /// be empty before the end. False at the end.
    [[nodiscard]] bool next_in_use(std::span<const Item>& batch);

    static constexpr std::size_t max_batch = 64;

   private:
    [[nodiscard]] std::size_t copy_batch();
    [[nodiscard]] std::optional<std::size_t> try_copy_batch(std::size_t& words) noexcept;

    const SeriesTable& table_;
    std::uint32_t last_tag_ = 0;  // of all series made before it began
    std::size_t position_ = 0;
    std::size_t end_ = 0;
    std::array<Item, max_batch> batch_;
    std::unique_ptr<std::uint64_t[]> keys_;
    std::size_t keys_size_ = 0;
  };

  /// How much of a text to put into a key for find_or_create() or remove(). This bounds their work.
  [[nodiscard]] std::size_t max_put() const noexcept { return limits_.label_value + label_value_lookahead; }

  /// How long a text may be that is stored.
  [[nodiscard]] std::size_t max_label_value() const noexcept { return limits_.label_value; }

  [[nodiscard]] const BucketLayout* layout() const noexcept { return layout_; }
  /// The number of combinations if every label is a closed set, otherwise 0.
  [[nodiscard]] std::size_t closed_size() const noexcept { return closed_size_; }
  [[nodiscard]] std::size_t size() const;
  /// Lookups that went to the overflow series because there was no room for another one.
  [[nodiscard]] std::uint64_t overflows() const noexcept { return overflows_.load(std::memory_order_relaxed); }
  /// Idle series that were removed to make room for others.
  [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_.load(std::memory_order_relaxed); }
  /// Lookups with a text that was too long.
  [[nodiscard]] std::uint64_t truncations() const noexcept { return truncations_.load(std::memory_order_relaxed); }

 private:
  /// An entry is 0, or the address of a series. The four low bits of an address are 0, and hold four bits of the
  /// series' hash instead. These tell most other series apart without looking at them.
  struct HashTable {
    explicit HashTable(std::size_t size) : mask(size - 1), entries(new std::atomic<std::uintptr_t>[size]()) {}
    std::size_t mask;
    std::unique_ptr<std::atomic<std::uintptr_t>[]> entries;
    std::unique_ptr<HashTable> next{};  // in a list of tables that are not in use any more
  };
  static constexpr std::uintptr_t hash_bits = alignof(Series) - 1;
  [[nodiscard]] static std::uintptr_t bits_of(std::uint32_t hash) noexcept { return hash >> 28; }
  [[nodiscard]] static Series* series_in(std::uintptr_t entry) noexcept {
    return reinterpret_cast<Series*>(entry & ~hash_bits);
  }

  template <class Matches>
  [[nodiscard]] Series* find_if(std::uint32_t hash, Matches matches) const noexcept {
    const HashTable& table = *table_.load(std::memory_order_acquire);  // pairs with the release in grow()
    for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
      const std::uintptr_t entry =
          table.entries[i].load(std::memory_order_acquire);  // pairs with the releases in insert() and take_out()
      if (entry == 0) return nullptr;
      if ((entry & hash_bits) == bits_of(hash) && matches(*series_in(entry))) return series_in(entry);
    }
  }
  [[nodiscard]] std::uint32_t hash(std::span<const std::uint64_t> key) const noexcept;
  [[nodiscard]] Series* find_key(std::span<const std::uint64_t> key) const noexcept;
  [[nodiscard]] std::size_t cells() const noexcept;
  /// The key as it is stored. If that is another one than `key`, it is made in `valid`.
  [[nodiscard]] std::span<const std::uint64_t> stored(std::span<const std::uint64_t> key, LabelKey& valid) const;
  [[nodiscard]] bool take_place() noexcept;
  [[nodiscard]] std::size_t bytes_of_series(std::size_t key_words) const noexcept;
  CellRef create(std::span<const std::uint64_t> key, std::size_t index, Series*& evicted);
  Series& publish(std::span<const std::uint64_t> key, std::size_t index);
  void insert(HashTable& table, Series& series) noexcept;
  void make_room();
  void grow();
  void free_retired() noexcept;
  void take_out(Series& series) noexcept;
  [[nodiscard]] Series* take_out_all() noexcept;
  [[nodiscard]] bool is_lasting(const Series& series, std::uint32_t tag) const noexcept;
  [[nodiscard]] std::size_t without_idle(std::span<Walk::Item> batch) const noexcept;
  [[nodiscard]] Series* take_out_idle() noexcept;
  void recycle(Series* removed) noexcept;
  void reset(CellRef series, std::chrono::nanoseconds& patience) const;

  const CellKind kind_;
  const std::vector<LabelColumn> columns_;
  const BucketLayout* const layout_;
  const std::optional<NativeSpec> native_;
  const std::size_t closed_size_;
  const SeriesLimits limits_;
  const std::uint64_t first_bits_;
  const HashSeed seed_;
  const bool names_need_no_escaping_;  // of enumerations
  ExemplarSource::Function* exemplar_source_ = nullptr;

  std::atomic<HashTable*> table_;
  /// Whether `retired_` has tables. Relaxed: it is looked at again under the lock.
  std::atomic<bool> has_retired_{false};
  std::unique_ptr<std::atomic<Series*>[]> closed_;  // for closed labels: the series of each combination, or null
  std::atomic<std::uint64_t> overflows_{0};
  std::atomic<std::uint64_t> truncations_{0};
  std::atomic<std::uint64_t> evictions_{0};

  mutable std::mutex mutex_;                   // guards what follows, and changes to the table
  std::unique_ptr<HashTable> in_use_;          // where `table_` points
  std::unique_ptr<HashTable> retired_;         // to be freed by a thread that made a series, when all guards have ended
  std::unique_ptr<HashTable> kept_;            // could not be freed
  std::deque<Series*> order_;                  // null where a series was removed
  std::vector<std::uint32_t> free_positions_;  // for new series; has room for all positions
  std::size_t live_ = 0;
  Series* overflow_ = nullptr;
  std::unordered_map<std::uint32_t, std::size_t> holders_;  // how many a series has, by its tag
  const std::unique_ptr<IdleSeries> idle_;                  // null if series do not expire
  bool has_ended_ = false;
};

}  // namespace quipu::detail

#include "quipu/detail/family/series_table.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/utf8.hpp"
#include "family/cell_use.hpp"
#include "quipu/detail/cells/gauge_cells.hpp"

namespace quipu::detail {
namespace {

constexpr std::size_t first_size = 8;

/// Where a gauge's shared sum is, in words from the beginning of the series: after the key, whose words are copied in
/// pairs (see copy_batch()).
std::uint32_t sum_of_gauge_at(std::size_t key_words) noexcept {
  return static_cast<std::uint32_t>(sizeof(Series) / sizeof(std::uint64_t) + (key_words + 1) / 2 * 2);
}

bool has_valid_text(std::span<const LabelColumn> columns, std::span<const std::uint64_t> key) noexcept {
  KeyCursor cursor(key);
  for (const LabelColumn& column : columns) {
    if (column.type != LabelType::text) {
      static_cast<void>(cursor.number());
    } else if (!is_utf8(cursor.text())) {
      return false;
    }
  }
  return true;
}

void copy_as_valid_text(std::span<const LabelColumn> columns, std::span<const std::uint64_t> key, LabelKey& to) {
  KeyCursor cursor(key);
  for (const LabelColumn& column : columns) {
    if (column.type == LabelType::text) {
      to.put(to_utf8(cursor.text()));
    } else {
      to.put(cursor.number());
    }
  }
}

/// Whether no exposition format escapes anything in it.
bool needs_no_escaping(std::string_view text) noexcept { return text.find_first_of("\\\n\"") == text.npos; }

bool needs_no_escaping_in_text(std::span<const LabelColumn> columns, std::span<const std::uint64_t> key) noexcept {
  KeyCursor cursor(key);
  return std::ranges::all_of(columns, [&](const LabelColumn& column) {
    if (column.type == LabelType::text) return needs_no_escaping(cursor.text());
    static_cast<void>(cursor.number());
    return true;
  });
}

/// Puts label values that are all shown as "overflow". Returns false if that is not possible. Then no other series is
/// shown like the empty key, which is also shown as "overflow".
bool put_overflow(std::span<const LabelColumn> columns, LabelKey& key) {
  for (const LabelColumn& column : columns) {
    const auto name = std::ranges::find(column.names, KeyReader::overflow);
    if (column.type == LabelType::text) {
      key.put(KeyReader::overflow);
    } else if (name != column.names.end()) {
      key.put(static_cast<std::uint64_t>(name - column.names.begin()));
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

SeriesTable::SeriesTable(CellKind kind, std::vector<LabelColumn> columns, const BucketLayout* layout,
                         std::size_t closed_size, std::size_t max_series, std::uint64_t first_bits,
                         std::optional<NativeSpec> native)
    : kind_(kind),
      columns_(std::move(columns)),
      layout_(layout),
      native_(std::move(native)),
      closed_size_(closed_size),
      max_series_(std::max<std::size_t>(max_series, 1)),
      first_bits_(first_bits),
      seed_(random_seed()),
      names_need_no_escaping_(std::ranges::all_of(
          columns_, [](const LabelColumn& column) { return std::ranges::all_of(column.names, needs_no_escaping); })) {
  if (closed_size > 0) closed_.reset(new std::atomic<Series*>[closed_size]());
  tables_.push_back(std::make_unique<HashTable>(first_size));
  table_.store(tables_.back().get(), std::memory_order_relaxed);
}

SeriesTable::~SeriesTable() {
  std::erase(order_, nullptr);
  const std::vector<Series*> removed(order_.begin(), order_.end());
  for (Series* series : removed) end_series(*series);
  recycle(removed);
}

std::uint32_t SeriesTable::hash(std::span<const std::uint64_t> key) const noexcept {
  return hash_of_key(seed_, columns_, key);
}

Series* SeriesTable::find_key(std::span<const std::uint64_t> key) const noexcept {
  return find_if(hash(key), [key](const Series& met) { return std::ranges::equal(met.key(), key); });
}

CellRef SeriesTable::find_or_create(LabelKey& key, std::size_t index) noexcept {
  try {
    return create(key.finish(), index);
  } catch (...) {
    return {};
  }
}

CellRef SeriesTable::create(std::span<const std::uint64_t> key, std::size_t index) {
  LabelKey valid;
  if (!has_valid_text(columns_, key)) {
    copy_as_valid_text(columns_, key, valid);
    key = valid.finish();
  }

  const std::lock_guard lock(mutex_);
  if (Series* series = find_key(key)) return series->ref();
  if (live_ < max_series_) return publish(key, index).ref();
  overflows_.fetch_add(1, std::memory_order_relaxed);
  if (overflow_ == nullptr) {
    LabelKey named;
    const bool is_nameable = put_overflow(columns_, named);
    const auto words = is_nameable ? named.finish() : std::span<const std::uint64_t>();
    overflow_ = find_key(words);
    if (overflow_ == nullptr) overflow_ = &publish(words, not_closed);
  }
  return overflow_->ref();
}

std::size_t SeriesTable::cells() const noexcept {
  return use_of(kind_).has_buckets ? histogram_cells(layout_->buckets()) : 1;
}

std::size_t SeriesTable::bytes_of_series(std::size_t key_words) const noexcept {
  const std::size_t words = use_of(kind_).has_gauge_state ? sum_of_gauge_at(key_words) + 1
                                                          : sizeof(Series) / sizeof(std::uint64_t) + key_words;
  return words * sizeof(std::uint64_t);
}

Series& SeriesTable::publish(std::span<const std::uint64_t> key, std::size_t index) {
  if (live_ + 1 > (tables_.back()->mask + 1) / 2) grow();
  const bool takes_free_position = !free_positions_.empty();
  if (!takes_free_position) order_.push_back(nullptr);
  const auto release = [](NativeCells* unused) { unused->release(); };
  std::unique_ptr<NativeCells, decltype(release)> native;
  if (native_) native.reset(new NativeCells(*native_, layout_->count == 0 ? nullptr : layout_));

  auto* series = static_cast<Series*>(&acquire_cell(bytes_of_series(key.size())));
  series->hash = hash(key);
  series->position = takes_free_position ? free_positions_.back() : static_cast<std::uint32_t>(order_.size() - 1);
  series->key_words = static_cast<std::uint32_t>(key.size()) & 0x7FFF'FFFFu;
  series->needs_no_escaping = names_need_no_escaping_ && (key.empty() || needs_no_escaping_in_text(columns_, key));
  std::ranges::copy(key, reinterpret_cast<std::uint64_t*>(series + 1));
  series->slot = use_of(kind_).has_gauge_state ? begin_gauge(*series, sum_of_gauge_at(key.size())).slot
                                               : begin_series(*series, cells(), seconds_now(), first_bits_).slot;
  if (native) begin_native(*series, *native.release());

  if (takes_free_position) free_positions_.pop_back();
  order_[series->position] = series;
  ++live_;
  insert(*tables_.back(), *series);
  // Release: pairs with the acquire in closed().
  if (index != not_closed) closed_[index].store(series, std::memory_order_release);
  return *series;
}

void SeriesTable::insert(HashTable& table, Series& series) noexcept {
  std::size_t i = series.hash & table.mask;
  while (table.entries[i].load(std::memory_order_relaxed) != 0) i = (i + 1) & table.mask;
  const auto entry = reinterpret_cast<std::uintptr_t>(&series) | bits_of(series.hash);
  table.entries[i].store(entry, std::memory_order_release);  // pairs with the acquire in find_if(): the key is there
}

void SeriesTable::grow() {
  auto larger = std::make_unique<HashTable>(2 * (tables_.back()->mask + 1));
  for (Series* series : order_) {
    if (series != nullptr) insert(*larger, *series);
  }
  tables_.push_back(std::move(larger));
  table_.store(tables_.back().get(), std::memory_order_release);  // pairs with the acquire in find_if()
  if (quiesce()) tables_.erase(tables_.begin(), tables_.end() - 1);
}

bool SeriesTable::remove(LabelKey& key) {
  auto words = key.finish();
  LabelKey valid;
  if (!has_valid_text(columns_, words)) {
    copy_as_valid_text(columns_, words, valid);
    words = valid.finish();
  }
  Series* series = nullptr;
  {
    const std::lock_guard lock(mutex_);
    series = find_key(words);
    if (series != nullptr) take_out(*series);
  }
  if (series == nullptr) return false;
  recycle({&series, 1});
  return true;
}

bool SeriesTable::remove(const SeriesRef& removed) {
  {
    const std::lock_guard lock(mutex_);
    if (!removed.ref.is_live()) return false;
    take_out(*removed.series);
  }
  recycle({&removed.series, 1});
  return true;
}

void SeriesTable::clear() {
  std::vector<Series*> removed;
  {
    const std::lock_guard lock(mutex_);
    std::ranges::copy_if(order_, std::back_inserter(removed), [](Series* series) { return series != nullptr; });
    for (Series* series : removed) take_out(*series);
  }
  recycle(removed);
}

/// Makes the series unfindable. What its handles write goes nowhere.
void SeriesTable::take_out(Series& series) {
  free_positions_.push_back(series.position);
  end_series(series);
  for (std::size_t i = 0; i < closed_size_; ++i) {
    if (closed_[i].load(std::memory_order_relaxed) == &series) closed_[i].store(nullptr, std::memory_order_relaxed);
  }
  if (&series == overflow_) overflow_ = nullptr;
  order_[series.position] = nullptr;
  --live_;

  // Closes the gap in the probe sequence: entries that had no room in their home slot move up.
  HashTable& table = *tables_.back();
  std::size_t gap = series.hash & table.mask;
  while (series_in(table.entries[gap].load(std::memory_order_relaxed)) != &series) gap = (gap + 1) & table.mask;
  for (std::size_t i = (gap + 1) & table.mask;; i = (i + 1) & table.mask) {
    const std::uintptr_t next = table.entries[i].load(std::memory_order_relaxed);
    if (next == 0) break;
    const std::size_t home = series_in(next)->hash & table.mask;
    if (((i - home) & table.mask) < ((i - gap) & table.mask)) continue;  // its home slot is behind the gap
    table.entries[gap].store(next, std::memory_order_release);           // pairs with the acquire in find_if()
    gap = i;
  }
  table.entries[gap].store(0, std::memory_order_relaxed);
}

/// Recycles removed series. Called without the lock, because it waits for guards.
void SeriesTable::recycle(std::span<Series* const> removed) noexcept {
  if (removed.empty() || !quiesce()) return;
  const CellUse use = use_of(kind_);
  for (Series* series : removed) {
    if (use.has_native) recycle_native(*series);
    if (use.has_histogram) recycle_histogram(*series);
    recycle_series(series->slot, cells());
    release_cell(*series, bytes_of_series(series->key_words));
  }
}

SeriesTable::Walk::Walk(const SeriesTable& table, std::optional<std::uint32_t> newest) : table_(table) {
  const std::lock_guard lock(table_.mutex_);
  last_tag_ = newest ? *newest : last_tag();
  end_ = table_.order_.size();
}

std::span<const SeriesTable::Walk::Item> SeriesTable::Walk::next() {
  std::size_t count = 0;
  while (count == 0 && position_ < end_) count = copy_batch();
  return std::span(batch_).first(count);
}

/// Copies the series at the next positions; there may be none.
std::size_t SeriesTable::Walk::copy_batch() {
  std::array<Series*, max_batch> found;
  std::size_t count = 0;
  std::uint32_t newer = 0;  // how many tags are newer than the walk
  std::unique_lock lock(table_.mutex_);
  const std::size_t stop = std::min(end_, position_ + found.size());
  for (auto next = table_.order_.begin() + static_cast<std::ptrdiff_t>(position_); position_ < stop;
       ++position_, ++next) {
    if (*next != nullptr) found[count++] = *next;
  }
  newer = last_tag() - last_tag_;
  const Guard guard;
  lock.unlock();

  std::size_t words = 0;
  for (Series* series : std::span(found).first(count)) words += series->key_words;
  if (words >= keys_size_) {
    keys_size_ = 2 * words + 1;
    keys_ = std::make_unique_for_overwrite<std::uint64_t[]>(keys_size_);
  }
  std::uint64_t* to = keys_.get();
  std::size_t live = 0;
  for (Series* series : std::span(found).first(count)) {
    const std::uint32_t tag = series->tag.load(std::memory_order_acquire);  // pairs with the release in end_series()
    if (tag == 0 || tag - last_tag_ - 1 < newer) continue;
    // Copied field by field: compilers copy the whole through memory, which takes longer than all the rest.
    Item& item = batch_[live++];
    item.series.series = series;
    item.series.ref.cell = series;
    item.series.ref.tag = tag;
    item.series.ref.slot = series->slot;
    const auto key = series->key();
    item.key = {to, key.size()};
    item.needs_no_escaping = series->needs_no_escaping != 0;
    item.state = series->state.load(std::memory_order_relaxed);
    // Copied in pairs of words: the room behind a series holds an even number of words, because cells are aligned to
    // that.
    for (std::size_t i = 0; i < key.size(); i += 2) std::memcpy(to + i, key.data() + i, 2 * sizeof *to);
    to += key.size();
  }
  return live;
}

std::size_t SeriesTable::size() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

}  // namespace quipu::detail

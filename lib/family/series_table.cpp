#include "quipu/detail/family/series_table.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/utf8.hpp"
#include "family/cell_use.hpp"
#include "family/idle_series.hpp"
#include "quipu/detail/cells/counter_cells.hpp"
#include "quipu/detail/cells/exemplars.hpp"
#include "quipu/detail/cells/gauge_cells.hpp"
#include "quipu/detail/cells/histogram_cells.hpp"
#include "quipu/detail/cells/state_cells.hpp"

namespace quipu::detail {
namespace {

constexpr std::size_t first_size = 8;

/// Where a gauge's shared sum is, in words from the beginning of the series: after the key, whose words are copied in
/// pairs (see try_copy_batch()).
std::uint32_t sum_of_gauge_at(std::size_t key_words) noexcept {
  return static_cast<std::uint32_t>(sizeof(Series) / sizeof(std::uint64_t) + (key_words + 1) / 2 * 2);
}

/// Whether a condition holds for any text of the key.
template <class Condition>
bool has_text(std::span<const LabelColumn> columns, std::span<const std::uint64_t> key, Condition condition) noexcept {
  KeyCursor cursor(key);
  return std::ranges::any_of(columns, [&](const LabelColumn& column) {
    if (column.type == LabelType::text) return condition(cursor.text());
    static_cast<void>(cursor.number());
    return false;
  });
}

void copy_as_valid_text(std::span<const LabelColumn> columns, std::span<const std::uint64_t> key, std::size_t max_text,
                        LabelKey& to) {
  KeyCursor cursor(key);
  for (const LabelColumn& column : columns) {
    if (column.type == LabelType::text) {
      to.put(to_utf8(cursor.text(), max_text));
    } else {
      to.put(cursor.number());
    }
  }
}

/// Whether an exposition format escapes something in it.
bool needs_escaping(std::string_view text) noexcept { return text.find_first_of("\\\n\"") != text.npos; }

/// Looks at a series of this kind; its times are not filled in.
IdleSeries::Look look_at_cells(CellKind kind, CellRef series) noexcept {
  switch (kind) {
    case CellKind::whole:
      return {.fingerprint = read_whole(series), .is_in_use = false, .begin = {}, .end = {}};
    case CellKind::real:
      return {
          .fingerprint = std::bit_cast<std::uint64_t>(read_real(series)), .is_in_use = false, .begin = {}, .end = {}};
    case CellKind::gauge: {
      const GaugeLook look = look_at_gauge(series);
      return {.fingerprint = look.changes, .is_in_use = look.is_in_use, .begin = {}, .end = {}};
    }
    case CellKind::histogram:
      return {.fingerprint = count_observations(series), .is_in_use = false, .begin = {}, .end = {}};
    case CellKind::native:
    case CellKind::summary:
      return {.fingerprint = count_native_observations(series), .is_in_use = false, .begin = {}, .end = {}};
    case CellKind::states:
      break;
  }
  return {.fingerprint = 0, .is_in_use = true, .begin = {}, .end = {}};  // a state lasts
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
                         std::size_t closed_size, SeriesLimits limits, std::uint64_t first_bits,
                         std::optional<NativeSpec> native, std::chrono::nanoseconds idle_expiry)
    : kind_(kind),
      columns_(std::move(columns)),
      layout_(layout),
      native_(std::move(native)),
      closed_size_(closed_size),
      limits_(std::move(limits)),
      first_bits_(first_bits),
      seed_(random_seed(limits_.label_value)),
      names_need_no_escaping_(std::ranges::all_of(
          columns_, [](const LabelColumn& column) { return std::ranges::none_of(column.names, needs_escaping); })),
      idle_(idle_expiry.count() > 0 ? std::make_unique<IdleSeries>(idle_expiry) : nullptr) {
  if (closed_size > 0) closed_.reset(new std::atomic<Series*>[closed_size]());
  in_use_ = std::make_unique<HashTable>(first_size);
  table_.store(in_use_.get(), std::memory_order_relaxed);
}

SeriesTable::~SeriesTable() {
  Series* removed = nullptr;
  for (Series* series : order_) {
    if (series == nullptr) continue;
    end_series(*series);
    series->set_next_removed(std::exchange(removed, series));
  }
  limits_.budget->give_back(live_);
  recycle(removed);
}

std::uint32_t SeriesTable::hash(std::span<const std::uint64_t> key) const noexcept {
  return hash_of_key(seed_, columns_, key);
}

Series* SeriesTable::find_key(std::span<const std::uint64_t> key) const noexcept {
  return find_if(hash(key), [key](const Series& met) { return std::ranges::equal(met.key(), key); });
}

CellRef SeriesTable::the_only() const noexcept {
  const Guard guard;
  Series* series = find_key({});
  return series == nullptr ? CellRef{} : series->ref();
}

CellRef SeriesTable::find_stored(LabelKey& key) const {
  LabelKey valid;
  const auto words = stored(key.finish(), valid);
  const std::lock_guard lock(mutex_);
  Series* series = find_key(words);
  return series == nullptr ? CellRef{} : series->ref();
}

CellRef SeriesTable::find_or_create(LabelKey& key, std::size_t index) noexcept {
  CellRef series;
  Series* evicted = nullptr;
  try {
    series = create(key.finish(), index, evicted);
  } catch (...) {
    // Memory ran out.
  }
  recycle(evicted);
  if (has_retired_.load(std::memory_order_relaxed)) free_retired();
  return series;
}

std::span<const std::uint64_t> SeriesTable::stored(std::span<const std::uint64_t> key, LabelKey& valid) const {
  const std::size_t max_text = limits_.label_value;
  const auto has_other_form = [max_text](std::string_view text) { return text.size() > max_text || !is_utf8(text); };
  if (!has_text(columns_, key, has_other_form)) return key;
  copy_as_valid_text(columns_, key, max_text, valid);
  return valid.finish();
}

/// Whether there may be one more series. If so, it is counted in the budget. A metric without labels has its series in
/// any case.
bool SeriesTable::take_place() noexcept {
  if (!columns_.empty()) return live_ < limits_.series && limits_.budget->try_take();
  limits_.budget->take();
  return true;
}

CellRef SeriesTable::create(std::span<const std::uint64_t> key, std::size_t index, Series*& evicted) {
  if (limits_.series == 0) return {};
  const auto is_too_long = [this](std::string_view text) { return text.size() > limits_.label_value; };
  if (has_text(columns_, key, is_too_long)) truncations_.fetch_add(1, std::memory_order_relaxed);
  LabelKey valid;
  key = stored(key, valid);

  const std::lock_guard lock(mutex_);
  if (has_ended_) return {};
  if (Series* series = find_key(key)) return series->ref();
  const auto make = [this](std::span<const std::uint64_t> words, std::size_t at) -> Series& {
    try {
      return publish(words, at);
    } catch (...) {
      limits_.budget->give_back(1);
      throw;
    }
  };
  if (take_place()) return make(key, index).ref();
  evicted = take_out_idle();
  if (evicted != nullptr && take_place()) return make(key, index).ref();
  overflows_.fetch_add(1, std::memory_order_relaxed);
  if (overflow_ == nullptr) {
    LabelKey named;
    const bool is_nameable = put_overflow(columns_, named);
    const auto words = is_nameable ? named.finish() : std::span<const std::uint64_t>();
    overflow_ = find_key(words);
    if (overflow_ == nullptr) {
      limits_.budget->take();
      overflow_ = &make(words, not_closed);
    }
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
  if (free_positions_.empty()) make_room();
  if (live_ + 1 > (in_use_->mask + 1) / 2) grow();
  const auto release = [](NativeCells* unused) { unused->release(); };
  std::unique_ptr<NativeCells, decltype(release)> native;
  if (native_) native.reset(new NativeCells(*native_, layout_ == nullptr || layout_->count == 0 ? nullptr : layout_));

  auto* series = static_cast<Series*>(&acquire_cell(bytes_of_series(key.size())));
  series->hash = hash(key);
  series->position = free_positions_.back();
  series->key_words = static_cast<std::uint32_t>(key.size()) & 0x7FFF'FFFFu;
  series->needs_no_escaping = names_need_no_escaping_ && (key.empty() || !has_text(columns_, key, needs_escaping));
  std::ranges::copy(key, reinterpret_cast<std::uint64_t*>(series + 1));
  series->slot = use_of(kind_).has_gauge_state ? begin_gauge(*series, sum_of_gauge_at(key.size())).slot
                                               : begin_series(*series, cells(), seconds_now(), first_bits_).slot;
  if (native) begin_native(*series, *native.release());
  detail::set_exemplar_source(series->slot, exemplar_source_);

  free_positions_.pop_back();
  order_[series->position] = series;
  ++live_;
  insert(*in_use_, *series);
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

/// Adds a position. There is room to give all positions back, so that removing needs no memory.
void SeriesTable::make_room() {
  const std::size_t position = order_.size();
  if (idle_ != nullptr) idle_->make_room(position + 1);
  if (free_positions_.capacity() <= position) free_positions_.reserve(2 * position + first_size);
  order_.push_back(nullptr);
  free_positions_.push_back(static_cast<std::uint32_t>(position));
}

void SeriesTable::grow() {
  auto larger = std::make_unique<HashTable>(2 * (in_use_->mask + 1));
  for (Series* series : order_) {
    if (series != nullptr) insert(*larger, *series);
  }
  table_.store(larger.get(), std::memory_order_release);  // pairs with the acquire in find_if()
  in_use_->next = std::move(retired_);
  retired_ = std::exchange(in_use_, std::move(larger));
  has_retired_.store(true, std::memory_order_relaxed);
}

/// Frees the tables that have become too small. Called without the lock, because it waits for guards.
void SeriesTable::free_retired() noexcept {
  std::unique_ptr<HashTable> retired;
  {
    const std::lock_guard lock(mutex_);
    retired = std::move(retired_);
    has_retired_.store(false, std::memory_order_relaxed);
  }
  if (retired == nullptr || quiesce()) return;
  HashTable* last = retired.get();
  while (last->next != nullptr) last = last->next.get();
  const std::lock_guard lock(mutex_);
  last->next = std::move(kept_);
  kept_ = std::move(retired);
}

CellRef SeriesTable::hold(LabelKey& key, std::size_t index, bool& is_held) noexcept {
  is_held = false;
  for (;;) {
    const CellRef series = find_or_create(key, index);
    if (series == CellRef{}) return {};
    const std::lock_guard lock(mutex_);
    if (!series.is_live()) continue;  // removed since
    if (series.cell == overflow_) return series;
    try {
      ++holders_[series.tag];
    } catch (...) {
      return {};
    }
    is_held = true;
    return series;
  }
}

void SeriesTable::release(CellRef held) noexcept {
  Series* removed = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto holders = holders_.find(held.tag);
    if (--holders->second > 0) return;
    holders_.erase(holders);
    if (!held.is_live() || held.cell == overflow_) return;
    removed = static_cast<Series*>(held.cell);
    take_out(*removed);
  }
  removed->set_next_removed(nullptr);
  recycle(removed);
}

void SeriesTable::reset() {
  static constinit std::mutex resets;  // two resets of one series would both take off what both have read
  const std::lock_guard lock(resets);
  std::chrono::nanoseconds patience = reading_patience;
  Walk walk(*this);
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    for (const Walk::Item& item : batch) reset(item.series.ref, patience);
  }
}

void SeriesTable::reset(CellRef series, std::chrono::nanoseconds& patience) const {
  switch (kind_) {
    case CellKind::whole:
      reset_whole(series);
      break;
    case CellKind::real:
      reset_real(series);
      break;
    case CellKind::gauge:
      return reset_gauge(series);
    case CellKind::states:
      return set_states(series, first_bits_);
    case CellKind::histogram:
      reset_histogram(series, *layout_, patience);
      break;
    case CellKind::native:
    case CellKind::summary:
      reset_native(series, patience);
      break;
  }
  const std::size_t places = use_of(kind_).has_buckets ? layout_->buckets() : 1;
  for (std::size_t i = 0; i < places; ++i) {
    drop_exemplar(series, use_of(kind_).has_buckets ? bucket_place(i) : counter_place);
  }
  const Guard guard;
  if (series.is_live()) series.cell->state.store(seconds_now(), std::memory_order_relaxed);  // when it was made
}

bool SeriesTable::remove(LabelKey& key) {
  LabelKey valid;
  const auto words = stored(key.finish(), valid);
  Series* series = nullptr;
  {
    const std::lock_guard lock(mutex_);
    series = find_key(words);
    if (series != nullptr) take_out(*series);
  }
  if (series == nullptr) return false;
  series->set_next_removed(nullptr);
  recycle(series);
  return true;
}

bool SeriesTable::remove(const SeriesRef& removed) {
  {
    const std::lock_guard lock(mutex_);
    if (!removed.ref.is_live()) return false;
    take_out(*removed.series);
  }
  removed.series->set_next_removed(nullptr);
  recycle(removed.series);
  return true;
}

void SeriesTable::clear() {
  Series* removed = nullptr;
  {
    const std::lock_guard lock(mutex_);
    removed = take_out_all();
  }
  recycle(removed);
}

void SeriesTable::end() noexcept {
  Series* removed = nullptr;
  {
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
    removed = take_out_all();
  }
  recycle(removed);
}

bool SeriesTable::has_ended() const {
  const std::lock_guard lock(mutex_);
  return has_ended_;
}

/// The series are in a list, to be recycled without the lock.
Series* SeriesTable::take_out_all() noexcept {
  Series* removed = nullptr;
  for (Series* series : order_) {
    if (series == nullptr) continue;
    take_out(*series);
    series->set_next_removed(std::exchange(removed, series));
  }
  return removed;
}

/// Makes the series unfindable. What its handles write goes nowhere.
void SeriesTable::take_out(Series& series) noexcept {
  if (idle_ != nullptr) idle_->forget(series.position);
  free_positions_.push_back(series.position);
  end_series(series);
  for (std::size_t i = 0; i < closed_size_; ++i) {
    if (closed_[i].load(std::memory_order_relaxed) == &series) closed_[i].store(nullptr, std::memory_order_relaxed);
  }
  if (&series == overflow_) overflow_ = nullptr;
  order_[series.position] = nullptr;
  --live_;
  limits_.budget->give_back(1);

  // Closes the gap in the probe sequence: entries that had no room in their home slot move up.
  HashTable& table = *in_use_;
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

/// Recycles a list of removed series. Called without the lock, because it waits for guards.
void SeriesTable::recycle(Series* removed) noexcept {
  if (removed == nullptr || !quiesce()) return;
  const CellUse use = use_of(kind_);
  while (removed != nullptr) {
    Series* series = std::exchange(removed, removed->next_removed());
    if (use.has_native) recycle_native(*series);
    if (use.has_histogram) recycle_histogram(*series);
    recycle_series(series->slot, cells());
    release_cell(*series, bytes_of_series(series->key_words));
  }
}

/// Whether the series never expires. The overflow series does not, as it stands for no label values. Nor does a series
/// with holders. To be called with the lock held.
bool SeriesTable::is_lasting(const Series& series, std::uint32_t tag) const noexcept {
  return &series == overflow_ || (!holders_.empty() && holders_.contains(tag));
}

/// Looks at the series of the batch, moves those that are not idle to the front, and returns how many there are.
std::size_t SeriesTable::without_idle(std::span<Walk::Item> batch) const noexcept {
  std::array<IdleSeries::Look, Walk::max_batch> looks;
  const std::lock_guard lock(mutex_);
  const auto begin = IdleSeries::Clock::now();
  if (kind_ == CellKind::whole) {
    std::array<CellRef, Walk::max_batch> refs;
    std::array<std::uint64_t, Walk::max_batch> values;
    for (std::size_t i = 0; i < batch.size(); ++i) refs[i] = batch[i].series.ref;
    read_whole(std::span(refs).first(batch.size()), values.data());
    for (std::size_t i = 0; i < batch.size(); ++i) looks[i] = {values[i], false, begin, {}};
  } else {
    for (std::size_t i = 0; i < batch.size(); ++i) looks[i] = look_at_cells(kind_, batch[i].series.ref);
  }
  const auto end = IdleSeries::Clock::now();
  std::size_t shown = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& [series, ref] = batch[i].series;
    looks[i].begin = begin;
    looks[i].end = end;
    if (ref.is_live()) {
      looks[i].is_in_use = looks[i].is_in_use || is_lasting(*series, ref.tag);
      if (idle_->is_hidden(series->position, ref.tag, looks[i])) continue;
    }
    if (shown != i) batch[shown] = batch[i];
    ++shown;
  }
  return shown;
}

/// Takes out the series that has been hidden the longest, unless it was recorded to since. Null if none is hidden.
Series* SeriesTable::take_out_idle() noexcept {
  if (idle_ == nullptr) return nullptr;
  while (const auto position = idle_->first_hidden()) {
    Series& series = *order_[*position];
    const CellRef ref = series.ref();
    IdleSeries::Look look = look_at_cells(kind_, ref);
    look.is_in_use = look.is_in_use || is_lasting(series, ref.tag);
    look.begin = look.end = IdleSeries::Clock::now();
    if (!idle_->is_hidden(series.position, ref.tag, look)) continue;
    take_out(series);
    series.set_next_removed(nullptr);
    evictions_.fetch_add(1, std::memory_order_relaxed);
    return &series;
  }
  return nullptr;
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

bool SeriesTable::Walk::next_in_use(std::span<const Item>& batch) {
  batch = next();
  if (batch.empty()) return false;
  if (table_.idle_ != nullptr) batch = batch.first(table_.without_idle(std::span(batch_).first(batch.size())));
  return true;
}

/// Copies the series at the next positions; there may be none. Memory for their keys is not acquired under the guard: a
/// program may count what it allocates, and make series as it does.
std::size_t SeriesTable::Walk::copy_batch() {
  const std::size_t begin = position_;
  for (;;) {
    std::size_t words = 0;
    if (const auto copied = try_copy_batch(words)) return *copied;
    position_ = begin;
    keys_size_ = 0;
    keys_ = std::make_unique_for_overwrite<std::uint64_t[]>(2 * words + 1);
    keys_size_ = 2 * words + 1;
  }
}

/// Nullopt if there is no room for the keys, which are so many words.
std::optional<std::size_t> SeriesTable::Walk::try_copy_batch(std::size_t& words) noexcept {
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

  for (Series* series : std::span(found).first(count)) words += series->key_words;
  if (words >= keys_size_) return std::nullopt;
  std::uint64_t* to = keys_.get();
  std::size_t live = 0;
  for (Series* series : std::span(found).first(count)) {
    const std::uint32_t tag = series->tag.load(std::memory_order_acquire);  // pairs with begin_series(), end_series()
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

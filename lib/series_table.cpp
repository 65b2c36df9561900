#include "quipu/detail/series_table.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <new>
#include <random>
#include <utility>

#include "utf8.hpp"

namespace quipu::detail {
namespace {

constexpr std::size_t first_size = 8;

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

/// Memory for series, of which nothing is ever given back: handles may outlive any owner.
void* allocate_series(std::size_t bytes) {
  static auto& mutex = *new std::mutex;
  static char* free = nullptr;
  static std::size_t left = 0;
  constexpr std::size_t chunk = std::size_t{64} * 1024;
  const std::lock_guard lock(mutex);
  bytes = (bytes + alignof(Series) - 1) & ~(alignof(Series) - 1);
  if (bytes > chunk / 8) return ::operator new (bytes, std::align_val_t{alignof(Series)});
  if (left < bytes) {
    free = static_cast<char*>(::operator new (chunk, std::align_val_t{alignof(Series)}));
    left = chunk;
  }
  left -= bytes;
  return std::exchange(free, free + bytes);
}

std::uint32_t next_tag() noexcept {
  static constinit std::atomic<std::uint32_t> last{0};
  std::uint32_t tag = 0;
  while (tag == 0) tag = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return tag;
}

/// One step of a multiply-and-fold hash.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
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

}  // namespace

void LabelKey::grow(std::size_t more) {
  const std::size_t capacity = std::max(2 * capacity_, size_ + more + word);
  auto heap = std::make_unique<std::uint64_t[]>(capacity / word + 1);
  std::memcpy(heap.get(), data_, size_);
  heap_ = std::move(heap);
  data_ = reinterpret_cast<unsigned char*>(heap_.get());
  capacity_ = capacity;
}

SeriesTable::SeriesTable(CellKind kind, std::vector<LabelColumn> columns, const BucketLayout* layout,
                         std::size_t closed_size, std::size_t max_series)
    : kind_(kind),
      columns_(std::move(columns)),
      layout_(layout),
      closed_size_(closed_size),
      max_series_(std::max<std::size_t>(max_series, 1)),
      seed_(random_seed()) {
  if (closed_size > 0) closed_.reset(new std::atomic<Series*>[closed_size]());
  generations_.push_back(std::make_unique<Slots>(first_size));
  slots_.store(generations_.back().get(), std::memory_order_relaxed);
}

SeriesTable::~SeriesTable() {
  for (Series* series : order_) {
    if (series != nullptr) series->cell.tag.store(0, std::memory_order_relaxed);
  }
}

std::uint64_t SeriesTable::hash(std::span<const std::uint64_t> key) const noexcept {
  std::uint64_t h = seed_;
  for (const std::uint64_t word : key) h = mix(h ^ word, 0x9E3779B97F4A7C15u);
  return mix(h, seed_ | 1);
}

Series* SeriesTable::find(std::span<const std::uint64_t> key, std::uint64_t hash) const noexcept {
  const Slots& table = *slots_.load(std::memory_order_acquire);  // pairs with the release in grow()
  for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
    Series* series = table.slots[i].load(std::memory_order_acquire);  // pairs with the release in publish()
    if (series == nullptr) return nullptr;
    if (series->hash == hash && std::ranges::equal(series->key(), key)) return series;
  }
}

Series* SeriesTable::find_or_create(LabelKey& key, std::size_t index) noexcept {
  try {
    const auto words = key.finish();
    if (Series* series = find(words, hash(words))) return series;
    return create(words, index);
  } catch (...) {
    return nullptr;
  }
}

Series* SeriesTable::create(std::span<const std::uint64_t> key, std::size_t index) {
  LabelKey valid;
  if (!has_valid_text(columns_, key)) {
    copy_as_valid_text(columns_, key, valid);
    key = valid.finish();
  }

  const std::lock_guard lock(mutex_);
  if (Series* series = find(key, hash(key))) return series;
  if (live_ < max_series_) return &publish(key, index);
  overflows_.fetch_add(1, std::memory_order_relaxed);
  if (overflow_ == nullptr) {
    // Among labels that are all text, the overflow series could be asked for by name; then it is this one.
    LabelKey named;
    const bool is_nameable = std::ranges::all_of(columns_, [](auto& column) { return column.type == LabelType::text; });
    if (is_nameable) {
      for (std::size_t i = 0; i < columns_.size(); ++i) named.put(KeyReader::overflow);
    }
    const auto words = named.finish();
    overflow_ = find(words, hash(words));
    if (overflow_ == nullptr) overflow_ = &publish(words, not_closed);
  }
  return overflow_;
}

Series& SeriesTable::publish(std::span<const std::uint64_t> key, std::size_t index) {
  if (live_ + 1 > (slots_.load(std::memory_order_relaxed)->mask + 1) / 2) grow();
  const bool takes_free_position = !free_positions_.empty();
  if (!takes_free_position) order_.push_back(nullptr);

  auto* series = new (allocate_series(sizeof(Series) + key.size_bytes())) Series;
  series->hash = hash(key);
  series->position = takes_free_position ? free_positions_.back() : static_cast<std::uint32_t>(order_.size() - 1);
  series->key_words = static_cast<std::uint32_t>(key.size());
  series->closed_index = index;
  std::ranges::copy(key, reinterpret_cast<std::uint64_t*>(series + 1));
  if (kind_ == CellKind::histogram) {
    series->cell.bits.store(std::bit_cast<std::uint64_t>(new SharedHistogram(*layout_)), std::memory_order_relaxed);
  }
  series->cell.tag.store(next_tag(), std::memory_order_relaxed);

  if (takes_free_position) free_positions_.pop_back();
  order_[series->position] = series;
  ++live_;
  insert(*slots_.load(std::memory_order_relaxed), *series);
  if (index != not_closed) closed_[index].store(series, std::memory_order_release);  // pairs with closed()
  return *series;
}

void SeriesTable::insert(Slots& table, Series& series) noexcept {
  std::size_t i = series.hash & table.mask;
  while (table.slots[i].load(std::memory_order_relaxed) != nullptr) i = (i + 1) & table.mask;
  table.slots[i].store(&series, std::memory_order_release);  // pairs with the acquire in find(): the key is there
}

void SeriesTable::grow() {
  auto larger = std::make_unique<Slots>(2 * (slots_.load(std::memory_order_relaxed)->mask + 1));
  generations_.reserve(generations_.size() + 1);
  for (Series* series : order_) {
    if (series != nullptr) insert(*larger, *series);
  }
  generations_.push_back(std::move(larger));
  slots_.store(generations_.back().get(), std::memory_order_release);  // pairs with the acquire in find()
}

bool SeriesTable::remove(LabelKey& key) {
  auto words = key.finish();
  LabelKey valid;
  if (!has_valid_text(columns_, words)) {
    copy_as_valid_text(columns_, words, valid);
    words = valid.finish();
  }
  const std::lock_guard lock(mutex_);
  Series* series = find(words, hash(words));
  if (series != nullptr) erase(*series);
  return series != nullptr;
}

bool SeriesTable::remove(const SeriesRef& removed) {
  const std::lock_guard lock(mutex_);
  if (!removed.ref.is_live()) return false;
  erase(*removed.series);
  return true;
}

void SeriesTable::clear() {
  const std::lock_guard lock(mutex_);
  for (Series* series : order_) {
    if (series != nullptr) erase(*series);
  }
}

void SeriesTable::erase(Series& series) {
  free_positions_.push_back(series.position);
  series.cell.tag.store(0, std::memory_order_relaxed);
  if (series.closed_index != not_closed) closed_[series.closed_index].store(nullptr, std::memory_order_relaxed);
  if (&series == overflow_) overflow_ = nullptr;
  order_[series.position] = nullptr;
  --live_;

  // Closes the gap in the probe sequence: what could not stand where it belongs for lack of room moves up.
  Slots& table = *slots_.load(std::memory_order_relaxed);
  std::size_t gap = series.hash & table.mask;
  while (table.slots[gap].load(std::memory_order_relaxed) != &series) gap = (gap + 1) & table.mask;
  for (std::size_t i = (gap + 1) & table.mask;; i = (i + 1) & table.mask) {
    Series* next = table.slots[i].load(std::memory_order_relaxed);
    if (next == nullptr) break;
    const std::size_t home = next->hash & table.mask;
    if (((i - home) & table.mask) < ((i - gap) & table.mask)) continue;  // its home lies behind the gap
    table.slots[gap].store(next, std::memory_order_release);             // pairs with the acquire in find()
    gap = i;
  }
  table.slots[gap].store(nullptr, std::memory_order_relaxed);
}

std::size_t SeriesTable::copy(std::size_t from, std::span<SeriesRef> into, std::size_t& copied) const {
  copied = 0;
  const std::lock_guard lock(mutex_);
  for (; from < order_.size() && copied < into.size(); ++from) {
    if (order_[from] != nullptr) into[copied++] = {order_[from], order_[from]->ref()};
  }
  return from < order_.size() ? from : 0;
}

std::size_t SeriesTable::size() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

std::string_view KeyCursor::text() noexcept {
  std::size_t size = static_cast<unsigned char>(*from_++);
  if (size == LabelKey::long_mark) {
    std::uint32_t long_size = 0;
    std::memcpy(&long_size, from_, sizeof long_size);
    from_ += sizeof long_size;
    size = long_size;
  }
  return {std::exchange(from_, from_ + size), size};
}

std::uint64_t KeyCursor::number() noexcept {
  std::uint64_t number = 0;
  std::memcpy(&number, from_, sizeof number);
  from_ += sizeof number;
  return number;
}

std::string_view KeyReader::next(KeyCursor& cursor, std::size_t column) {
  const LabelColumn& shown = columns_[column];
  if (shown.type == LabelType::text) return cursor.text();
  const std::uint64_t number = cursor.number();
  if (shown.type == LabelType::enumeration && number < shown.names.size()) return shown.names[number];
  auto& digits = digits_[column];
  const auto end = shown.type == LabelType::unsigned_integer
                       ? std::to_chars(digits.data(), digits.data() + digits.size(), number)
                       : std::to_chars(digits.data(), digits.data() + digits.size(), static_cast<std::int64_t>(number));
  return {digits.data(), end.ptr};
}

}  // namespace quipu::detail

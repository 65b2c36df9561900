#include "quipu/detail/family/label_key.hpp"

#include <algorithm>
#include <charconv>
#include <random>

namespace quipu::detail {

void LabelKey::grow(std::size_t more) {
  const std::size_t capacity = std::max(2 * capacity_, size_ + more + word);
  auto heap = std::make_unique<std::uint64_t[]>(capacity / word + 1);
  std::memcpy(heap.get(), data_, size_);
  heap_ = std::move(heap);
  data_ = reinterpret_cast<unsigned char*>(heap_.get());
  capacity_ = capacity;
}

HashSeed random_seed(std::size_t max_text) {
  std::random_device device;
  const auto number = [&device] { return (std::uint64_t{device()} << 32) | device(); };
  return {.start = number(), .secret = number(), .max_text = max_text};
}

std::uint32_t hash_of_key(HashSeed seed, std::span<const LabelColumn> columns,
                          std::span<const std::uint64_t> key) noexcept {
  std::uint64_t hash = seed.start;
  KeyCursor cursor(key);
  for (const LabelColumn& column : columns) {
    if (key.empty()) break;
    hash = column.type == LabelType::text ? hash_value(hash, seed, cursor.text())
                                          : hash_value(hash, seed, cursor.number());
  }
  return folded(hash);
}

std::string_view KeyReader::shown(std::uint64_t number, std::size_t column) {
  const auto [type, names] = columns_[column];
  if (number < names.size()) return names[number];
  auto& digits = digits_[column];
  const auto end = type == LabelType::unsigned_integer
                       ? std::to_chars(digits.data(), digits.data() + digits.size(), number)
                       : std::to_chars(digits.data(), digits.data() + digits.size(), static_cast<std::int64_t>(number));
  return {digits.data(), end.ptr};
}

}  // namespace quipu::detail

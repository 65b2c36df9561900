#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/label.hpp"

namespace quipu::detail {

inline constexpr std::size_t word = sizeof(std::uint64_t);

template <class Word>
[[nodiscard]] inline std::uint64_t load(const void* from) noexcept {
  Word loaded;
  std::memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

/// The label values of one series as one string of bytes. Series are told apart by their keys. A key has a length
/// before each text, eight bytes for each number, and zeros up to a multiple of eight. No two lists of values share a
/// key, because the lengths separate them: ("ab", "c") is not ("a", "bc").
///
/// It is built on the stack, to make or remove a series. Values of more than about 500 bytes in all move it to the
/// heap.
class QUIPU_EXPORT LabelKey {
 public:
  LabelKey() noexcept {}
  /// Of longer texts, only the first `max_put` bytes are put.
  explicit LabelKey(std::size_t max_put) noexcept : max_put_(max_put) {}
  LabelKey(const LabelKey&) = delete;
  LabelKey& operator=(const LabelKey&) = delete;

  void put(std::string_view text) {
    text = text.substr(0, max_put_);
    unsigned char* to = reserve(text.size() + long_header);
    if (text.size() < long_mark) {
      *to++ = static_cast<unsigned char>(text.size());
    } else {
      const auto size = static_cast<std::uint32_t>(text.size());
      *to++ = long_mark;
      std::memcpy(to, &size, sizeof size);
      to += sizeof size;
    }
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    size_ = static_cast<std::size_t>(to - data_) + text.size();
  }

  void put(std::uint64_t number) {
    std::memcpy(reserve(sizeof number), &number, sizeof number);
    size_ += sizeof number;
  }

  void put(StoredValue value) {
    if (value.is_text()) {
      put(value.as_text());
    } else {
      put(value.bits);
    }
  }

  /// The finished key. Nothing is put afterwards.
  [[nodiscard]] std::span<const std::uint64_t> finish() {
    // Zeros to the end of the word. Zeros beyond it are not part of the key.
    std::memset(reserve(word), 0, word);
    size_ += -size_ % word;
    return {reinterpret_cast<const std::uint64_t*>(data_), size_ / word};
  }

  static constexpr unsigned char long_mark = 0xFF;
  static constexpr std::size_t long_header = 1 + sizeof(std::uint32_t);

 private:
  unsigned char* reserve(std::size_t more) {
    if (size_ + more > capacity_) [[unlikely]] {
      grow(more);
    }
    return data_ + size_;
  }
  void grow(std::size_t more);

  alignas(word) unsigned char inline_[512];
  std::unique_ptr<std::uint64_t[]> heap_;
  const std::size_t max_put_ = std::string_view::npos;
  unsigned char* data_ = inline_;
  std::size_t size_ = 0;
  std::size_t capacity_ = sizeof inline_;
};

/// Reads the values of a key, in the order in which they were put.
class KeyCursor {
 public:
  explicit KeyCursor(std::span<const std::uint64_t> key) noexcept : from_(reinterpret_cast<const char*>(key.data())) {}

  [[nodiscard]] std::string_view text() noexcept {
    std::size_t size = load<std::uint8_t>(from_++);
    if (size == LabelKey::long_mark) [[unlikely]] {
      size = load<std::uint32_t>(from_);
      from_ += sizeof(std::uint32_t);
    }
    const char* begin = from_;
    from_ += size;
    return {begin, size};
  }
  [[nodiscard]] std::uint64_t number() noexcept {
    const std::uint64_t number = load<std::uint64_t>(from_);
    from_ += sizeof number;
    return number;
  }

 private:
  const char* from_;
};

/// Converts keys to label values.
class QUIPU_EXPORT KeyReader {
 public:
  explicit KeyReader(std::span<const LabelColumn> columns) : columns_(columns), digits_(columns.size()) {}

  /// Calls take(column, value) for each column. A value is valid until the next call of read(), and no longer than
  /// `key`. The key of an overflow series is empty, and reads as "overflow" in each column.
  template <class Take>
  void read(std::span<const std::uint64_t> key, Take take) {
    KeyCursor cursor(key);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (key.empty()) [[unlikely]] {
        take(i, overflow);
      } else if (columns_[i].type == LabelType::text) {
        take(i, cursor.text());
      } else {
        take(i, shown(cursor.number(), i));
      }
    }
  }

  static constexpr std::string_view overflow = "overflow";

 private:
  [[nodiscard]] std::string_view shown(std::uint64_t number, std::size_t column);

  std::span<const LabelColumn> columns_;
  std::vector<std::array<char, 24>> digits_;
};

// A lookup does not build a key. It hashes the label values where they are, and compares them with the keys that it
// finds. Texts are read in words. The last word overlaps the one before it. Short texts are copied, hashed and compared
// in the same way, without a call.
//
// Label values can come from outside, and nobody must be able to choose them so that they collide. So each word is
// combined with a secret before it is multiplied, and so is the size of a text. Without a secret in it, a difference of
// sizes could be made up for by a word of the text, and such texts would collide in every table. A text that is longer
// than any that is stored is hashed no further than that, because no key is equal to it.

/// Random numbers that make hashes unpredictable.
struct HashSeed {
  std::uint64_t start;
  std::uint64_t secret;
  std::size_t max_text = std::string_view::npos;  // texts are hashed up to here
};
[[nodiscard]] QUIPU_EXPORT HashSeed random_seed(std::size_t max_text = std::string_view::npos);

/// Multiplies to 128 bits and folds.
[[nodiscard]] inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

[[nodiscard]] inline std::uint64_t hash_value(std::uint64_t hash, HashSeed seed, std::uint64_t number) noexcept {
  // Both factors depend on the number, because a single one would turn a row of numbers into evenly spaced products.
  return mix(number ^ seed.secret, std::rotl(number, 32) ^ hash);
}

[[nodiscard]] inline std::uint64_t hash_value(std::uint64_t hash, HashSeed seed, std::string_view text) noexcept {
  const char* from = text.data();
  std::size_t left = text.size();
  hash ^= left * seed.secret;
  if (left > 2 * word) {
    left = std::min(left, seed.max_text);
    for (; left > 2 * word; from += 2 * word, left -= 2 * word) {
      hash = mix(load<std::uint64_t>(from) ^ seed.secret, load<std::uint64_t>(from + word) ^ hash);
    }
  }
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (left >= word) {
    first = load<std::uint64_t>(from);
    last = load<std::uint64_t>(from + left - word);
  } else if (left >= word / 2) {
    first = load<std::uint32_t>(from);
    last = load<std::uint32_t>(from + left - word / 2);
  } else if (left > 0) {
    first =
        load<std::uint8_t>(from) << 16 | load<std::uint8_t>(from + left / 2) << 8 | load<std::uint8_t>(from + left - 1);
  }
  return mix(first ^ seed.secret, last ^ hash);
}

[[nodiscard]] inline std::uint64_t hash_value(std::uint64_t hash, HashSeed seed, StoredValue value) noexcept {
  return value.is_text() ? hash_value(hash, seed, value.as_text()) : hash_value(hash, seed, value.bits);
}

/// The 32 bits of a hash that are used. They are of both halves, because texts that differ in one place only can have
/// low halves that are evenly spaced.
[[nodiscard]] inline std::uint32_t folded(std::uint64_t hash) noexcept {
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

/// The hash of the values of all labels, in order.
template <class... Values>
[[nodiscard]] inline std::uint32_t hash_of(HashSeed seed, const Values&... values) noexcept {
  std::uint64_t hash = seed.start;
  ((hash = hash_value(hash, seed, values)), ...);
  return folded(hash);
}

/// The same for the values in a key.
[[nodiscard]] QUIPU_EXPORT std::uint32_t hash_of_key(HashSeed seed, std::span<const LabelColumn> columns,
                                                     std::span<const std::uint64_t> key) noexcept;

/// Whether `value` comes next in the key at `key`. If so, moves `key` behind it.
[[nodiscard]] inline bool is_next(const char*& key, std::uint64_t value) noexcept {
  const bool is_equal = load<std::uint64_t>(key) == value;
  key += word;
  return is_equal;
}

[[nodiscard]] inline bool is_next(const char*& key, std::string_view value) noexcept {
  const std::size_t size = value.size();
  const char* from = value.data();
  if (size >= LabelKey::long_mark) [[unlikely]] {
    if (load<std::uint8_t>(key) != LabelKey::long_mark || load<std::uint32_t>(key + 1) != size) return false;
    key += LabelKey::long_header;
  } else {
    if (load<std::uint8_t>(key) != size) return false;
    ++key;
  }
  const char* own = key;
  key += size;
  if (size >= word) {
    std::uint64_t difference = load<std::uint64_t>(own + size - word) ^ load<std::uint64_t>(from + size - word);
    for (std::size_t i = 0; i + word < size; i += word) {
      difference |= load<std::uint64_t>(own + i) ^ load<std::uint64_t>(from + i);
    }
    return difference == 0;
  }
  if (size >= word / 2) {
    return load<std::uint32_t>(own) == load<std::uint32_t>(from) &&
           load<std::uint32_t>(own + size - word / 2) == load<std::uint32_t>(from + size - word / 2);
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (own[i] != from[i]) return false;
  }
  return true;
}

[[nodiscard]] inline bool is_next(const char*& key, StoredValue value) noexcept {
  return value.is_text() ? is_next(key, value.as_text()) : is_next(key, value.bits);
}

/// Whether these are the values of the key.
template <class... Values>
[[nodiscard]] inline bool is_key_of(std::span<const std::uint64_t> key, const Values&... values) noexcept {
  const char* next = reinterpret_cast<const char*>(key.data());
  return !key.empty() && (is_next(next, values) && ...);
}

}  // namespace quipu::detail

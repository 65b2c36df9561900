#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>

#include "quipu/detail/family/label_key.hpp"
#include "quipu/label.hpp"

namespace quipu::detail {

/// A label value that outlives the call that it was given to.
template <class T>
class KeptLabel {
 public:
  explicit KeptLabel(LabelArgument<T> value) noexcept : value_(value.get()) {}

  [[nodiscard]] T get() const noexcept { return value_; }

 private:
  T value_;
};

/// A copy of the text. One of more than 48 bytes needs memory. If there is none, the text is "overflow".
template <class T>
requires std::is_convertible_v<T, std::string_view>
class KeptLabel<T> {
 public:
  explicit KeptLabel(LabelArgument<T> text) noexcept { keep(text.get()); }
  KeptLabel(const KeptLabel& other) noexcept { keep(other.get()); }
  KeptLabel(KeptLabel&& other) noexcept { take(other); }
  KeptLabel& operator=(KeptLabel&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }
  ~KeptLabel() = default;

  [[nodiscard]] std::string_view get() const noexcept { return {long_ ? long_.get() : short_.data(), size_}; }

 private:
  void keep(std::string_view text) noexcept {
    // No family looks at more of it.
    text = text.substr(0, highest_max_label_value + label_value_lookahead);
    if (text.size() > short_.size()) {
      long_.reset(new (std::nothrow) char[text.size()]);
      if (long_ == nullptr) text = KeyReader::overflow;
    }
    size_ = text.size();
    if (size_ > 0) std::memcpy(long_ ? long_.get() : short_.data(), text.data(), size_);
  }
  void take(KeptLabel& other) noexcept {
    short_ = other.short_;
    long_ = std::move(other.long_);
    size_ = other.size_;
    if (long_) other.size_ = 0;
  }

  std::array<char, 48> short_;
  std::unique_ptr<char[]> long_;
  std::size_t size_ = 0;
};

}  // namespace quipu::detail

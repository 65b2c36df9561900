#include "exposition/page_buffer.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace quipu::detail {
namespace {

/// Not 0 if one of the bytes is `c`.
constexpr std::uint64_t find(std::uint64_t bytes, char c) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101u;
  const std::uint64_t zero_where_equal = bytes ^ (ones * static_cast<unsigned char>(c));
  return (zero_where_equal - ones) & ~zero_where_equal & (ones << 7);
}

}  // namespace

char* put(char* to, double real) noexcept {
  if (std::isnan(real)) return put(to, std::string_view("NaN"));
  if (std::isinf(real)) return put(to, std::string_view(real > 0 ? "+Inf" : "-Inf"));
  real += 0.0;  // -0 becomes 0
  return std::to_chars(to, to + slack, real, std::chars_format::general).ptr;
}

char* put_escaped(char* to, std::string_view text, char quote) noexcept {
  while (!text.empty()) {
    std::uint64_t bytes = 0;
    const std::string_view part = text.substr(0, sizeof bytes);
    static_cast<void>(put(reinterpret_cast<char*>(&bytes), part));
    if ((find(bytes, '\\') | find(bytes, '\n') | find(bytes, quote)) == 0) [[likely]] {
      std::memcpy(to, &bytes, sizeof bytes);
      to += part.size();
    } else {
      for (const char c : part) {
        if (c == '\\' || c == '\n' || c == quote) *to++ = '\\';
        *to++ = c == '\n' ? 'n' : c;
      }
    }
    text.remove_prefix(part.size());
  }
  return to;
}

PageBuffer::PageBuffer(std::size_t capacity) : capacity_(capacity), bytes_(new char[capacity + slack]) {}

void PageBuffer::grow(std::size_t bytes) {
  const std::size_t capacity = std::max(2 * capacity_, size_ + bytes);
  std::unique_ptr<char[]> larger(new char[capacity + slack]);
  std::memcpy(larger.get(), bytes_.get(), size_);
  bytes_ = std::move(larger);
  capacity_ = capacity;
}

}  // namespace quipu::detail

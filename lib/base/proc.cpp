#include "base/proc.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "base/descriptor.hpp"
#include "base/text.hpp"

namespace quipu::detail {

std::string read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return {};
  std::string text;
  for (std::size_t size = 0;;) {
    if (size == text.size()) text.resize(std::max<std::size_t>(4096, 2 * size));
    const auto count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return {};
    size += static_cast<std::size_t>(count);
    if (count == 0) {
      text.resize(size);
      return text;
    }
  }
}

std::string_view take_word(std::string_view& rest) noexcept {
  constexpr std::string_view blanks = " \t\n";
  rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
  const auto word = rest.substr(0, rest.find_first_of(blanks));
  rest.remove_prefix(word.size());
  return word;
}

std::optional<std::uint64_t> stat_field(std::string_view stat, int place) noexcept {
  // The second field is the program's name in parentheses, and may hold blanks and parentheses itself.
  const auto end_of_name = stat.rfind(')');
  if (end_of_name == std::string_view::npos) return std::nullopt;
  auto rest = stat.substr(end_of_name + 1);
  for (int skipped = 3; skipped < place; ++skipped) take_word(rest);
  return to_number<std::uint64_t>(take_word(rest));
}

}  // namespace quipu::detail

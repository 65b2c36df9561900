#include "base/proc.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <system_error>

namespace quipu::detail {

std::string read_file(const std::string& path) {
  class File {
   public:
    explicit File(const std::string& name) noexcept : fd_(::open(name.c_str(), O_RDONLY | O_CLOEXEC)) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
      if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

   private:
    int fd_;
  };

  const File file(path);
  if (file.fd() < 0) return {};
  std::string text;
  for (std::size_t size = 0;;) {
    if (size == text.size()) text.resize(std::max<std::size_t>(4096, 2 * size));
    const auto count = ::read(file.fd(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return {};
    size += static_cast<std::size_t>(count);
    if (count == 0) {
      text.resize(size);
      return text;
    }
  }
}

std::string_view take_until(std::string_view& rest, char separator) noexcept {
  const auto text = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(text.size() + 1, rest.size()));
  return text;
}

std::string_view take_word(std::string_view& rest) noexcept {
  constexpr std::string_view blanks = " \t\n";
  rest.remove_prefix(std::min(rest.find_first_not_of(blanks), rest.size()));
  const auto word = rest.substr(0, rest.find_first_of(blanks));
  rest.remove_prefix(word.size());
  return word;
}

std::optional<std::uint64_t> to_number(std::string_view word) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> stat_field(std::string_view stat, int place) noexcept {
  // The second field is the program's name in parentheses, and may hold blanks and parentheses itself.
  const auto end_of_name = stat.rfind(')');
  if (end_of_name == std::string_view::npos) return std::nullopt;
  auto rest = stat.substr(end_of_name + 1);
  for (int skipped = 3; skipped < place; ++skipped) take_word(rest);
  return to_number(take_word(rest));
}

}  // namespace quipu::detail

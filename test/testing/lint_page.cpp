// Prints what quipu's linter says of a page of the text format, as `promtool check metrics` does: a problem a line,
// after the name of its family. Reads the standard input.

#include <iostream>
#include <iterator>
#include <string>

#include "quipu/testing.hpp"

int main() {
  const std::string page{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  try {
    for (const auto& [family, text] : quipu::testing::lint(quipu::testing::read_page(page, "text/plain"))) {
      std::cout << family << ' ' << text << '\n';
    }
  } catch (const quipu::testing::ParseError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

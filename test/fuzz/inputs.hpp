#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The inputs of the unit tests that check what a fuzzer checks: those of the corpus, and changed ones, the same every
// time.

namespace fuzz {

/// The inputs in test/fuzz/corpus/NAME, in the same order everywhere.
inline std::vector<std::string> corpus(const std::string& name) {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : std::filesystem::directory_iterator(QUIPU_TEST_DIR "/fuzz/corpus/" + name)) {
    paths.push_back(file.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream stream(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return inputs;
}

/// Changes inputs so that more of them reach deep into a parser than random bytes do.
class Mutator {
 public:
  /// `pieces` are texts that mean something to the parser, and stay valid.
  explicit Mutator(std::span<const std::string_view> pieces) : pieces_(pieces) {}

  /// One of the inputs after one to four changes.
  std::string next(const std::vector<std::string>& inputs) {
    std::string input = inputs[below(inputs.size())];
    for (std::size_t i = below(4) + 1; i > 0; --i) mutate(input, inputs[below(inputs.size())]);
    return input;
  }

 private:
  void mutate(std::string& input, const std::string& other) {
    const std::size_t at = below(input.size() + 1);
    switch (below(6)) {
      case 0:
        input.insert(at, pieces_[below(pieces_.size())]);
        return;
      case 1:
        input.erase(at, 1 + below(8));
        return;
      case 2:
        input.insert(at, 1, static_cast<char>(below(256)));
        return;
      case 3:
        if (at < input.size()) input[at] = static_cast<char>(below(256));
        return;
      case 4:
        input.insert(at, input.substr(below(input.size() + 1), below(40)));
        return;
      default:
        input = input.substr(0, at) + other.substr(below(other.size() + 1));
    }
  }

  std::size_t below(std::size_t limit) { return random_() % limit; }

  std::span<const std::string_view> pieces_;
  std::minstd_rand random_{1};
};

}  // namespace fuzz

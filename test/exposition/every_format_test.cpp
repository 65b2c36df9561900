#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fuzz/inputs.hpp"
#include "fuzz/program_properties.hpp"

TEST_CASE("what a random program counted comes back from every format") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 120; ++i) {
    std::vector<std::uint8_t> bytes(random() % 3000);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    INFO(i);
    REQUIRE(random_program::Program(bytes).check() == "");
  }
}

TEST_CASE("what a program of the corpus counted comes back from every format") {
  const auto programs = fuzz::corpus("program");
  REQUIRE(programs.size() >= 5);
  for (const std::string& program : programs) CHECK(program_properties::check(program) == "");
}

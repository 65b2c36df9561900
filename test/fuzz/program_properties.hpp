#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "support/random_program.hpp"

// What holds for a program made of any bytes.

namespace program_properties {

/// What is wrong with the pages of the program, or nothing.
inline std::string check(std::string_view data) {
  return random_program::Program({reinterpret_cast<const std::uint8_t*>(data.data()), data.size()}).check();
}

}  // namespace program_properties

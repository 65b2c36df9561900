#pragma once

#include <stdexcept>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// The base of everything quipu throws. Only setting up throws (registering, building buckets, starting an endpoint);
/// recording never does.
class QUIPU_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A metric cannot be registered as asked: a bad name, bad buckets, or a clash with another definition.
/// The message says what was asked, which rule it breaks, and what to do.
class QUIPU_EXPORT RegistrationError : public Error {
 public:
  using Error::Error;
};

/// An endpoint cannot start. The message names the address and the system's reason.
class QUIPU_EXPORT ListenError : public Error {
 public:
  using Error::Error;
};

}  // namespace quipu

#pragma once

#include <stdexcept>

#include "quipu/detail/base/export.hpp"

namespace quipu {

/// The base of everything quipu throws, but for std::bad_alloc. Only setting up throws (registering, building buckets,
/// starting an endpoint), Samples for a collector's mistake, look-ups of labels that only the run time can check, and
/// snapshots that do not belong together; recording never does.
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

/// Labels that are given at run time are not those of the family: one is missing, unknown, given twice or of another
/// type, or there are too few or too many values. The message says what was given, what the family has, and what is
/// wrong.
class QUIPU_EXPORT LabelError : public Error {
 public:
  using Error::Error;
};

/// A collector shows a family or a series that is wrong: a family that it has not described, another number of label
/// values than the family has labels, buckets that do not fit together. The message names the family.
class QUIPU_EXPORT CollectorError : public Error {
 public:
  using Error::Error;
};

/// Two snapshots of histograms cannot be merged or compared: their bounds differ. The message has both.
class QUIPU_EXPORT SnapshotError : public Error {
 public:
  using Error::Error;
};

/// An endpoint cannot start. The message names the address and the system's reason.
class QUIPU_EXPORT ListenError : public Error {
 public:
  using Error::Error;
};

}  // namespace quipu

#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quipu/config.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/registry.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif

namespace quipu {

/// Environment variables do not say what they should. The message has a line for each: its name, what it says, what was
/// expected.
class QUIPU_EXPORT EnvironmentError : public Error {
 public:
  using Error::Error;
};

/// Options from the environment, for those who run a program without building it:
///
///     const quipu::Environment environment;
///     quipu::Registry registry(environment.registry({.prefix = "shop"}));
///     quipu::Exposer endpoint(registry, environment.exposer());
///
/// What a variable says comes before what the program says; one that is not set, or empty, changes nothing. Nothing
/// else in quipu reads the environment.
///
/// - QUIPU_PREFIX: RegistryOptions::prefix.
/// - QUIPU_CONST_LABELS: labels for RegistryOptions::const_labels, instead of the program's of the same names. Like
///   `env=prod, region="eu, \"west\""`: a value with a comma or a quote is in quotes, in which \\, \" and \n stand for
///   a backslash, a quote and a line feed. Blanks beside names and values are ignored.
/// - QUIPU_PROCESS_METRICS, QUIPU_SELF_METRICS, QUIPU_RUNTIME_METRICS, QUIPU_CREATED_LINES, QUIPU_OPEN_METRICS_2,
///   QUIPU_UTF8_NAMES: the RegistryOptions of those names. true, on or 1; false, off or 0. Names in the environment are
///   legacy names, unless this last one is true.
/// - QUIPU_LISTEN, QUIPU_PATH, QUIPU_MAX_CONCURRENT_SCRAPES (a number from 1 to 1,000), QUIPU_GZIP (as above): the
///   ExposerOptions of those names.
///
/// The options that it gives refer to its texts, which must be there until the registry or the endpoint is made.
/// Thread-compatible.
class QUIPU_EXPORT Environment {
 public:
  /// Reads the variables, now and only now; no other thread may change the environment meanwhile. Throws
  /// EnvironmentError for all that are wrong.
  Environment();
  /// The same of these variables, by name: from another source, or for a test.
  explicit Environment(const std::map<std::string, std::string>& variables);

  [[nodiscard]] RegistryOptions registry(RegistryOptions options = {}) const;
#if QUIPU_HAS_HTTP
  [[nodiscard]] ExposerOptions exposer(ExposerOptions options = {}) const;
#endif

  /// Names of variables that begin with QUIPU_ and are none of the above: misspelled, perhaps. Sorted.
  [[nodiscard]] const std::vector<std::string>& unknown() const noexcept { return unknown_; }

 private:
  std::optional<std::string> prefix_;
  std::vector<std::pair<std::string, std::string>> const_labels_;
  std::optional<bool> process_metrics_;
  std::optional<bool> self_metrics_;
  std::optional<bool> runtime_metrics_;
  std::optional<bool> created_lines_;
  std::optional<bool> open_metrics_2_;
  std::optional<bool> utf8_names_;
  std::optional<std::string> listen_;
  std::optional<std::string> path_;
  std::optional<std::size_t> max_concurrent_scrapes_;
  std::optional<bool> gzip_;
  std::vector<std::string> unknown_;
};

}  // namespace quipu

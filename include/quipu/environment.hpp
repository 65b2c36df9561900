#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/config.hpp"
#include "quipu/error.hpp"
#include "quipu/registry.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif

namespace quipu {

/// Environment variables do not say what they should. The message has a line for each: its name, its value, what was
/// expected.
class EnvironmentError : public Error {
 public:
  using Error::Error;
};

/// Options from the environment, for those who run a program without building it:
///
///     const quipu::Environment environment;
///     quipu::Registry registry(environment.registry({.prefix = "shop"}));
///     quipu::Exposer endpoint(registry, environment.exposer());
///
/// What a variable says comes before what the program says; a variable that is not set, or empty, changes nothing.
/// Nothing else in quipu reads the environment.
///
/// | variable | option | values |
/// |---|---|---|
/// | QUIPU_PREFIX | RegistryOptions::prefix | a metric name |
/// | QUIPU_CONST_LABELS | RegistryOptions::const_labels, by name | `env=prod,region="eu, west"` |
/// | QUIPU_PROCESS_METRICS, QUIPU_RUNTIME_METRICS, QUIPU_SELF_METRICS | the option of that name | true, false, 1, 0,
/// on, off | | QUIPU_CREATED_LINES, QUIPU_OPEN_METRICS_2, QUIPU_UTF8_NAMES | the option of that name | the same | |
/// QUIPU_LISTEN | ExposerOptions::listen | HOST:PORT | | QUIPU_PATH | ExposerOptions::path | a path | |
/// QUIPU_MAX_CONCURRENT_SCRAPES | ExposerOptions::max_concurrent_scrapes | 1 … 1000 | | QUIPU_GZIP |
/// ExposerOptions::gzip | as above |
///
/// The options refer to texts of this object, which must outlive their use, not the registry or the endpoint.
/// Thread-compatible.
class Environment {
 public:
  /// Reads the variables now. Throws EnvironmentError for those that are wrong, all at once. Not while another thread
  /// changes the environment.
  Environment();
  /// The same of given variables, NAME and value: for tests, or another source.
  explicit Environment(const std::map<std::string, std::string>& variables);

  [[nodiscard]] RegistryOptions registry(RegistryOptions options = {}) const;
#if QUIPU_HAS_HTTP
  [[nodiscard]] ExposerOptions exposer(ExposerOptions options = {}) const;
#endif

  /// Variables whose names begin with QUIPU_ and that are none of the above: misspelled, perhaps.
  [[nodiscard]] const std::vector<std::string>& unknown() const noexcept { return unknown_; }

 private:
  std::vector<std::string> unknown_;
};

}  // namespace quipu

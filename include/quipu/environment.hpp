#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quipu/config.hpp"
#include "quipu/detail/base/export.hpp"
#include "quipu/error.hpp"
#include "quipu/recorder.hpp"
#include "quipu/registry.hpp"
#include "quipu/statsd.hpp"
#if QUIPU_HAS_HTTP
#include "quipu/exposer.hpp"
#endif

namespace quipu {

/// Environment variables have values that cannot be read. The message has a line for each of them: its name, its value,
/// and what was expected. Control characters are shown as \x1F, and so are bytes of a line that is not UTF-8.
class QUIPU_EXPORT EnvironmentError : public Error {
 public:
  using Error::Error;
};

/// Options of the backends that Environment::recorder() makes.
struct EnvironmentRecorderOptions {
  RegistryRecorderOptions registry = {};
  StatsdOptions statsd = {};  // the address and the dialect are those of QUIPU_RECORDER
  JsonRecorderOptions json = {};
};

/// Options from the environment, for people who run a program without building it:
///
///     const quipu::Environment environment;
///     quipu::Registry registry(environment.registry({.prefix = "shop"}));
///     quipu::Exposer endpoint(registry, environment.exposer());
///     quipu::Recorder recorder = environment.recorder(registry);
///
/// A variable overrides the program's option. A variable that is not set, or empty, changes nothing. Nothing else in
/// quipu reads the environment.
///
/// - QUIPU_PREFIX: RegistryOptions::prefix.
/// - QUIPU_CONST_LABELS: labels for RegistryOptions::const_labels. They replace the program's labels of those names.
///   The form is `env=prod, region="eu, \"west\""`. A value with a comma or a quote stands in quotes, where \\, \" and
///   \n are a backslash, a quote and a line feed. Blanks around names and values are ignored.
/// - QUIPU_PROCESS_METRICS, QUIPU_PROCESS_IO_METRICS, QUIPU_PROCESS_PRESSURE_METRICS, QUIPU_PROCESS_PEAK_METRICS,
///   QUIPU_SELF_METRICS, QUIPU_RUNTIME_METRICS, QUIPU_CREATED_LINES, QUIPU_OPEN_METRICS_2, QUIPU_UTF8_NAMES: the
///   RegistryOptions of those names. The values are true, on or 1, and false, off or 0. Names in the environment must
///   be legacy names unless QUIPU_UTF8_NAMES is true.
/// - QUIPU_LISTEN, QUIPU_PATH, QUIPU_MAX_CONCURRENT_SCRAPES (a number from 1 to 1,000), QUIPU_MAX_RESPONSE_BYTES (a
///   number from 1,048,576 on), QUIPU_MAX_SCRAPE_TIME (seconds, such as 60 or 2.5), QUIPU_GZIP (true or false, as
///   above), QUIPU_ALLOWED_HOSTS (names with commas between them, which are added to the program's): the ExposerOptions
///   of those names.
/// - QUIPU_RECORDER: the backends of a recorder, with commas between them. They are `registry`, `json` (lines on
/// standard
///   error) and one StatsD server, `statsd://ADDRESS` or `dogstatsd://ADDRESS`, whose address is that of
///   StatsdOptions::address: `registry,dogstatsd://127.0.0.1:8125`, `dogstatsd://unix:/run/dogstatsd.sock`. `none`
///   alone is no backend.
///
/// Thread-compatible.
class QUIPU_EXPORT Environment {
 public:
  /// Reads the variables. No other thread may change the environment during the call; later changes have no effect.
  /// Throws EnvironmentError, which reports all wrong variables.
  Environment();
  /// Reads `variables`, by name, instead of the environment: from another source, or in a test.
  explicit Environment(const std::map<std::string, std::string>& variables);

  [[nodiscard]] RegistryOptions registry(RegistryOptions options = {}) const;
#if QUIPU_HAS_HTTP
  [[nodiscard]] ExposerOptions exposer(ExposerOptions options = {}) const;
#endif

  /// A recorder with the backends of QUIPU_RECORDER; with the registry alone if the variable is not set. If there is a
  /// StatsD server, its numbers are on the page (StatsdRecorder::expose) while the recorder lives: make one for a
  /// scope, and copy it. Throws what the backends throw when they are made: StatsdError if the host does not resolve,
  /// and RegistrationError.
  [[nodiscard]] Recorder recorder(const Scope& scope, EnvironmentRecorderOptions options = {}) const;

  /// Names of variables that begin with QUIPU_ but are not listed above, and may be misspelled. Sorted.
  [[nodiscard]] const std::vector<std::string>& unknown() const& noexcept { return unknown_; }
  [[nodiscard]] std::vector<std::string> unknown() && noexcept { return std::move(unknown_); }

 private:
  std::optional<std::string> prefix_;
  std::vector<std::pair<std::string, std::string>> const_labels_;
  std::optional<bool> process_metrics_;
  std::optional<bool> process_io_metrics_;
  std::optional<bool> process_pressure_metrics_;
  std::optional<bool> process_peak_metrics_;
  std::optional<bool> self_metrics_;
  std::optional<bool> runtime_metrics_;
  std::optional<bool> created_lines_;
  std::optional<bool> open_metrics_2_;
  std::optional<bool> utf8_names_;
  std::optional<std::string> listen_;
  std::optional<std::string> path_;
  std::optional<std::size_t> max_concurrent_scrapes_;
  std::optional<std::size_t> max_response_bytes_;
  std::optional<std::chrono::milliseconds> max_scrape_time_;
  std::optional<bool> gzip_;
  std::vector<std::string> allowed_hosts_;
  std::optional<std::vector<std::string>> recorder_;  // checked
  std::vector<std::string> unknown_;
};

}  // namespace quipu

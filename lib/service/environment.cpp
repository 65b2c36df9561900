#include "quipu/environment.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "base/address.hpp"
#include "base/printable.hpp"
#include "base/text.hpp"
#include "family/definition.hpp"
#include "http/allowed_hosts.hpp"
#include "http/exposer.hpp"
#include "quipu/detail/exposition/scrape_time.hpp"
#include "recorder/statsd_socket.hpp"

namespace quipu {
namespace {

constexpr std::string_view prefix_of_all = "QUIPU_";

std::map<std::string, std::string> own_variables() {
  std::map<std::string, std::string> variables;
  for (char** variable = ::environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with(prefix_of_all)) continue;
    const auto equals = text.find('=');
    if (equals != text.npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

/// Reads variables one by one, and collects their errors.
class Variables {
 public:
  explicit Variables(const std::map<std::string, std::string>& variables) : variables_(variables) {}

  /// Calls take(value) if the variable is set and not empty. An Error that it throws is collected.
  template <class Take>
  void read(std::string_view name, Take take) {
    known_.emplace_back(name);
    const auto found = variables_.find(known_.back());
    if (found == variables_.end() || found->second.empty()) return;
    try {
      take(found->second);
    } catch (const Error& error) {
      const std::string why = detail::printable(error.what(), std::string::npos);
      wrong_ += fmt::format("{}{}: {}", wrong_.empty() ? "" : "\n", name, why);
    }
  }

  void check() const {
    if (!wrong_.empty()) throw EnvironmentError(wrong_);
  }

  [[nodiscard]] std::vector<std::string> unknown() const {
    std::vector<std::string> names;
    for (const auto& [name, value] : variables_) {
      if (name.starts_with(prefix_of_all) && std::ranges::find(known_, name) == known_.end()) names.push_back(name);
    }
    return names;
  }

 private:
  const std::map<std::string, std::string>& variables_;
  std::vector<std::string> known_;
  std::string wrong_;
};

void check_address(std::string_view text) {
  try {
    static_cast<void>(detail::parse_listen_address(text));
  } catch (const std::runtime_error& error) {
    throw EnvironmentError(fmt::format("\"{}\": {}", text, error.what()));
  }
}

bool to_bool(std::string_view text) {
  if (text == "true" || text == "on" || text == "1") return true;
  if (text == "false" || text == "off" || text == "0") return false;
  throw EnvironmentError(fmt::format("\"{}\": expected true, on, 1, false, off or 0", text));
}

std::size_t to_scrape_limit(std::string_view text) {
  const auto number = detail::to_number<std::size_t>(text);
  if (!number || *number < 1 || *number > http::scrape_limit) {
    throw EnvironmentError(fmt::format("\"{}\": expected a number from 1 to {}", text, http::scrape_limit));
  }
  return *number;
}

std::size_t to_response_bytes(std::string_view text) {
  const auto number = detail::to_number<std::size_t>(text);
  if (!number || *number < http::min_response_bytes) {
    throw EnvironmentError(fmt::format("\"{}\": expected a number from {} on", text, http::min_response_bytes));
  }
  return *number;
}

std::chrono::milliseconds to_time(std::string_view text) {
  using Seconds = std::chrono::duration<double>;
  constexpr std::chrono::milliseconds least(1);
  constexpr std::chrono::milliseconds most = detail::longest_scrape_time;
  const auto seconds = detail::to_number<double>(text);
  // This form of the condition also excludes NaN.
  if (!seconds || !(Seconds(*seconds) >= least && Seconds(*seconds) <= most)) {
    throw EnvironmentError(fmt::format("\"{}\": expected a number of seconds from 0.001 to 86400", text));
  }
  return std::chrono::round<std::chrono::milliseconds>(Seconds(*seconds));
}

std::vector<std::string> to_hosts(std::string_view text) {
  std::vector<std::string> hosts;
  while (!text.empty()) {
    const std::string_view host = detail::trimmed(detail::take_until(text, ','));
#if QUIPU_HAS_HTTP
    http::check_allowed_host(host);
#endif
    hosts.emplace_back(host);
  }
  return hosts;
}

struct StatsdServer {
  StatsdDialect dialect;
  std::string_view address;
};

/// Nothing if the backend is none of these.
std::optional<StatsdServer> to_statsd(std::string_view backend) {
  constexpr std::string_view separator = "://";
  const auto end = backend.find(separator);
  if (end == backend.npos) return std::nullopt;
  const std::string_view scheme = backend.substr(0, end);
  const std::string_view address = backend.substr(end + separator.size());
  if (scheme == "statsd") return StatsdServer{StatsdDialect::statsd, address};
  if (scheme == "dogstatsd") return StatsdServer{StatsdDialect::dogstatsd, address};
  return std::nullopt;
}

/// The backends of a recorder. All of them exist, and each is there once.
std::vector<std::string> to_backends(std::string_view text) {
  std::vector<std::string> backends;
  bool has_statsd = false;
  for (std::string_view rest = text;;) {
    const std::string_view backend = detail::trimmed(detail::take_until(rest, ','));
    const auto fail = [&backend](std::string_view why) {
      throw EnvironmentError(fmt::format("\"{}\": {}", backend, why));
    };
    if (const auto server = to_statsd(backend)) {
      if (std::exchange(has_statsd, true)) fail("there is a StatsD server already, and may be one only");
      try {
        statsd::check_address(server->address);
      } catch (const std::runtime_error& error) {
        fail(error.what());
      }
    } else if (backend == "none") {
      if (detail::trimmed(text) != "none") fail("expected no other backend beside none");
      return {};
    } else if (backend != "registry" && backend != "json") {
      fail(
          "expected registry, json, statsd://HOST:PORT, dogstatsd://HOST:PORT or none; a Unix socket is unix:/PATH in "
          "place of HOST:PORT");
    }
    if (std::ranges::find(backends, backend) != backends.end()) fail("it is there twice");
    backends.emplace_back(backend);
    if (rest.empty()) return backends;
  }
}

/// A StatsD backend whose numbers are on a page as long as it lives.
struct ShownStatsd {
  ShownStatsd(const Scope& scope, const StatsdOptions& options) : backend(options), shown(backend.expose(scope)) {}

  StatsdRecorder backend;
  Registration shown;
};

/// Reads `name=value, name="value"`.
class LabelParser {
 public:
  explicit LabelParser(std::string_view text) noexcept : text_(text) {}

  [[nodiscard]] detail::OwnedLabels parse() {
    detail::OwnedLabels labels;
    for (;;) {
      std::string name = take_trimmed("=,\"");
      if (name.empty()) fail("a label's name");
      if (!is_next('=')) fail("'='");
      ++at_;
      skip_blanks();
      labels.emplace_back(std::move(name), is_next('"') ? take_quoted() : take_bare());
      skip_blanks();
      if (at_ == text_.size()) return labels;
      if (!is_next(',')) fail("',' or the end");
      ++at_;
    }
  }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    throw EnvironmentError(fmt::format("\"{}\": at character {}: expected {}", text_, at_ + 1, expected));
  }

  [[nodiscard]] bool is_next(char c) const noexcept { return at_ < text_.size() && text_[at_] == c; }

  void skip_blanks() noexcept {
    while (at_ < text_.size() && detail::is_blank(text_[at_])) ++at_;
  }

  /// Takes what precedes the first of `ends`, and returns it without the blanks around it.
  std::string take_trimmed(std::string_view ends) {
    const auto text = text_.substr(at_, text_.find_first_of(ends, at_) - at_);
    at_ += text.size();
    return std::string(detail::trimmed(text));
  }

  std::string take_bare() {
    std::string text = take_trimmed(",\"");
    if (text.empty()) fail("a value, or \"\" for an empty one");
    return text;
  }

  std::string take_quoted() {
    std::string text;
    for (++at_; !is_next('"'); ++at_) {
      const bool is_escaped = is_next('\\');
      if (is_escaped) ++at_;
      if (at_ >= text_.size()) fail("a closing quote");
      const char c = text_[at_];
      if (is_escaped && c != '\\' && c != '"' && c != 'n') fail("'\\', '\"' or 'n' after a backslash");
      text += is_escaped && c == 'n' ? '\n' : c;
    }
    ++at_;
    return text;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

template <class Value>
void replace(Value& option, const std::optional<Value>& value) {
  if (value) option = *value;
}

}  // namespace

Environment::Environment() : Environment(own_variables()) {}

Environment::Environment(const std::map<std::string, std::string>& given) {
  Variables variables(given);
  const auto read_bool = [&variables](std::string_view name, std::optional<bool>& option) {
    variables.read(name, [&option](std::string_view value) { option = to_bool(value); });
  };
  read_bool("QUIPU_UTF8_NAMES", utf8_names_);
  const auto rules = utf8_names_.value_or(false) ? detail::NameRules::utf8 : detail::NameRules::legacy;
  variables.read("QUIPU_PREFIX", [&](const std::string& value) {
    detail::check_prefix(value, rules);
    prefix_ = value;
  });
  variables.read("QUIPU_CONST_LABELS", [&](std::string_view value) {
    const_labels_ = LabelParser(value).parse();
    detail::check(const_labels_, rules);
  });
  read_bool("QUIPU_PROCESS_METRICS", process_metrics_);
  read_bool("QUIPU_PROCESS_IO_METRICS", process_io_metrics_);
  read_bool("QUIPU_PROCESS_PRESSURE_METRICS", process_pressure_metrics_);
  read_bool("QUIPU_PROCESS_PEAK_METRICS", process_peak_metrics_);
  read_bool("QUIPU_SELF_METRICS", self_metrics_);
  read_bool("QUIPU_RUNTIME_METRICS", runtime_metrics_);
  read_bool("QUIPU_CREATED_LINES", created_lines_);
  read_bool("QUIPU_OPEN_METRICS_2", open_metrics_2_);
  variables.read("QUIPU_LISTEN", [&](const std::string& value) {
    check_address(value);
    listen_ = value;
  });
  variables.read("QUIPU_PATH", [&](const std::string& value) {
#if QUIPU_HAS_HTTP
    http::check_path(value);
#endif
    path_ = value;
  });
  variables.read("QUIPU_MAX_CONCURRENT_SCRAPES",
                 [&](std::string_view value) { max_concurrent_scrapes_ = to_scrape_limit(value); });
  variables.read("QUIPU_MAX_RESPONSE_BYTES",
                 [&](std::string_view value) { max_response_bytes_ = to_response_bytes(value); });
  variables.read("QUIPU_MAX_SCRAPE_TIME", [&](std::string_view value) { max_scrape_time_ = to_time(value); });
  read_bool("QUIPU_GZIP", gzip_);
  variables.read("QUIPU_ALLOWED_HOSTS", [&](std::string_view value) { allowed_hosts_ = to_hosts(value); });
  variables.read("QUIPU_RECORDER", [&](std::string_view value) { recorder_ = to_backends(value); });
  variables.check();
  unknown_ = variables.unknown();
}

RegistryOptions Environment::registry(RegistryOptions options) const {
  if (prefix_) options.prefix = runtime(*prefix_);
  for (const auto& [name, value] : const_labels_) {
    const ConstLabel label{runtime(name), value};
    const auto known = std::ranges::find_if(
        options.const_labels, [&label](const ConstLabel& other) { return other.name.text() == label.name.text(); });
    if (known == options.const_labels.end()) {
      options.const_labels.push_back(label);
    } else {
      *known = label;
    }
  }
  replace(options.utf8_names, utf8_names_);
  replace(options.created_lines, created_lines_);
  replace(options.open_metrics_2, open_metrics_2_);
  replace(options.process_metrics, process_metrics_);
  replace(options.process_io_metrics, process_io_metrics_);
  replace(options.process_pressure_metrics, process_pressure_metrics_);
  replace(options.process_peak_metrics, process_peak_metrics_);
  replace(options.self_metrics, self_metrics_);
  replace(options.runtime_metrics, runtime_metrics_);
  return options;
}

Recorder Environment::recorder(const Scope& scope, EnvironmentRecorderOptions options) const {
  if (!recorder_) return Recorder(std::make_shared<RegistryRecorder>(scope, std::move(options.registry)));
  Recorder::Backends backends;
  for (const std::string& backend : *recorder_) {
    if (const auto server = to_statsd(backend)) {
      options.statsd.address = server->address;
      options.statsd.dialect = server->dialect;
      const auto made = std::make_shared<ShownStatsd>(scope, options.statsd);
      backends.emplace_back(made, &made->backend);
    } else if (backend == "json") {
      // In one piece, so that lines do not mix with what else is written to standard error.
      const auto write = [](std::string_view line) { std::fwrite(line.data(), 1, line.size(), stderr); };
      backends.push_back(std::make_shared<JsonRecorder>(write, options.json));
    } else {
      backends.push_back(std::make_shared<RegistryRecorder>(scope, options.registry));
    }
  }
  return Recorder(std::move(backends));
}

#if QUIPU_HAS_HTTP
ExposerOptions Environment::exposer(ExposerOptions options) const {
  if (listen_) options.listen = *listen_;
  if (path_) options.path = *path_;
  replace(options.max_concurrent_scrapes, max_concurrent_scrapes_);
  replace(options.max_response_bytes, max_response_bytes_);
  replace(options.max_scrape_time, max_scrape_time_);
  replace(options.gzip, gzip_);
  options.allowed_hosts.insert(options.allowed_hosts.end(), allowed_hosts_.begin(), allowed_hosts_.end());
  return options;
}
#endif

}  // namespace quipu

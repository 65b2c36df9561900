#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "base/utf8.hpp"
#include "quipu/environment.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"

// What holds for any bytes in the environment.

namespace environment_properties {

using Variables = std::map<std::string, std::string>;

/// A line is NAME=value. A line without '=', or one that does not begin with QUIPU_, goes on with the value before.
inline Variables variables_of(std::string_view data) {
  Variables variables;
  std::string* value = nullptr;
  while (!data.empty()) {
    const std::string_view line = data.substr(0, data.find('\n'));
    data.remove_prefix(std::min(line.size() + 1, data.size()));
    const auto equals = line.find('=');
    if (line.starts_with("QUIPU_") && equals != line.npos) {
      value = &variables[std::string(line.substr(0, equals))];
      *value = line.substr(equals + 1);
    } else if (value != nullptr) {
      (*value += '\n') += line;
    }
  }
  return variables;
}

/// What is said of these variables; "" if nothing is.
inline std::string complaint(const Variables& variables) {
  try {
    const quipu::Environment read(variables);
    return "";
  } catch (const quipu::EnvironmentError& error) {
    return error.what();
  }
}

inline bool has_line_of(std::string_view message, const std::string& name) {
  return message.starts_with(name + ": ") || message.find('\n' + name + ": ") != message.npos;
}

/// What is wrong with the pages that a program has with these options, or nothing.
inline std::string check_pages(quipu::RegistryOptions options) try {
  const bool has_self_metrics = options.self_metrics;
  // They read many files.
  options.process_metrics = options.runtime_metrics = false;
  options.process_io_metrics = options.process_pressure_metrics = options.process_peak_metrics = false;
  const quipu::Registry registry(options);
  registry.counter({.name = "orders_total", .help = "Orders."}, {"item"})("tea").inc();
  for (const std::string_view type : {"text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain",
                                      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"}) {
    const quipu::Page page = quipu::render(registry, type);
    const auto read = quipu::testing::read_page(page.body, page.content_type);
    if (has_self_metrics && read.families.empty()) return "the page is empty";
    if (type.find("allow-utf-8") == type.npos) continue;
    for (const auto& family : read.families) {
      for (const auto& sample : family.samples) {
        for (const auto& label : options.const_labels) {
          std::size_t found = 0;
          for (const auto& shown : sample.labels) found += static_cast<std::size_t>(shown.name == label.name.text());
          if (found != 1) return "a const label is not there once: " + std::string(label.name.text());
        }
      }
    }
  }
  return "";
} catch (const quipu::RegistrationError& error) {
  // No variable is wrong by itself if its label is also one of a metric of the program, or of the library.
  const std::string_view message = error.what();
  const bool is_clash = message.find(" is a const label, ") != message.npos ||
                        message.find(" when names are escaped as ") != message.npos;
  return is_clash && !options.const_labels.empty() ? "" : "a counter is refused: " + std::string(message);
}

/// What is wrong with the options from these variables, or nothing.
inline std::string check(std::string_view data) try {
  const Variables variables = variables_of(data);
  const std::string message = complaint(variables);
  if (!quipu::detail::is_utf8(message)) return "a message that is not UTF-8";
  std::string_view rest = message;
  while (!rest.empty()) {
    if (!quipu::detail::take_until(rest, '\n').starts_with("QUIPU_")) return "a line that names no variable";
  }
  bool is_one_wrong = false;
  for (const auto& [name, value] : variables) {
    Variables alone{{name, value}};
    // Which names are allowed depends on this one.
    if (const auto utf8 = variables.find("QUIPU_UTF8_NAMES"); utf8 != variables.end()) alone.insert(*utf8);
    const bool is_wrong = has_line_of(complaint(alone), name);
    if (is_wrong && !has_line_of(message, name)) return "not named although it is wrong: " + name;
    is_one_wrong = is_one_wrong || is_wrong;
  }
  if (is_one_wrong != !message.empty()) return "refused, although each variable is taken: " + message;
  if (!message.empty()) return "";

  const quipu::Environment read(variables);
#if QUIPU_HAS_HTTP
  const quipu::ExposerOptions endpoint = read.exposer();
  if (!endpoint.path.starts_with('/')) return "a path that does not begin with '/'";
  if (endpoint.max_concurrent_scrapes < 1 || endpoint.max_concurrent_scrapes > 1000) return "a limit out of range";
#endif
  for (const std::string& name : read.unknown()) {
    if (!variables.contains(name)) return "unknown, but not given: " + name;
  }
  return check_pages(read.registry());
} catch (const std::exception& error) {
  return std::string("another error than EnvironmentError: ") + error.what();
}

}  // namespace environment_properties

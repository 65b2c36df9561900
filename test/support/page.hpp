#pragma once

// What the tests ask of a page, and of refusals.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quipu/error.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"

namespace page {

/// A registry that shows nothing of its own.
inline quipu::Registry empty_registry(quipu::RegistryOptions options = {}) {
  options.process_metrics = false;
  options.self_metrics = false;
  return quipu::Registry(options);
}

inline std::string body(const quipu::Registry& registry) { return quipu::render(registry).body; }

inline std::vector<std::string> lines(std::string_view body) {
  std::vector<std::string> result;
  for (std::size_t end = 0; !body.empty(); body.remove_prefix(end)) {
    end = body.find('\n') == std::string_view::npos ? body.size() : body.find('\n') + 1;
    result.emplace_back(body.substr(0, end - (body[end - 1] == '\n' ? 1 : 0)));
  }
  return result;
}

inline constexpr std::string_view absent = "(not on the page)";

/// The value of a series, both spelled as on the page: `value(body, "x_total{a=\"b\"}")`. The tests that look at
/// spelling, at the order of labels, or at integers beyond 2^53 use it; others have quipu::testing::value_of().
inline std::string value(std::string_view body, std::string_view series) {
  std::string found(absent);
  for (const std::string& line : lines(body)) {
    if (!line.starts_with(series) || line.size() <= series.size() || line[series.size()] != ' ') continue;
    if (found != absent) return "(more than once on the page)";
    found = line.substr(series.size() + 1);
  }
  return found;
}
inline std::string value(const quipu::Registry& registry, std::string_view series) {
  return value(body(registry), series);
}

/// How often something went wrong with collectors for this reason, as the page says of all of them together.
inline std::uint64_t collector_errors(std::string_view body, std::string_view reason) {
  std::uint64_t sum = 0;
  const std::string label = "reason=\"" + std::string(reason) + "\"} ";
  for (const std::string& line : lines(body)) {
    const std::size_t at = line.find(label);
    if (line.starts_with("quipu_collector_errors_total{") && at != std::string::npos) {
      sum += std::stoull(line.substr(at + label.size()));
    }
  }
  return sum;
}

/// What is on a page but HELP, TYPE and other comments.
inline std::vector<std::string> samples(std::string_view body) {
  std::vector<std::string> result;
  for (std::string& line : lines(body)) {
    if (!line.starts_with('#')) result.push_back(std::move(line));
  }
  return result;
}
inline std::vector<std::string> samples(const quipu::Registry& registry) { return samples(body(registry)); }

/// How many recordings were rejected in this process, and why.
inline std::uint64_t rejected(std::string_view reason) {
  const quipu::Registry registry({.process_metrics = false});
  return std::stoull(value(registry, "quipu_rejected_recordings_total{reason=\"" + std::string(reason) + "\"}"));
}

/// The message of the RegistrationError that `call` throws.
template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const quipu::RegistrationError& error) {
    return error.what();
  }
  return "(nothing was refused)";
}

/// "" if all parts are in the message; otherwise says what is missing.
inline std::string missing(const std::string& message, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    if (message.find(part) == std::string::npos) return '\'' + std::string(part) + "' is not in '" + message + '\'';
  }
  return "";
}

}  // namespace page

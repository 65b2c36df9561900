#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.hpp"
#include "base/utf8.hpp"
#include "quipu/exposition.hpp"
#include "quipu/registry.hpp"
#include "quipu/testing.hpp"

// What holds for series with any label values, which come and go in any order. Each line of the input is a step:
//
//     +TEXT|TEXT   counts in the family of two texts
//     #INT|TEXT    counts in the family of a number and a text
//     -TEXT|TEXT   removes that series, as does ~INT|TEXT
//     =TEXT|TEXT   keeps a handle, and ! counts through it
//     ?TEXT        removes the series whose last text begins with that
//     *            removes all series
//     .            compares the page
//
// "\n" stands for a line feed.

namespace series_properties {

using quipu::detail::to_utf8;

inline constexpr std::size_t max_series = 12;

/// What a family has to show.
class Model {
 public:
  using Key = std::pair<std::string, std::string>;

  /// The series that is looked up, which is made if there is room for it. Its number stays that of no other one.
  Key look_up(const Key& key) {
    if (live_.contains(key)) return key;
    const Key made = live_.size() < max_series ? key : Key("overflow", "overflow");
    live_.emplace(made, Series{.id = ++made_});
    return made;
  }
  void count(const Key& key) { ++live_.at(look_up(key)).count; }
  bool remove(const Key& key) { return live_.erase(key) > 0; }
  std::size_t remove_all_like(std::string_view beginning) {
    return std::erase_if(live_, [&](const auto& entry) { return entry.first.second.starts_with(beginning); });
  }
  void clear() { live_.clear(); }

  struct Handle {
    Key key{};
    std::uint64_t id = 0;  // 0 is of no series
  };
  Handle handle(const Key& key) {
    const Key found = look_up(key);
    return {found, live_.at(found).id};
  }
  void count(const Handle& handle) {
    const auto found = live_.find(handle.key);
    if (found != live_.end() && found->second.id == handle.id) ++found->second.count;
  }

  [[nodiscard]] std::size_t size() const { return live_.size(); }
  [[nodiscard]] std::map<Key, double> values() const {
    std::map<Key, double> result;
    for (const auto& [key, entry] : live_) result.emplace(key, static_cast<double>(entry.count));
    return result;
  }

 private:
  struct Series {
    std::uint64_t id;
    std::uint64_t count = 0;
  };
  std::map<Key, Series> live_;
  std::uint64_t made_ = 0;
};

class Steps {
 public:
  std::string take(std::string_view line) {
    if (line.empty()) return "";
    const char what = line.front();
    std::string_view rest = line.substr(1);
    const std::string first = with_line_feeds(quipu::detail::take_until(rest, '|'));
    const std::string second = with_line_feeds(rest);
    const std::int64_t number = quipu::detail::to_number<std::int64_t>(first).value_or(0);
    const Model::Key key(to_utf8(first), to_utf8(second));
    const Model::Key of_number(std::to_string(number), to_utf8(second));
    switch (what) {
      case '+':
        texts_(first, second).inc();
        of_texts_.count(key);
        return "";
      case '#':
        numbers_(number, second).inc();
        of_numbers_.count(of_number);
        return "";
      case '-':
        return texts_.remove(first, second) == of_texts_.remove(key) ? "" : "removed, or not";
      case '~':
        return numbers_.remove(number, second) == of_numbers_.remove(of_number) ? "" : "removed, or not";
      case '=':
        kept_ = texts_(first, second);
        kept_of_model_ = of_texts_.handle(key);
        return "";
      case '!':
        kept_.inc();
        of_texts_.count(kept_of_model_);
        return "";
      case '?': {
        const auto is_like = [&](quipu::Labels labels) { return labels[1].value.starts_with(key.first); };
        const bool is_same = texts_.remove_if(is_like) == of_texts_.remove_all_like(key.first) &&
                             numbers_.remove_if(is_like) == of_numbers_.remove_all_like(key.first);
        return is_same ? "" : "another number of series is removed";
      }
      case '*':
        texts_.clear();
        numbers_.clear();
        of_texts_.clear();
        of_numbers_.clear();
        return "";
      case '.':
        return compare();
      default:
        return "";
    }
  }

  [[nodiscard]] std::string compare() const {
    if (texts_.size() != of_texts_.size() || numbers_.size() != of_numbers_.size()) return "another number of series";
    for (const std::string_view accept : {"text/plain", "application/openmetrics-text"}) {
      const quipu::Page page = quipu::render(registry_, accept);
      const auto read = quipu::testing::read_page(page.body, page.content_type);
      if (values(read, "texts_total") != of_texts_.values()) return "the texts are others: " + page.body;
      if (values(read, "numbers_total") != of_numbers_.values()) return "the numbers are others: " + page.body;
    }
    return "";
  }

 private:
  /// No longer than what a series keeps of it, in UTF-8.
  static std::string with_line_feeds(std::string_view text) {
    std::string result(text.substr(0, 300));
    for (auto at = result.find("\\n"); at != result.npos; at = result.find("\\n", at + 1)) result.replace(at, 2, "\n");
    return result;
  }

  static std::map<Model::Key, double> values(const quipu::testing::ParsedPage& page, std::string_view sample_name) {
    std::map<Model::Key, double> result;
    for (const auto& family : page.families) {
      for (const auto& sample : family.samples) {
        if (sample.name != sample_name) continue;
        result.emplace(Model::Key(sample.labels.at(0).value, sample.labels.at(1).value), sample.value);
      }
    }
    return result;
  }

  const quipu::Registry registry_{{.process_metrics = false, .self_metrics = false}};
  const quipu::CounterFamily<std::string_view, std::string_view> texts_ =
      registry_.counter({.name = "texts_total", .max_series = max_series}, {"first", "second"});
  const quipu::CounterFamily<std::int64_t, std::string_view> numbers_ =
      registry_.counter<std::int64_t, std::string_view>({.name = "numbers_total", .max_series = max_series},
                                                        {"first", "second"});
  quipu::Counter kept_;
  Model of_texts_;
  Model of_numbers_;
  Model::Handle kept_of_model_;
};

/// What is wrong with the series that these steps make, or nothing.
inline std::string check(std::string_view data) try {
  Steps steps;
  while (!data.empty()) {
    const std::string_view line = quipu::detail::take_until(data, '\n');
    if (std::string wrong = steps.take(line); !wrong.empty()) return wrong;
  }
  return steps.compare();
} catch (const quipu::Error& error) {
  return error.what();
}

}  // namespace series_properties

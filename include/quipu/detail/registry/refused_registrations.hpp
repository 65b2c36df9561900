#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string_view>
#include <type_traits>

#include "quipu/detail/base/misuse.hpp"
#include "quipu/detail/family/label_lookup.hpp"
#include "quipu/metric_options.hpp"
#include "quipu/name.hpp"

namespace quipu::detail {

/// Whether these are one or more label names, instead of a list of them.
template <class... Names>
concept AreNoRange = sizeof...(Names) > 1 || (sizeof...(Names) == 1 && (!TextRange<Names> && ...));

/// The name or the help in place of options.
template <class Text>
concept NoOptions = std::is_convertible_v<const Text&, std::string_view>;

template <class Read>
concept NoCallback = !std::is_convertible_v<Read, std::function<double()>>;

/// The part of a Scope that refuses what registers nothing.
class RefusedRegistrations {
 public:
  // Label names without the braces.
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto counter(const MetricOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto fractional_counter(const MetricOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto gauge(const MetricOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto histogram(const HistogramOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto native_histogram(const NativeHistogramOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto summary(const SummaryOptions&, const Names&...) const {
    return one_list<Names...>();
  }
  template <class State, class... LabelTypes, class... Names>
  requires(AreNoRange<Names...>) auto stateset(const StateSetOptions<State>&, const Names&...) const {
    return one_list<Names...>();
  }

  // The name in place of the options.
  template <class... LabelTypes, NoOptions Text, class... More>
  auto counter(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto counter(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, class... More>
  auto fractional_counter(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto fractional_counter(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, class... More>
  auto gauge(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto gauge(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, class... More>
  auto histogram(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto histogram(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, class... More>
  auto native_histogram(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto native_histogram(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, class... More>
  auto summary(const Text&, const More&...) const {
    return in_braces<Text>();
  }
  template <class... LabelTypes, NoOptions Text, std::size_t Count>
  auto summary(const Text&, const LabelName (&)[Count]) const {
    return in_braces<Text>();
  }
  template <NoOptions Text>
  auto info(const Text&, std::initializer_list<InfoLabel>) const {
    return in_braces<Text>();
  }

  template <class None = void>
  auto info(const InfoOptions&) const {
    static_assert(misuse<None>, "quipu: an info has labels: info({.name = \"build_info\"}, {{\"version\", \"1.2\"}})");
  }

  // Functions of other types.
  template <NoCallback Read>
  auto gauge_callback(const MetricOptions&, const Read&) const {
    return a_number<Read>();
  }
  template <NoCallback Read>
  auto gauge_callback(const MetricOptions&, std::initializer_list<CallbackLabel>, const Read&) const {
    return a_number<Read>();
  }
  template <NoCallback Read>
  auto counter_callback(const MetricOptions&, const Read&) const {
    return a_number<Read>();
  }
  template <NoCallback Read>
  auto counter_callback(const MetricOptions&, std::initializer_list<CallbackLabel>, const Read&) const {
    return a_number<Read>();
  }

 private:
  template <class... Names>
  static constexpr auto one_list() {
    static_assert(misuse<Names...>,
                  "quipu: label names are one list in braces: counter(options, {\"method\", \"code\"})");
  }
  template <class Text>
  static constexpr auto in_braces() {
    static_assert(misuse<Text>,
                  "quipu: options are in braces: counter({.name = \"requests_total\", .help = \"Requests.\"})");
  }
  template <class Read>
  static constexpr auto a_number() {
    static_assert(misuse<Read>, "quipu: a callback is a function of nothing that returns a number");
  }
};

}  // namespace quipu::detail

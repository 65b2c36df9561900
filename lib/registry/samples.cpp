#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <set>
#include <utility>

#include "base/utf8.hpp"
#include "quipu/collector.hpp"
#include "quipu/error.hpp"
#include "quipu/name.hpp"
#include "registry/collected_family.hpp"

namespace quipu {
namespace detail {
namespace {

[[noreturn]] void refuse(const CollectedFamily& family, std::string_view why) {
  throw CollectorError(fmt::format("collector: family \"{}\" {}", family.local_name, why));
}

bool is_increasing(const auto& numbers, auto projection) {
  // Written so that NaN is found, too.
  const auto is_out_of_order = [](double a, double b) { return !(a < b); };
  return std::ranges::adjacent_find(numbers, is_out_of_order, projection) == std::ranges::end(numbers);
}

/// Makes of one value what the page needs of it. It checks that the value is one of the family's type.
class ValueReader {
 public:
  ValueReader(CollectedFamily& family, std::vector<std::string> label_values)
      : family_(family), label_values_(std::move(label_values)) {}

  void operator()(NumberValue& value) {
    const MetricType type = family_.definition->type;
    const double number = value.value.real();
    switch (type) {
      case MetricType::counter:
        if (!(number >= 0)) refuse("is a counter, which is neither negative nor NaN");
        break;
      case MetricType::info:
        if (number != 1) refuse("is an info: its value is 1");
        break;
      case MetricType::gauge:
      case MetricType::unknown:
        break;
      case MetricType::histogram:
      case MetricType::summary:
      case MetricType::stateset:
        refuse_type();
    }
    if (type != MetricType::counter && (value.created || value.exemplar)) {
      refuse("is no counter, and so has neither an exemplar nor a time at which counting began");
    }
    std::shared_ptr<CollectedDetails> details;
    if (value.created || value.exemplar || value.timestamp) {
      details = make_details(value.created, value.timestamp);
      if (value.exemplar) add_exemplars(*details, std::span(&value.exemplar, 1));
    }
    add(value.value, std::move(details));
  }

  void operator()(HistogramValue& value) {
    if (family_.definition->type != MetricType::histogram) refuse_type();
    if (value.native && value.bounds.empty() && value.counts.empty()) value.counts = {total(*value.native)};
    if (value.counts.size() != value.bounds.size() + 1) {
      refuse(fmt::format("has {} bounds and {} counts: there is one count for each bound, and one for +Inf",
                         value.bounds.size(), value.counts.size()));
    }
    if (!std::ranges::all_of(value.bounds, [](double bound) { return std::isfinite(bound); })) {
      refuse("has a bound that is not finite; the count of +Inf is the last, without a bound");
    }
    if (!is_increasing(value.bounds, std::identity())) refuse("has bounds that do not increase");
    if (value.exemplars.size() > value.counts.size()) refuse("has more exemplars than buckets");
    auto details = make_details(value.created, value.timestamp);
    for (std::size_t i = 0; i < value.exemplars.size(); ++i) {
      if (!value.exemplars[i]) continue;
      const double exemplar = value.exemplars[i]->value;
      const bool is_above = i == 0 || exemplar > value.bounds[i - 1];
      if (!is_above || (i < value.bounds.size() && exemplar > value.bounds[i])) {
        refuse(fmt::format("has an exemplar of the value {} outside its bucket", exemplar));
      }
    }
    if (value.native) add_native(*details, *value.native, value.counts);
    add_exemplars(*details, value.exemplars);
    details->bounds = std::move(value.bounds);
    details->counts = std::move(value.counts);
    details->sum = value.sum;
    add(0, std::move(details));
  }

  void operator()(SummaryValue& value) {
    if (family_.definition->type != MetricType::summary) refuse_type();
    for (const auto& [quantile, unused] : value.quantiles) {
      if (!(quantile >= 0 && quantile <= 1))
        refuse(fmt::format("has the quantile {}, which is not in 0 to 1", quantile));
    }
    if (!is_increasing(value.quantiles, &Quantile::quantile)) refuse("has quantiles that do not increase");
    auto details = make_details(value.created, value.timestamp);
    details->quantiles = std::move(value.quantiles);
    details->count = value.count;
    details->sum = value.sum;
    add(0, std::move(details));
  }

  void operator()(StateSetValue& value) {
    if (family_.definition->type != MetricType::stateset) refuse_type();
    std::set<std::string_view> known;
    for (const auto& state : value.states) {
      if (!known.insert(state.name).second) refuse(fmt::format("has the state \"{}\" twice", state.name));
    }
    std::shared_ptr<CollectedDetails> details;
    if (value.timestamp) details = make_details({}, value.timestamp);
    for (const auto& [name, is_on] : value.states) {
      label_values_.push_back(to_utf8(name, family_.max_label_value));
      family_.series.push_back({label_values_, is_on ? 1 : 0, details});
      label_values_.pop_back();
    }
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const { detail::refuse(family_, why); }
  [[noreturn]] void refuse_type() const {
    const MetricType type = family_.definition->type;
    std::string_view what = "a number or a NumberValue";
    if (type == MetricType::histogram) what = "a HistogramValue";
    if (type == MetricType::summary) what = "a SummaryValue";
    if (type == MetricType::stateset) what = "a StateSetValue";
    refuse(fmt::format("is of type {}: add {}", to_string(type), what));
  }

  [[nodiscard]] std::shared_ptr<CollectedDetails> make_details(const std::optional<WallTime>& created,
                                                               const std::optional<WallTime>& timestamp) const {
    if ((created && *created < WallTime()) || (timestamp && *timestamp < WallTime())) refuse("has a time before 1970");
    auto details = std::make_shared<CollectedDetails>();
    details->created = created;
    details->timestamp = timestamp;
    return details;
  }

  static std::uint64_t total(const NativeBuckets& native) noexcept {
    std::uint64_t count = native.zero_count;
    for (const auto& side : {native.positive, native.negative}) {
      for (const auto& bucket : side) count += bucket.count;
    }
    return count;
  }

  void add_native(CollectedDetails& to, const NativeBuckets& native, std::span<const std::uint64_t> counts) const {
    if (native.schema < -4 || native.schema > 8) refuse(fmt::format("has the schema {}, not -4 to 8", native.schema));
    if (!(native.zero_threshold >= 0 && std::isfinite(native.zero_threshold))) {
      refuse("has a zero threshold that is negative or not finite");
    }
    for (const auto& side : {native.positive, native.negative}) {
      const auto index = [](const NativeBuckets::Bucket& bucket) { return static_cast<double>(bucket.index); };
      if (!is_increasing(side, index)) refuse("has native buckets whose indices do not increase");
      if (std::ranges::find(side, 0U, &NativeBuckets::Bucket::count) != side.end()) refuse("has empty native buckets");
    }
    if (total(native) != std::accumulate(counts.begin(), counts.end(), std::uint64_t{0})) {
      refuse("has another count in its native buckets than in the classic ones");
    }
    to.positive.assign(native.positive.begin(), native.positive.end());
    to.negative.assign(native.negative.begin(), native.negative.end());
    to.native = native;
    to.native->positive = to.positive;
    to.native->negative = to.negative;
  }

  void add_exemplars(CollectedDetails& to, std::span<const std::optional<ExemplarView>> exemplars) const {
    to.exemplar_copies.reserve(exemplars.size());
    for (const auto& exemplar : exemplars) {
      to.exemplars.push_back(nullptr);
      if (!exemplar) continue;
      CollectedExemplar& copy = to.exemplar_copies.emplace_back();
      for (const auto& [name, value] : exemplar->labels) {
        if (!is_label_name(name))
          refuse(fmt::format("has an exemplar with the label \"{}\", which is no label name", name));
        copy.texts.emplace_back(name, to_utf8(value, family_.max_label_value));
      }
      for (const auto& [name, value] : copy.texts) copy.labels.push_back({name, value});
      copy.view = {copy.labels, exemplar->value, exemplar->time};
      to.exemplars.back() = &copy.view;
    }
  }

  void add(Number value, std::shared_ptr<const CollectedDetails> details) {
    family_.series.push_back({std::move(label_values_), value, std::move(details)});
  }

  CollectedFamily& family_;
  std::vector<std::string> label_values_;
};

}  // namespace
}  // namespace detail

void FamilySamples::add(LabelValues label_values, SeriesValue value) const {
  detail::CollectedFamily& family = (*families_)[index_];
  // The states of a stateset have a label of their own.
  const bool is_stateset = family.definition->type == MetricType::stateset;
  const std::size_t labels = family.definition->label_names.size() - (is_stateset ? 1 : 0);
  if (label_values.size() != labels) {
    detail::refuse(family, fmt::format("has {} labels, not {}", labels, label_values.size()));
  }
  std::vector<std::string> valid;
  valid.reserve(labels);
  label_values.for_each([&](std::string_view text) { valid.push_back(detail::to_utf8(text, family.max_label_value)); });
  std::visit(detail::ValueReader(family, std::move(valid)), value.any());
}

Samples::Samples(std::vector<detail::CollectedFamily>& families, const MakeFamily& make_family) noexcept
    : families_(families), make_family_(make_family), has_described_(!families.empty()) {}

FamilySamples Samples::family(std::string_view name) {
  const auto found = std::ranges::find(families_, name, &detail::CollectedFamily::local_name);
  if (found == families_.end()) {
    throw CollectorError(fmt::format(
        "collector: family \"{}\" was not described: describe() returns it, or Samples::family() gets its description",
        name));
  }
  return {families_, static_cast<std::size_t>(found - families_.begin())};
}

FamilySamples Samples::family(const FamilyDescription& description) {
  auto made = [&] {
    try {
      return make_family_(description);
    } catch (const RegistrationError& error) {
      throw CollectorError(fmt::format("collector: {}", error.what()));
    }
  }();
  const auto found = std::ranges::find(families_, made.local_name, &detail::CollectedFamily::local_name);
  if (found != families_.end()) {
    if (!detail::is_same_family(*found->definition, *made.definition)) {
      detail::refuse(*found, fmt::format("is {}, and so cannot be {}", detail::describe(*found->definition),
                                         detail::describe(*made.definition)));
    }
    return {families_, static_cast<std::size_t>(found - families_.begin())};
  }
  if (has_described_) {
    detail::refuse(made,
                   "was not described: describe() returns all families, or none and nothing is checked beforehand");
  }
  families_.push_back(std::move(made));
  return {families_, families_.size() - 1};
}

}  // namespace quipu

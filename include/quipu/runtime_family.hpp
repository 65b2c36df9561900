#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "quipu/counter.hpp"
#include "quipu/detail/family/label_lookup.hpp"
#include "quipu/family.hpp"
#include "quipu/gauge.hpp"
#include "quipu/histogram.hpp"
#include "quipu/native_histogram.hpp"
#include "quipu/sample.hpp"
#include "quipu/stateset.hpp"

namespace quipu {

namespace detail {

template <class... Given>
constexpr void values_are_one_list_in_braces() {
  static_assert(sizeof...(Given) == static_cast<std::size_t>(-1),
                "quipu: the label values of a family whose labels are known at run time are one list of texts: "
                "family({\"get\", \"200\"}), or any range of texts");
}

}  // namespace detail

/// All series of one name, if the names and the number of its labels are known only at run time:
///
///     std::vector<std::string> names = configured_labels();
///     auto requests = registry.counter({.name = "requests_total"}, names);
///     requests(values).inc();                                      // as many as there are names, in their order
///     requests.with({{"method", "get"}, {"code", "200"}}).inc();   // or by name, in any order
///
/// Label values are texts. It has the operations of Family, and makes the same promises but one: what the compiler
/// cannot check is checked at each call, which throws LabelError if the number of values or a name is wrong. The same
/// definition that is registered with text labels known to the compiler is the same family.
///
/// Values are given in braces, or as any range of texts: `family({"get", "200"})`, a std::vector<std::string>, a
/// std::span<const std::string_view>. Up to 16 labels, a series that exists is found without an allocation, about as
/// fast as in a Family of texts.
template <class Instrument>
class RuntimeFamily : public detail::FamilyOperations<RuntimeFamily<Instrument>, Instrument> {
 public:
  /// A family that is on no page, and has no series. It takes any labels; what its instruments record goes nowhere.
  /// Throws std::bad_alloc.
  RuntimeFamily() : core_(detail::unregistered_family()) {}
  explicit RuntimeFamily(std::shared_ptr<detail::FamilyCore> core,
                         std::shared_ptr<const detail::CurriedTexts> curried = nullptr) noexcept
      : core_(std::move(core)), curried_(std::move(curried)) {}
  // There is no move, so that no family is ever without a core.
  RuntimeFamily(const RuntimeFamily&) noexcept = default;
  RuntimeFamily& operator=(const RuntimeFamily&) noexcept = default;

  /// The series with these values of the labels that are open, in the order of their names; made at 0 if there is none.
  /// Throws LabelError if there are too few or too many, and std::bad_alloc only if there are more than 16. If memory
  /// runs out for the series, what the instrument records goes nowhere.
  [[nodiscard]] Instrument operator()(const detail::TextValues& values) const {
    return this->made(lookup().find_or_create(values.all()));
  }
  /// The series with these values, if there is one. Makes none. Throws and locks as find_with().
  [[nodiscard]] std::optional<Instrument> find(const detail::TextValues& values) const {
    return this->found(lookup().find(values.all()));
  }
  /// Makes the series with these values if there is none. Throws as operator().
  void create(const detail::TextValues& values) const { static_cast<void>((*this)(values)); }
  /// As Family::remove. Throws as find().
  bool remove(const detail::TextValues& values) const { return lookup().remove(values.all()); }

  // Without the braces.
  template <class... Given>
  requires(sizeof...(Given) != 1 || (!std::convertible_to<const Given&, detail::TextValues> && ...)) void operator()(
      const Given&...) const {
    detail::values_are_one_list_in_braces<Given...>();
  }

  /// Removes every series. Of a curried family, every series with the fixed values; that goes through the whole family,
  /// and throws std::bad_alloc.
  void clear() const {
    if (curried_ == nullptr) return core_->series.clear();
    this->remove_if([](Labels) { return true; });
  }

  /// How many series there are. Of a curried family, how many have the fixed values; that goes through the whole
  /// family, and throws std::bad_alloc.
  [[nodiscard]] std::size_t size() const { return lookup().size(); }

  /// As Family::time: `auto timer = latency.time(); … timer.labels({"/cart", "200"});`
  [[nodiscard]] BasicFamilyTimer<RuntimeFamily, const detail::TextValues&> time() const noexcept requires
      requires(Instrument instrument) {
    instrument.time();
  }
  { return BasicFamilyTimer<RuntimeFamily, const detail::TextValues&>(*this); }
  /// As Family::track.
  BasicFamilyTracker<RuntimeFamily, const detail::TextValues&> track(
      double step = 1) const noexcept requires std::same_as<Instrument, Gauge> {
    return BasicFamilyTracker<RuntimeFamily, const detail::TextValues&>(*this, step);
  }

  /// The part of the family in which these labels have these values, to give the others later:
  ///
  ///     auto ok = requests.curry_with({{"code", "200"}});
  ///     ok({"get"}).inc();
  ///
  /// It keeps copies of the values, and may be curried again. Throws LabelError if a label is unknown, given twice, or
  /// fixed already, and std::bad_alloc.
  [[nodiscard]] RuntimeFamily curry_with(const detail::LabelPairs& labels) const {
    return RuntimeFamily(core_, lookup().curry(labels.all()));
  }

 private:
  friend Scope;
  friend detail::FamilyOperations<RuntimeFamily, Instrument>;

  [[nodiscard]] detail::LabelLookup lookup() const noexcept {
    detail::LabelLookup lookup{*core_};
    if (curried_ != nullptr) lookup.fixed = curried_->values;
    return lookup;
  }

  std::shared_ptr<detail::FamilyCore> core_;
  std::shared_ptr<const detail::CurriedTexts> curried_;  // null if no label is fixed
};

}  // namespace quipu

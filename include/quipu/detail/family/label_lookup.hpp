#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "quipu/detail/base/export.hpp"
#include "quipu/detail/cells/cell.hpp"
#include "quipu/label.hpp"
#include "quipu/sample.hpp"

namespace quipu::detail {

struct FamilyCore;

/// So many labels are looked up without memory from the heap, whatever they are given as.
inline constexpr std::size_t labels_on_the_stack = 16;

/// A list that is filled once. It is on the stack up to `labels_on_the_stack` elements.
template <class T>
class ShortList {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  /// For at most `capacity` elements. Throws std::bad_alloc.
  explicit ShortList(std::size_t capacity) : begin_(reinterpret_cast<T*>(inline_)) {
    if (capacity > labels_on_the_stack) {
      heap_ = std::make_unique_for_overwrite<std::byte[]>(capacity * sizeof(T));
      begin_ = reinterpret_cast<T*>(heap_.get());
    }
  }
  ShortList(const ShortList&) = delete;
  ShortList& operator=(const ShortList&) = delete;

  void add(const T& value) noexcept { std::construct_at(begin_ + size_++, value); }
  [[nodiscard]] std::span<T> all() noexcept { return {begin_, size_}; }
  [[nodiscard]] std::span<const T> all() const noexcept { return {begin_, size_}; }

 private:
  T* begin_;
  std::size_t size_ = 0;
  std::unique_ptr<std::byte[]> heap_;
  alignas(T) std::byte inline_[labels_on_the_stack * sizeof(T)];
};

template <class T>
concept Text = std::is_convertible_v<const T&, std::string_view>;

/// Whether a text is still there when the element of the range is gone that it was read from.
template <class Range>
concept KeepsItsTexts = std::is_reference_v<std::ranges::range_reference_t<Range>> ||
    std::is_trivially_copyable_v<std::ranges::range_reference_t<Range>>;

/// Texts of which nobody knows the number beforehand: a std::vector<std::string>, a std::span<const std::string_view>.
template <class Range>
concept TextRange =
    !Text<Range> && std::ranges::forward_range<const Range> &&
    Text<std::remove_cvref_t<std::ranges::range_reference_t<const Range>>> && KeepsItsTexts<const Range>;

template <class T>
concept NameAndValue = std::same_as<T, LabelPair> || std::same_as<T, Label> || requires(const T& pair) {
  { pair.first } -> std::convertible_to<std::string_view>;
  pair.second;
};

/// Names and values: a std::map<std::string, std::string>, a std::vector<std::pair<std::string, int>>, a
/// std::span<const quipu::LabelPair>, quipu::Labels.
template <class Range>
concept PairRange = std::ranges::forward_range<const Range> &&
    NameAndValue<std::remove_cvref_t<std::ranges::range_reference_t<const Range>>> && KeepsItsTexts<const Range>;

/// The argument of a look-up by name: pairs in braces, or a PairRange. It refers to the caller's texts, so it is only
/// for the argument of a call.
class LabelPairs {
 public:
  LabelPairs(std::initializer_list<LabelPair> pairs) noexcept : copies_(0), pairs_(pairs.begin(), pairs.size()) {}
  template <PairRange Range>
  LabelPairs(const Range& range) : copies_(static_cast<std::size_t>(std::ranges::distance(range))) {
    for (const auto& pair : range) {
      if constexpr (requires { pair.first; }) {
        copies_.add({pair.first, pair.second});
      } else {
        copies_.add({pair.name, pair.value});
      }
    }
    pairs_ = copies_.all();
  }

  [[nodiscard]] std::span<const LabelPair> all() const noexcept { return pairs_; }

 private:
  ShortList<LabelPair> copies_;
  std::span<const LabelPair> pairs_;
};

/// The values of labels whose number is known only at run time: texts in braces, or a TextRange. It refers to the
/// caller's texts, so it is only for the argument of a call.
class TextValues {
 public:
  TextValues(std::initializer_list<LabelArgument<std::string_view>> values) : copies_(values.size()) {
    for (const auto& value : values) copies_.add(value.get());
  }
  template <TextRange Range>
  TextValues(const Range& range) : copies_(static_cast<std::size_t>(std::ranges::distance(range))) {
    for (const auto& value : range) copies_.add(value);
  }

  [[nodiscard]] std::span<const std::string_view> all() const noexcept { return copies_.all(); }

 private:
  ShortList<std::string_view> copies_;
};

/// The values that a family of texts was curried with. Its texts are as they are stored.
struct CurriedTexts {
  std::vector<std::string> texts;   // of all labels; empty for those that are open
  std::vector<StoredValue> values;  // point there, or are open
};

/// A text as the family stores it. Throws std::bad_alloc.
[[nodiscard]] QUIPU_EXPORT std::string stored_text(const FamilyCore& core, std::string_view text);

/// Finds series by what is checked only at run time: names, types and numbers of label values.
///
/// What is given is arranged in the order of the labels and then looked up as by a typed family: in the family's table,
/// without a lock. Only a miss takes the lock.
struct QUIPU_EXPORT LabelLookup {
  FamilyCore& core;
  std::span<const LabelDomain> domains = {};  // of all labels; empty if all are texts
  std::span<const StoredValue> fixed = {};    // of the first labels, or of all; some may be open

  /// A handle to nowhere when memory ran out. Throws LabelError, and std::bad_alloc if there are more than
  /// `labels_on_the_stack`.
  [[nodiscard]] CellRef find_or_create(std::span<const LabelPair> pairs) const;
  [[nodiscard]] CellRef find_or_create(std::span<const std::string_view> values) const;
  /// A handle to nowhere if there is none. Throws as find_or_create(), and std::bad_alloc for texts that are long or
  /// not valid UTF-8.
  [[nodiscard]] CellRef find(std::span<const LabelPair> pairs) const;
  [[nodiscard]] CellRef find(std::span<const std::string_view> values) const;
  /// Returns whether there was one. Throws as find().
  bool remove(std::span<const LabelPair> pairs) const;
  bool remove(std::span<const std::string_view> values) const;

  /// The same family with more labels fixed. Throws LabelError and std::bad_alloc.
  [[nodiscard]] std::shared_ptr<const CurriedTexts> curry(std::span<const LabelPair> pairs) const;

  // Of the series that have the fixed values. They throw std::bad_alloc.

  [[nodiscard]] std::size_t size() const;
  /// Removes each series for which should_remove(labels) is true, and returns how many. No lock is held during these
  /// calls.
  std::size_t remove_if(void* context, bool (*should_remove)(void* context, Labels labels)) const;
};

}  // namespace quipu::detail

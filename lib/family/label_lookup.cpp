#include "quipu/detail/family/label_lookup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/printable.hpp"
#include "base/text.hpp"
#include "base/utf8.hpp"
#include "family/definition.hpp"
#include "quipu/detail/family/label_key.hpp"
#include "quipu/detail/family/series_table.hpp"
#include "quipu/error.hpp"
#include "quipu/family.hpp"

namespace quipu::detail {
namespace {

constexpr LabelDomain text_domain = label_domain<std::string_view>;

/// Marks a value that is not known yet.
constexpr char open_mark = 0;
constexpr StoredValue open_value{std::string_view(&open_mark, 0)};

bool is_open(const StoredValue& value) noexcept { return value.text == &open_mark; }

const LabelDomain& domain(const LabelLookup& lookup, std::size_t column) noexcept {
  return lookup.domains.empty() ? text_domain : lookup.domains[column];
}

/// The label of that name; as many as there are labels if there is none. Most callers give the labels in the family's
/// order, so label `hint` is tried first.
std::size_t column_of(std::string_view name, std::span<const std::string> names, std::size_t hint) noexcept {
  if (hint < names.size() && names[hint] == name) [[likely]] {
    return hint;
  }
  std::size_t column = 0;
  while (column < names.size() && names[column] != name) ++column;
  return column;
}

/// As a series of that label has it; nullopt if the label does not take the value.
std::optional<StoredValue> convert(const LabelDomain& to, const LabelValue& value) noexcept {
  const LabelColumn& column = *to.column;
  const LabelColumn& given = value.column();
  const StoredValue stored = value.stored();
  if (column.type == LabelType::text) return stored.is_text() ? std::optional(stored) : std::nullopt;
  if (!column.names.empty()) {
    if (!stored.is_text()) return &given == &column || given == column ? std::optional(stored) : std::nullopt;
    const auto name = std::ranges::find(column.names, stored.as_text());
    if (name == column.names.end()) return std::nullopt;
    return StoredValue(static_cast<std::uint64_t>(name - column.names.begin()));
  }
  if (!given.names.empty()) return std::nullopt;
  const auto in_range = [&to](auto number) -> std::optional<StoredValue> {
    if (std::cmp_less(number, to.lowest) || std::cmp_greater(number, to.highest)) return std::nullopt;
    return StoredValue(static_cast<std::uint64_t>(number));
  };
  if (stored.is_text()) {
    if (const auto number = to_number<std::int64_t>(stored.as_text())) return in_range(*number);
    const auto number = to_number<std::uint64_t>(stored.as_text());
    return number ? in_range(*number) : std::nullopt;
  }
  return given.type == LabelType::signed_integer ? in_range(static_cast<std::int64_t>(stored.bits))
                                                 : in_range(stored.bits);
}

// What messages say.

std::string quoted(std::string_view text) { return fmt::format("\"{}\"", printable(text, 100)); }

std::string shown(const LabelValue& value) {
  const StoredValue stored = value.stored();
  if (stored.is_text()) return quoted(stored.as_text());
  const LabelColumn& column = value.column();
  if (stored.bits < column.names.size()) return std::string(column.names[stored.bits]);
  return column.type == LabelType::signed_integer ? fmt::format("{}", static_cast<std::int64_t>(stored.bits))
                                                  : fmt::format("{}", stored.bits);
}

std::string takes(const LabelDomain& domain) {
  const LabelColumn& column = *domain.column;
  if (column.type == LabelType::text) return "text";
  if (column.names.empty()) return fmt::format("an integer from {} to {}", domain.lowest, domain.highest);
  std::string list;
  for (const std::string_view name : column.names) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  return fmt::format("one of {}", printable(list, 100));
}

std::string listed(std::span<const LabelPair> pairs) {
  std::string list;
  for (const LabelPair& pair : pairs) {
    if (list.size() > 300) return list + ", …";
    list += fmt::format("{}{}={}", list.empty() ? "" : ", ", printable(pair.name, 100), shown(pair.value));
  }
  return list;
}

std::string listed(std::span<const std::string_view> values) {
  std::string list;
  for (const std::string_view value : values) {
    if (list.size() > 300) return list + ", …";
    list += fmt::format("{}{}", list.empty() ? "" : ", ", quoted(value));
  }
  return list;
}

std::string labels_of(const LabelLookup& lookup) {
  std::string list;
  for (std::size_t i = 0; i < lookup.core.key_names.size(); ++i) {
    const bool is_fixed = i < lookup.fixed.size() && !is_open(lookup.fixed[i]);
    list += fmt::format("{}{} {}{}", list.empty() ? "" : ", ", lookup.core.key_names[i],
                        to_string(*domain(lookup, i).column), is_fixed ? " (fixed)" : "");
  }
  return list;
}

template <class Given>
[[noreturn]] void refuse(const LabelLookup& lookup, std::span<const Given> given, std::string_view why) {
  throw LabelError(fmt::format("cannot look up {{{}}} in {}{{{}}}: {}", listed(given), lookup.core.definition.name,
                               labels_of(lookup), why));
}

/// What is wrong with the pairs. Without `is_part` each label that is not fixed must be there.
std::string what_is_wrong(const LabelLookup& lookup, std::span<const LabelPair> pairs, bool is_part) {
  const auto& names = lookup.core.key_names;
  for (auto pair = pairs.begin(); pair != pairs.end(); ++pair) {
    const std::string name = quoted(pair->name);
    const auto column = static_cast<std::size_t>(std::ranges::find(names, pair->name) - names.begin());
    if (column == names.size()) return fmt::format("there is no label {}; give the family's own labels", name);
    if (std::any_of(pairs.begin(), pair, [&](const LabelPair& other) { return other.name == pair->name; })) {
      return fmt::format("label {} is given twice; leave one of them out", name);
    }
    if (column < lookup.fixed.size() && !is_open(lookup.fixed[column])) {
      return fmt::format("label {} is fixed already; leave it out", name);
    }
    if (!convert(domain(lookup, column), pair->value)) {
      return fmt::format("label {} takes {}, and not {}", name, takes(domain(lookup, column)), shown(pair->value));
    }
  }
  for (std::size_t i = 0; i < names.size() && !is_part; ++i) {
    const bool is_fixed = i < lookup.fixed.size() && !is_open(lookup.fixed[i]);
    if (!is_fixed && std::ranges::find(pairs, names[i], &LabelPair::name) == pairs.end()) {
      return fmt::format("label {} is missing; give it, too", quoted(names[i]));
    }
  }
  return "";
}

/// A family that was never registered has no labels. It takes any, because it stands for one that has them.
bool is_registered(const FamilyCore& core) noexcept { return !core.definition.name.empty(); }

/// The values of all labels in their order: the fixed ones, and those that are given.
class Arranged {
 public:
  /// If not every label that is open is given once, it is not complete.
  Arranged(const LabelLookup& lookup, std::span<const LabelPair> pairs) : values_(lookup.core.key_names.size()) {
    const std::size_t open = add_fixed(lookup);
    const auto names = lookup.core.key_names;
    const auto values = values_.all();
    if (pairs.size() != open) return;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const LabelPair& pair = pairs[i];
      const std::size_t column = column_of(pair.name, names, i);
      if (column == names.size()) return;
      if (!is_open(values[column])) return;
      const LabelDomain& to = domain(lookup, column);
      if (to.column->type == LabelType::text && pair.value.stored().is_text()) [[likely]] {
        values[column] = pair.value.stored();
      } else if (const auto stored = convert(to, pair.value)) {
        values[column] = *stored;
      } else {
        return;
      }
    }
    is_complete_ = true;
  }
  Arranged(const LabelLookup& lookup, std::span<const std::string_view> given) : values_(lookup.core.key_names.size()) {
    if (given.size() != add_fixed(lookup)) return;
    auto next = given.begin();
    for (StoredValue& value : values_.all()) {
      if (is_open(value)) value = StoredValue(*next++);
    }
    is_complete_ = true;
  }

  [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }
  [[nodiscard]] std::span<const StoredValue> values() const noexcept { return values_.all(); }

  void put(LabelKey& key) const {
    for (const StoredValue& value : values()) key.put(value);
  }

 private:
  /// Returns how many labels are open.
  std::size_t add_fixed(const LabelLookup& lookup) noexcept {
    if (lookup.fixed.size() > lookup.core.key_names.size()) return std::string::npos;  // was never registered
    std::size_t open = lookup.core.key_names.size() - lookup.fixed.size();
    for (const StoredValue& value : lookup.fixed) {
      values_.add(value);
      open += static_cast<std::size_t>(is_open(value));
    }
    for (std::size_t i = lookup.fixed.size(); i < lookup.core.key_names.size(); ++i) values_.add(open_value);
    return open;
  }

  ShortList<StoredValue> values_;
  bool is_complete_ = false;
};

/// The number of the combination in a family of closed labels.
std::size_t closed_index(const FamilyCore& core, std::span<const StoredValue> values) noexcept {
  if (core.series.closed_size() == 0) return SeriesTable::not_closed;
  std::size_t index = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t size = core.definition.columns[i].names.size();
    if (values[i].bits >= size) return SeriesTable::not_closed;
    index = index * size + values[i].bits;
  }
  return index;
}

/// Whether the values are a text for each label, in the order of the labels. They need not be arranged then.
bool are_arranged_texts(const LabelLookup& lookup, std::span<const LabelPair> pairs) noexcept {
  if (!lookup.fixed.empty() || pairs.size() != lookup.core.key_names.size()) return false;
  const char* name = reinterpret_cast<const char*>(lookup.core.key_of_names.data());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!pairs[i].value.stored().is_text() || !is_next(name, pairs[i].name)) return false;
    if (!lookup.domains.empty() && lookup.domains[i].column->type != LabelType::text) return false;
  }
  return true;
}
bool are_arranged_texts(const LabelLookup& lookup, std::span<const std::string_view> values) noexcept {
  return lookup.fixed.empty() && values.size() == lookup.core.key_names.size();
}

std::string_view text(const LabelPair& pair) noexcept { return pair.value.stored().as_text(); }
std::string_view text(std::string_view value) noexcept { return value; }

CellRef find_without_lock(const FamilyCore& core, std::span<const StoredValue> values, std::size_t index) noexcept {
  if (index != SeriesTable::not_closed) return core.series.closed(index);
  if (std::ranges::all_of(values, &StoredValue::is_text)) {
    return core.series.find_texts(values.size(), [values](std::size_t i) { return values[i].as_text(); });
  }
  return core.series.find_values(values.size(), [values](std::size_t i) { return values[i]; });
}

[[gnu::noinline]] CellRef create(FamilyCore& core, const Arranged& arranged, std::size_t index) {
  try {
    LabelKey key(core.series.max_put());
    arranged.put(key);
    return core.series.find_or_create(key, index);
  } catch (...) {  // out of memory, for label values too long for the stack
    return {};
  }
}

[[gnu::noinline]] void check(const LabelLookup& lookup, std::span<const LabelPair> pairs) {
  if (is_registered(lookup.core)) refuse(lookup, pairs, what_is_wrong(lookup, pairs, false));
}

[[gnu::noinline]] void check(const LabelLookup& lookup, std::span<const std::string_view> values) {
  if (!is_registered(lookup.core)) return;
  const auto fixed = static_cast<std::size_t>(
      std::ranges::count_if(lookup.fixed, [](const StoredValue& value) { return !is_open(value); }));
  const auto counted = [](std::size_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  refuse(lookup, values,
         fmt::format("{} {} given for {}; give one for each", counted(values.size(), "value"),
                     values.size() == 1 ? "is" : "are", counted(lookup.core.key_names.size() - fixed, "label")));
}

template <class Given>
[[gnu::noinline]] CellRef arrange_and_find_or_create(const LabelLookup& lookup, std::span<const Given> given) {
  const Arranged arranged(lookup, given);
  if (!arranged.is_complete()) [[unlikely]] {
    check(lookup, given);
    return {};
  }
  const std::size_t index = closed_index(lookup.core, arranged.values());
  const CellRef found = find_without_lock(lookup.core, arranged.values(), index);
  if (found != CellRef{}) [[likely]] {
    return found;
  }
  return create(lookup.core, arranged, index);
}

template <class Given>
CellRef find_or_create_in(const LabelLookup& lookup, std::span<const Given> given) {
  if (are_arranged_texts(lookup, given)) [[likely]] {
    const CellRef found =
        lookup.core.series.find_texts(given.size(), [given](std::size_t i) { return text(given[i]); });
    if (found != CellRef{}) [[likely]] {
      return found;
    }
  }
  return arrange_and_find_or_create(lookup, given);
}

template <class Given>
CellRef find_in(const LabelLookup& lookup, std::span<const Given> given) {
  const Arranged arranged(lookup, given);
  if (!arranged.is_complete()) {
    check(lookup, given);
    return {};
  }
  const CellRef found = find_without_lock(lookup.core, arranged.values(), closed_index(lookup.core, arranged.values()));
  if (found != CellRef{}) return found;
  LabelKey key(lookup.core.series.max_put());
  arranged.put(key);
  return lookup.core.series.find_stored(key);
}

template <class Given>
bool remove_in(const LabelLookup& lookup, std::span<const Given> given) {
  const Arranged arranged(lookup, given);
  if (!arranged.is_complete()) {
    check(lookup, given);
    return false;
  }
  LabelKey key(lookup.core.series.max_put());
  arranged.put(key);
  return lookup.core.series.remove(key);
}

/// Whether the series has the fixed values.
bool is_part(const LabelLookup& lookup, std::span<const std::uint64_t> key) noexcept {
  KeyCursor cursor(key);
  for (std::size_t i = 0; i < lookup.fixed.size(); ++i) {
    if (key.empty()) return false;
    const StoredValue& fixed = lookup.fixed[i];
    if (lookup.core.definition.columns[i].type == LabelType::text) {
      const std::string_view text = cursor.text();
      if (!is_open(fixed) && text != fixed.as_text()) return false;
    } else if (cursor.number() != fixed.bits && !is_open(fixed)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string stored_text(const FamilyCore& core, std::string_view text) {
  return to_utf8(text, core.series.max_label_value());
}

CellRef LabelLookup::find_or_create(std::span<const LabelPair> pairs) const { return find_or_create_in(*this, pairs); }
CellRef LabelLookup::find_or_create(std::span<const std::string_view> values) const {
  return find_or_create_in(*this, values);
}

CellRef LabelLookup::find(std::span<const LabelPair> pairs) const { return find_in(*this, pairs); }
CellRef LabelLookup::find(std::span<const std::string_view> values) const { return find_in(*this, values); }

bool LabelLookup::remove(std::span<const LabelPair> pairs) const { return remove_in(*this, pairs); }
bool LabelLookup::remove(std::span<const std::string_view> values) const { return remove_in(*this, values); }

std::shared_ptr<const CurriedTexts> LabelLookup::curry(std::span<const LabelPair> pairs) const {
  const auto names = core.key_names;
  auto made = std::make_shared<CurriedTexts>();
  made->texts.resize(names.size());
  made->values.resize(names.size(), open_value);
  if (!is_registered(core)) return made;
  if (const std::string wrong = what_is_wrong(*this, pairs, true); !wrong.empty()) refuse(*this, pairs, wrong);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i < fixed.size() && !is_open(fixed[i])) {
      made->texts[i] = fixed[i].as_text();
    } else if (const auto pair = std::ranges::find(pairs, names[i], &LabelPair::name); pair != pairs.end()) {
      made->texts[i] = stored_text(core, pair->value.stored().as_text());
    } else {
      continue;
    }
    made->values[i] = StoredValue(std::string_view(made->texts[i]));
  }
  return made;
}

std::size_t LabelLookup::size() const {
  if (fixed.empty()) return core.series.size();
  std::size_t count = 0;
  SeriesTable::Walk walk(core.series);
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    for (const auto& met : batch) count += static_cast<std::size_t>(is_part(*this, met.key));
  }
  return count;
}

std::size_t LabelLookup::remove_if(void* context, bool (*should_remove)(void*, Labels)) const {
  std::size_t removed = 0;
  std::vector<Label> labels;
  KeyReader reader(core.definition.key_columns());
  for (const std::string& name : core.key_names) labels.push_back({name, {}});
  SeriesTable::Walk walk(core.series);
  for (auto batch = walk.next(); !batch.empty(); batch = walk.next()) {
    for (const auto& met : batch) {
      if (!met.series.ref.is_live() || !is_part(*this, met.key)) continue;
      reader.read(met.key, [&](std::size_t i, std::string_view value) { labels[i].value = value; });
      if (should_remove(context, labels)) removed += static_cast<std::size_t>(core.series.remove(met.series));
    }
  }
  return removed;
}

}  // namespace quipu::detail

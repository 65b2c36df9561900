#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "exposition/line_encoder.hpp"

namespace quipu::detail {

/// The common part of the versions of OpenMetrics.
class OpenMetricsLines : public LineEncoder {
 public:
  void finish() final { page().put("# EOF\n"); }

 protected:
  enum class Type : std::uint8_t { unknown, counter, gauge, histogram, info, stateset, summary };

  static constexpr std::string_view total = "_total";
  static constexpr std::string_view info = "_info";
  static constexpr std::size_t any_length = SIZE_MAX;

  OpenMetricsLines(PageBuffer& page, const Format& format) : LineEncoder(page, format.escaping, Reals::with_point) {}

  [[nodiscard]] Type type() const noexcept { return type_; }
  [[nodiscard]] std::string_view name_without(std::string_view suffix) const noexcept;
  /// Whether the family's name is something with this suffix.
  [[nodiscard]] bool has_suffix(std::string_view suffix) const noexcept {
    return name_without(suffix).size() < name().size();
  }
  /// The type to write for a family whose lines were prepared. It is the family's own type, or a plainer one if the
  /// family breaks the rules of its own, because a single mistake makes a page invalid.
  [[nodiscard]] Type possible_type(const FamilyView& family) const;
  /// The family's TYPE, UNIT and HELP lines, under `name`.
  void put_metadata(const FamilyView& family, Type type, std::string_view name);

  /// Whether a series of this type may have the value. If not, the series is left out, because it would make the whole
  /// page invalid. Our instruments never have such a value, but collectors may.
  [[nodiscard]] bool is_possible(Number value) const noexcept;

  /// Appends ` # {trace_id="…"} 0.5 1790000000.123`, or nothing if the labels are longer than `most` code points.
  void append_exemplar(std::string& to, const ExemplarView& exemplar, std::size_t most) const;

 private:
  void append_time(std::string& to, WallTime time) const final;

  Type type_ = Type::unknown;
};

inline bool OpenMetricsLines::is_possible(Number value) const noexcept {
  switch (type_) {
    case Type::counter:
      return value.is_whole() || value.real() >= 0;  // and not NaN
    case Type::info:
      return value.real() == 1;
    case Type::stateset:
      return value.real() == 0 || value.real() == 1;
    default:
      return true;
  }
}

/// Seconds since the epoch, with a point and no exponent. Exact to the millisecond, as servers keep it.
void append_seconds(std::string& to, WallTime time);

}  // namespace quipu::detail

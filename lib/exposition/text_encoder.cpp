#include "exposition/text_encoder.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "family/definition.hpp"

namespace quipu::detail {
namespace {

constexpr char no_quote = '\n';  // in help texts quotes stand as they are

}  // namespace

void TextEncoder::family(const FamilyView& family) {
  begin_family(family);
  if (!family.help.empty()) {
    put_comment("HELP", name());
    page().put_escaped(family.help, no_quote);
    page().put("\n");
  }
  put_comment("TYPE", name());
  page().put(type_in_text(family.type));
  page().put("\n");
  set_start(start_, name());
}

void TextEncoder::part(const FamilyView& family) {
  begin_family(family);
  set_start(start_, name());
}

void TextEncoder::sample(const Sample& sample) {
  const std::string_view timestamp = written_timestamp(sample.timestamp);
  char* to = begin_line(start_, sample, number_size + timestamp.size() + 1);
  to = put_number(to, sample.value);
  to = put_if_any(to, timestamp);
  *to++ = '\n';
  page().end_at(to);
}

void TextEncoder::histogram(const HistogramSample& sample) {
  put_histogram(sample, true, 0, [](char* to, std::size_t /*bucket*/) { return to; });
}

void TextEncoder::summary(const SummarySample& sample) {
  put_summary(sample, true, [](double /*value*/) { return true; });
}

/// In milliseconds. Servers do not read the sign that one before 1970 would have.
void TextEncoder::append_time(std::string& to, WallTime time) const {
  const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  to += std::to_string(std::max<std::int64_t>(milliseconds, 0));
}

}  // namespace quipu::detail

#include "exposition/text_encoder.hpp"

namespace quipu::detail {
namespace {

constexpr char no_quote = '\n';  // in help texts quotes stand as they are

/// A type that the format does not know makes a server refuse the whole page.
std::string_view type_of(MetricType type) noexcept {
  return type == MetricType::info || type == MetricType::stateset ? to_string(MetricType::gauge) : to_string(type);
}

}  // namespace

void TextEncoder::family(const FamilyView& family) {
  begin_family(family);
  if (!family.help.empty()) {
    put_comment("HELP", name());
    page().put_escaped(family.help, no_quote);
    page().put("\n");
  }
  put_comment("TYPE", name());
  page().put(type_of(family.type));
  page().put("\n");
  set_start(start_, name());
}

void TextEncoder::part(const FamilyView& family) {
  begin_family(family);
  set_start(start_, name());
}

void TextEncoder::sample(const Sample& sample) {
  char* to = begin_line(start_, sample, number_size);
  to = put_number(to, sample.value);
  *to++ = '\n';
  page().end_at(to);
}

void TextEncoder::histogram(const HistogramSample& sample) {
  put_histogram(sample, true, 0, [](char* to, std::size_t /*bucket*/) { return to; });
}

}  // namespace quipu::detail

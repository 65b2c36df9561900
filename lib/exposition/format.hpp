#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "family/escaping.hpp"
#include "registry/format_options.hpp"

namespace quipu::detail {

enum class Syntax : std::uint8_t { text, open_metrics, open_metrics_2, protobuf };

/// The format of a page.
struct Format {
  Syntax syntax = Syntax::text;
  std::string_view version = "0.0.4";  // of the syntax; empty for protobuf
  Escaping escaping = Escaping::underscores;
  bool names_escaping = false;  // whether the Content-Type says which escaping it is
  bool created_lines = false;   // in OpenMetrics 1.0.0: as in FormatOptions

  friend bool operator==(const Format&, const Format&) = default;
};

/// The format that `accept`, an HTTP Accept header, prefers among those offered (RFC 9110, 12.5.1): by its q-values,
/// then the more specific clause, then the earlier one. Text 0.0.4 if nothing fits.
[[nodiscard]] Format negotiate(std::string_view accept, const FormatOptions& options = {});

/// The Content-Type of a page in this format.
[[nodiscard]] std::string content_type(const Format& format);

}  // namespace quipu::detail

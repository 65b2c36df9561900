#include <chrono>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "exposition/format.hpp"
#include "quipu/registry.hpp"
#include "support/page.hpp"

using quipu::detail::Escaping;
using quipu::detail::Format;
using quipu::detail::FormatOptions;
using quipu::detail::negotiate;
using quipu::detail::Syntax;

namespace {

constexpr FormatOptions everything{.open_metrics_2 = true};

constexpr std::string_view text = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view text_utf8 = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";
constexpr std::string_view text_1 = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores";
constexpr std::string_view text_1_utf8 = "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
constexpr std::string_view draft = "application/openmetrics-text; version=0.0.1; charset=utf-8";
constexpr std::string_view open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
constexpr std::string_view open_metrics_utf8 =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
constexpr std::string_view open_metrics_2 = "application/openmetrics-text; version=2.0.0; charset=utf-8";
constexpr std::string_view protobuf =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
constexpr std::string_view protobuf_utf8 =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
    "escaping=allow-utf-8";

std::string chosen(std::string_view accept, const FormatOptions& options = {}) {
  return quipu::detail::content_type(negotiate(accept, options));
}

}  // namespace

TEST_CASE("every version of Prometheus gets the format that it prefers") {
  struct Row {
    std::string_view server;
    std::string_view accept;
    std::string_view chosen;
  };
  const std::vector<Row> table = {
      {"2.42",
       "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       open_metrics},
      {"2.42 with native histograms",
       "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
       "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       protobuf},
      {"2.49.0",
       "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
       "text/plain;version=0.0.4;q=0.3,*/*;q=2",
       text},
      {"2.50 to 2.55",
       "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
       "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
       open_metrics},
      {"3.0 to 3.2",
       "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,"
       "text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.4,"
       "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
       open_metrics_utf8},
      {"3.0 with native histograms",
       "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
       "escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
       "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4,"
       "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.2,"
       "*/*;q=0.1",
       protobuf_utf8},
      {"3.4 to 3.14",
       "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
       "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
       open_metrics_utf8},
      {"3.4 to 3.14 with native histograms",
       "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
       "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
       "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
       "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
       protobuf},
      {"3.4 that scrapes text 1.0.0 only", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5",
       text_1_utf8},
      {"3.0 that scrapes text 1.0.0 only",
       "text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.6,*/*;q=0.5", text_1_utf8},
  };
  for (const Row& row : table) {
    INFO(row.server);
    CHECK(chosen(row.accept) == row.chosen);
  }
}

TEST_CASE("an Accept header is read as HTTP says") {
  struct Row {
    std::string_view accept;
    std::string_view content_type;
  };
  const std::vector<Row> table = {
      // Nothing that fits.
      {"", text},
      {" ", text},
      {",", text},
      {"application/json", text},
      {"openmetrics", text},
      {"text/html, application/xhtml+xml, */*;q=0.8", text},
      {"application/openmetrics-text;version=3.0.0", text},
      {"application/openmetrics-text-2;version=1.0.0", text},
      {"application/*", text},
      {"text/plain;version=0.0.3", text},
      // Versions.
      {"text/plain", text},
      {"text/plain;version=0.0.4", text},
      {"text/plain;version=1.0.0", text_1},
      {"text/plain;charset=utf-8", text},
      {"text/*;version=1.0.0", text},
      {"application/openmetrics-text", draft},
      {"application/openmetrics-text;version=0.0.1", draft},
      {"application/openmetrics-text;version=1.0.0", open_metrics},
      {"application/openmetrics-text;version=2.0.0", open_metrics_2},
      {"application/openmetrics-text;version=2.0.0;q=0.9,application/openmetrics-text;version=1.0.0", open_metrics},
      {"application/openmetrics-text;version=3.0.0,application/openmetrics-text;version=1.0.0;q=0.1", open_metrics},
      // Protobuf has to be the one kind that there is.
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", protobuf},
      {"application/vnd.google.protobuf", text},
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", text},
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", text},
      {"application/vnd.google.protobuf;proto=x;encoding=delimited", text},
      // Blanks, case and quotes.
      {"\t application/openmetrics-text ;\tversion = 1.0.0 ; q=0.5 , text/plain ; q = 0.4 ", open_metrics},
      {"Application/OpenMetrics-Text;VERSION=1.0.0;Q=0.5,TEXT/PLAIN;Q=0.4", open_metrics},
      {R"(application/openmetrics-text;version="1.0.0")", open_metrics},
      {R"(application/openmetrics-text;version="1\.0.0")", open_metrics},
      {R"(x/y;a="b,c;d\",application/openmetrics-text;version=1.0.0",text/plain;version=1.0.0;q=0.1)", text_1},
      {R"(x/y;a="no end,application/openmetrics-text)", text},
      {R"(application/openmetrics-text;version=1.0.0;a="\)", open_metrics},
      {",,application/openmetrics-text;;;version=1.0.0;,,", open_metrics},
      // What is preferred.
      {"text/plain;q=0.5,application/openmetrics-text;q=0.6", draft},
      {"text/plain;q=0.6,application/openmetrics-text;q=0.5", text},
      {"text/plain,application/openmetrics-text", text},
      {"application/openmetrics-text,text/plain", draft},
      {"*/*,application/openmetrics-text", draft},
      {"text/*,application/openmetrics-text", draft},
      {"*/*;q=0.9,application/openmetrics-text;q=0.8", text},
      {"*/*;escaping=allow-utf-8,text/*", text},
      {"*/*;q=2,application/openmetrics-text", draft},
      {"text/plain;q=7,application/openmetrics-text;q=1", text},
      {"application/openmetrics-text;q=0.001", draft},
      // What is not acceptable.
      {"application/openmetrics-text;q=0", text},
      {"application/openmetrics-text;version=1.0.0;q=0.000,application/openmetrics-text;version=0.0.1;q=0.1", draft},
      {"text/plain;q=0,application/openmetrics-text;q=0.1", draft},
      {"application/openmetrics-text;q=", text},
      {"application/openmetrics-text;q", text},
      {"application/openmetrics-text;q=-1", text},
      {"application/openmetrics-text;q=high", text},
      {"application/openmetrics-text;q=nan", text},
      {"application/openmetrics-text;q=inf", text},
      {"application/openmetrics-text;q=1e-1", text},
      {"application/openmetrics-text;q=0.5.5", text},
      {"application/openmetrics-text;q=0,5", text},
      // Escaping.
      {"text/plain;escaping=allow-utf-8", text_utf8},
      {"text/plain;escaping=underscores", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
      {"text/plain;escaping=dots", "text/plain; version=0.0.4; charset=utf-8; escaping=dots"},
      {"text/plain;escaping=\"values\"", "text/plain; version=0.0.4; charset=utf-8; escaping=values"},
      {"text/plain;escaping=something", text},
      {"text/plain;escaping=", text},
      {"text/plain;escaping=something;escaping=allow-utf-8", text_utf8},
      {"text/plain;escaping=allow-utf-8;escaping=something", text_utf8},
      {"text/plain;version=1.0.0;escaping=something", text_1},
      {"*/*;escaping=allow-utf-8", text_utf8},
      {"application/openmetrics-text;version=1.0.0,text/plain;escaping=allow-utf-8;q=0.5", open_metrics},
      {"x/y;escaping=allow-utf-8,application/openmetrics-text;version=1.0.0;q=0.5", open_metrics},
  };
  for (const Row& row : table) {
    INFO(row.accept);
    CHECK(chosen(row.accept, everything) == row.content_type);
  }
}

TEST_CASE("the escaping that wins is that of the winning clause") {
  CHECK(negotiate("").escaping == Escaping::underscores);
  CHECK(negotiate("text/plain;escaping=dots,*/*;escaping=values").escaping == Escaping::dots);
  CHECK(negotiate("text/plain;escaping=dots;q=0.1,*/*;escaping=values").escaping == Escaping::values);
  CHECK(negotiate("text/plain;escaping=allow-utf-8;q=0").escaping == Escaping::underscores);
}

TEST_CASE("what is not switched on is not offered") {
  CHECK(chosen("application/openmetrics-text;version=2.0.0") == text);
  const FormatOptions created{.created_lines = true};
  CHECK_FALSE(negotiate("application/openmetrics-text").created_lines);
  CHECK(negotiate("application/openmetrics-text", created).created_lines);
  CHECK_FALSE(negotiate("text/plain", created).created_lines);
}

TEST_CASE("a page says what it is, whichever format wins") {
  const auto registry = page::empty_registry();
  registry.counter({.name = "orders_total", .help = "Orders."}).inc(3);
  quipu::Page page = quipu::render(registry, "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8");
  CHECK(page.content_type == open_metrics_utf8);
  CHECK(page.body == "# TYPE orders counter\n# HELP orders Orders.\norders_total 3\n# EOF\n");
  page = quipu::render(registry, "text/plain;version=1.0.0");
  CHECK(page.content_type == text_1);
  CHECK(page.body == "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total 3\n");
}

TEST_CASE("any bytes are an Accept header, and are read quickly") {
  const std::vector<std::string_view> pieces = {"application/openmetrics-text",
                                                "text/plain",
                                                "*/*",
                                                "version=1.0.0",
                                                "escaping=allow-utf-8",
                                                "q=0.5",
                                                "q=2",
                                                "q=",
                                                ",",
                                                ";",
                                                "=",
                                                "\"",
                                                "\\",
                                                " ",
                                                "\t",
                                                "\xFF",
                                                std::string_view("\0", 1)};
  std::mt19937 random(20260901);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20'000; ++i) {
    std::string accept;
    for (std::size_t n = below(40); n > 0; --n) {
      if (below(4) == 0) {
        accept += static_cast<char>(below(256));
      } else {
        accept += pieces[below(pieces.size())];
      }
    }
    const Format format = negotiate(accept, everything);
    const std::string type = quipu::detail::content_type(format);
    const bool is_known = type.starts_with("text/plain; version=") ||
                          type.starts_with("application/openmetrics-text; version=") || type.starts_with(protobuf);
    if (!is_known || type.find("escaping") != type.rfind("escaping")) {
      INFO(accept);
      CHECK(type == "");
    }
  }
  // As long as no server sends, and of what takes longest.
  for (const std::string_view piece : pieces) {
    std::string accept;
    while (accept.size() < 1'000'000) accept += piece;
    static_cast<void>(negotiate(accept, everything));
    static_cast<void>(negotiate("text/plain;q=\"" + accept, everything));
  }
  // In a time that is not linear these would take hours.
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::minutes(2));
}

#include "base/json.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "catch.hpp"

namespace {

std::string json_text(std::string_view text) {
  std::string out;
  quipu::detail::append_json_text(out, text);
  return out;
}

std::string number(double value) {
  std::string out;
  quipu::detail::append_json_number(out, value);
  return out;
}

}  // namespace

TEST_CASE("JSON text is in quotes, with quotes, backslashes and control characters escaped") {
  CHECK(json_text("") == R"("")");
  CHECK(json_text("plain / text") == R"("plain / text")");
  CHECK(json_text("a \"b\" \\c") == R"("a \"b\" \\c")");
  CHECK(json_text("\b\f\n\r\t") == R"("\b\f\n\r\t")");
  CHECK(json_text(std::string_view("\0\x01\x1F\x7F", 4)) == "\"\\u0000\\u0001\\u001f\x7F\"");
}

TEST_CASE("JSON text keeps UTF-8, and has U+FFFD for what is none") {
  CHECK(json_text("Zürich 🙂") == "\"Zürich 🙂\"");
  CHECK(json_text("a\xFF"
                  "b\xC3") ==
        "\"a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD\"");
  CHECK(json_text("\xED\xA0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // a surrogate
}

TEST_CASE("JSON text is appended to what is there") {
  std::string out = "[";
  quipu::detail::append_json_text(out, "x");
  CHECK(out == "[\"x\"");
}

TEST_CASE("a JSON number has the shortest digits; NaN and infinities, which JSON does not have, are null") {
  CHECK(number(0.1) == "0.1");
  CHECK(number(-12) == "-12");
  CHECK(number(1e300) == "1e+300");
  CHECK(number(std::numeric_limits<double>::quiet_NaN()) == "null");
  CHECK(number(-std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("a JSON time is UTC, to the millisecond, rounded down") {
  using namespace std::chrono_literals;
  const auto text = [](std::chrono::nanoseconds since_epoch) {
    std::string out;
    quipu::detail::append_json_time(out,
                                    std::chrono::system_clock::time_point(
                                        std::chrono::duration_cast<std::chrono::system_clock::duration>(since_epoch)));
    return out;
  };
  CHECK(text(0ns) == R"("1970-01-01T00:00:00.000Z")");
  CHECK(text(1'769'851'800'125'999'999ns) == R"("2026-01-31T09:30:00.125Z")");
  CHECK(text(-1ns) == R"("1969-12-31T23:59:59.999Z")");
  CHECK(text(951'782'399s) == R"("2000-02-28T23:59:59.000Z")");
  CHECK(text(951'782'400s) == R"("2000-02-29T00:00:00.000Z")");
}

TEST_CASE("a JSON object has what was added, in that order, with escapes in names as well") {
  std::string out;
  {
    quipu::detail::JsonObject object(out);
    object.add("a\"b", "text");
    object.add("real", 0.5);
    object.add("whole", std::uint64_t{18446744073709551615u});
    object.add("negative", std::int64_t{-1});
    object.add("is_true", true);
    quipu::detail::JsonObject(object.key("empty"));
  }
  CHECK(out == R"({"a\"b":"text","real":0.5,"whole":18446744073709551615,"negative":-1,"is_true":true,"empty":{}})");
}

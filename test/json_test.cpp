#include "json.hpp"

#include <limits>
#include <string>
#include <string_view>

#include "catch.hpp"

using quipu::detail::json_text;

namespace {

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

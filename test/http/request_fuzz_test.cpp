#include <array>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "fuzz/inputs.hpp"
#include "fuzz/request_head_properties.hpp"

// What the fuzzer checks, for the same bytes every time.

namespace {

/// Pieces of request heads.
constexpr std::array<std::string_view, 30> pieces = {"\r\n",
                                                     "\n",
                                                     "\r",
                                                     "\r\n\r\n",
                                                     " ",
                                                     "\t",
                                                     ":",
                                                     "%",
                                                     "%41",
                                                     "%00",
                                                     "%5B",
                                                     "?name[]=",
                                                     "&name%5b%5D=",
                                                     "+",
                                                     "#",
                                                     "/",
                                                     "http://x",
                                                     "GET ",
                                                     "HEAD ",
                                                     " HTTP/1.1",
                                                     " HTTP/1.0",
                                                     " HTTP/2.0",
                                                     "Host: x\r\n",
                                                     "Accept: a,\r\n",
                                                     "Accept-Encoding: gzip;q=0.5\r\n",
                                                     "Connection: close\r\n",
                                                     "Content-Length: 0\r\n",
                                                     "Transfer-Encoding: chunked\r\n",
                                                     "X-Prometheus-Scrape-Timeout-Seconds: 1\r\n",
                                                     "\x80"};

TEST_CASE("what holds for every request head holds for the corpus", "[request]") {
  const auto heads = fuzz::corpus("request_head");
  REQUIRE(heads.size() >= 5);
  for (const std::string& head : heads) {
    CAPTURE(head);
    CHECK(request_head_properties::check(head).empty());
  }
}

TEST_CASE("what holds for every request head holds for changed ones", "[request]") {
  const auto heads = fuzz::corpus("request_head");
  fuzz::Mutator mutator(pieces);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string head = mutator.next(heads);
    const std::string wrong = request_head_properties::check(head);
    if (!wrong.empty()) {
      CAPTURE(head);
      FAIL_CHECK(wrong);
    }
    const auto parsed = quipu::http::parse_head(head);
    if (parsed) ++(parsed->request.error_status == 0 ? accepted : refused);
  }
  CHECK(accepted > 1000);
  CHECK(refused > 1000);
}

}  // namespace

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fuzz/request_head_properties.hpp"

// What the fuzzer checks, for the same bytes every time.

namespace {

std::vector<std::string> corpus() {
  std::vector<std::string> heads;
  for (const auto& file : std::filesystem::directory_iterator(QUIPU_TEST_DIR "/fuzz/corpus/request_head")) {
    std::ifstream stream(file.path(), std::ios::binary);
    heads.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  std::sort(heads.begin(), heads.end());
  return heads;
}

/// Changes that reach into the parser more often than random bytes do.
class Mutator {
 public:
  void mutate(std::string& head, const std::string& other) {
    static constexpr std::array<std::string_view, 30> pieces = {"\r\n",
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
    const std::size_t at = below(head.size() + 1);
    switch (below(6)) {
      case 0:
        head.insert(at, pieces[below(pieces.size())]);
        return;
      case 1:
        head.erase(at, 1 + below(8));
        return;
      case 2:
        head.insert(at, 1, static_cast<char>(below(256)));
        return;
      case 3:
        if (at < head.size()) head[at] = static_cast<char>(below(256));
        return;
      case 4:
        head.insert(at, head.substr(below(head.size() + 1), below(40)));
        return;
      default:
        head = head.substr(0, at) + other.substr(below(other.size() + 1));
    }
  }

  std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  std::minstd_rand random_{1};
};

TEST_CASE("what holds for every request head holds for the corpus", "[request]") {
  const auto heads = corpus();
  REQUIRE(heads.size() >= 5);
  for (const std::string& head : heads) {
    CAPTURE(head);
    CHECK(request_head::check(head).empty());
  }
}

TEST_CASE("what holds for every request head holds for changed ones", "[request]") {
  const auto heads = corpus();
  Mutator mutator;
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string head = heads[mutator.below(heads.size())];
    for (std::size_t i = mutator.below(4) + 1; i > 0; --i) mutator.mutate(head, heads[mutator.below(heads.size())]);
    const std::string wrong = request_head::check(head);
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

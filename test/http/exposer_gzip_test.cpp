#include <zlib.h>

#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "catch.hpp"
#include "quipu/exposer.hpp"
#include "support/http_client.hpp"

// Compressed pages.

namespace {

using quipu::Exposer;
using quipu::Page;
using namespace http_client;

std::string inflated(const std::string& bytes) {
  z_stream state{};
  if (::inflateInit2(&state, 15 + 16) != Z_OK) throw std::runtime_error("inflateInit2");
  std::string input = bytes;
  state.next_in = reinterpret_cast<Bytef*>(input.data());
  state.avail_in = static_cast<uInt>(input.size());
  std::string output;
  std::string some(100'000, '\0');
  int result = Z_OK;
  while (result == Z_OK) {
    state.next_out = reinterpret_cast<Bytef*>(some.data());
    state.avail_out = static_cast<uInt>(some.size());
    result = ::inflate(&state, Z_NO_FLUSH);
    output.append(some, 0, some.size() - state.avail_out);
  }
  const bool is_all = state.avail_in == 0;
  ::inflateEnd(&state);
  return result == Z_STREAM_END && is_all ? output : "(not one whole gzip member)";
}

bool is_compressed(const Answer& answer) { return answer.header("Content-Encoding") == "gzip"; }

TEST_CASE("a compressed page is the page", "[exposer][gzip]") {
  const int count = GENERATE(1, 3, 20, 128, 3000);
  const std::size_t size = 8191;
  const Exposer exposer(pieces(count, size), {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics", "Accept-Encoding: gzip\r\n");
  CHECK(answer.status == 200);
  CHECK(is_compressed(answer));
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK(answer.header("Content-Type") == text_type);
  CHECK(answer.is_whole);
  CHECK((inflated(answer.body) == Pieces::whole(count, size)));
  CHECK(answer.body.size() < Pieces::whole(count, size).size() / 2);

  const Answer head = ask(exposer, "HEAD /metrics", "Accept-Encoding: gzip\r\n");
  CHECK(head.headers == answer.headers);
  CHECK(head.body.empty());
}

TEST_CASE("a page that does not compress arrives in chunks, whole", "[exposer][gzip]") {
  std::string noise;
  for (unsigned long long state = 1; noise.size() < std::size_t{3} << 20;) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    noise += static_cast<char>(state >> 56U);
  }
  const Exposer exposer(pages([&noise](std::string_view) {
                          return Page{std::string(text_type), noise};
                        }),
                        {.listen = any_port});
  const Answer answer = ask(exposer, "GET /metrics", "Accept-Encoding: gzip\r\n");
  CHECK(answer.header("Transfer-Encoding") == "chunked");
  CHECK((inflated(answer.body) == noise));
  const std::string old = "GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
  const Answer whole = parse(Client(exposer.port()).send(old).receive());
  CHECK((inflated(whole.body) == noise));
}

TEST_CASE("a page is compressed for those who prefer it", "[exposer][gzip]") {
  const std::string body(10'000, 'x');
  const Exposer exposer(pages([&body](std::string_view) {
                          return Page{std::string(text_type), body};
                        }),
                        {.listen = any_port});
  const auto check = [&](const std::string& encodings, bool expected) {
    CAPTURE(encodings);
    const Answer answer = ask(exposer, "GET /metrics", "Accept-Encoding: " + encodings + "\r\n");
    CHECK(is_compressed(answer) == expected);
    CHECK(((expected ? inflated(answer.body) : answer.body) == body));
    CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  };
  for (const auto* const taken :
       {"gzip", "GZip", "x-gzip", "*", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.001",
        "gzip; q=1", "deflate , gzip", "identity;q=0.5, gzip", "identity, gzip", "gzip;q=0.5, identity;q=0.5",
        "identity;q=0, *", "br;q=0, *;q=0.3", "gzip;Q=0.7", "gzip;q=1.5", "gzip\r\nAccept-Encoding: br", ",gzip,,",
        "x-gzip;q=0, gzip"}) {
    check(taken, true);
  }
  for (const auto* const refused : {"",
                                    "identity",
                                    "br",
                                    "deflate",
                                    "gzip;q=0",
                                    "gzip;q=0.0",
                                    "gzip;q=0.000",
                                    "gzip;q=0, *",
                                    "*, gzip;q=0",
                                    "*;q=0",
                                    "x-gzip;q=0",
                                    "gzip;q=0, x-gzip",
                                    "gzip;q=0.5, identity;q=0.8",
                                    "gzip;q=0.5, identity",
                                    "gzip;q=0.5, *",
                                    "gzip;q=",
                                    "gzip;q=x",
                                    "gzip;q=-1",
                                    "gzip;q=nan",
                                    "gzip, gzip;q=0",
                                    "gzipped",
                                    "xgzip",
                                    "gzip2, zgzip",
                                    "identity;q=0"}) {
    check(refused, false);
  }
  const Answer plain = ask(exposer, "GET /metrics");
  CHECK_FALSE(is_compressed(plain));
  CHECK((plain.body == body));
}

TEST_CASE("a compressed page that fails is never taken for a whole one", "[exposer][gzip]") {
  // What does not compress, so that some of it is sent by then.
  std::string noise = Pieces::piece(0, 65536);
  std::uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24U);
  class Failing final : public quipu::PageStream {
   public:
    Failing(const std::string& piece, int count) : piece_(piece), left_(count) {}
    [[nodiscard]] std::string_view content_type() const noexcept override { return text_type; }
    [[nodiscard]] std::string_view next() override {
      if (left_-- == 0) throw std::bad_alloc();
      return piece_;
    }

   private:
    const std::string& piece_;
    int left_;
  };
  for (const int good : {0, 1, 50}) {
    const Exposer exposer([&](const quipu::ScrapeRequest&) { return std::make_unique<Failing>(noise, good); },
                          {.listen = any_port});
    Client client(exposer.port());
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
    if (good < 2) {
      CHECK(client.answer().status == 500);
    } else {
      CHECK_THROWS_AS(client.answer(), std::runtime_error);
    }
  }
}

TEST_CASE("what is short, or no page, is not compressed", "[exposer][gzip]") {
  const std::string gzip = "Accept-Encoding: gzip\r\n";
  const Exposer small(pages(small_page), {.listen = any_port});
  for (const auto* const target : {"/metrics", "/", "/missing"}) {
    const Answer answer = ask(small, std::string("GET ") + target, gzip);
    CHECK(answer.all("Content-Encoding").empty());
    CHECK(answer.header("Content-Length") == std::to_string(answer.body.size()));
  }
  CHECK(ask(small, "GET /metrics", gzip).body == "up 1\n");
  const Exposer in_pieces(pieces(11, 93), {.listen = any_port});  // one byte short of 1 KiB
  CHECK_FALSE(is_compressed(ask(in_pieces, "GET /metrics", gzip)));
  CHECK(ask(in_pieces, "GET /metrics", gzip).body == Pieces::whole(11, 93));
  const Exposer longer(pieces(11, 94), {.listen = any_port});
  const Answer answer = ask(longer, "GET /metrics", gzip);
  CHECK(is_compressed(answer));
  CHECK(inflated(answer.body) == Pieces::whole(11, 94));
  const Exposer empty(pages([](std::string_view) { return Page{std::string(text_type), ""}; }), {.listen = any_port});
  CHECK(ask(empty, "GET /metrics", gzip).header("Content-Length") == "0");
}

TEST_CASE("compression can be switched off", "[exposer][gzip]") {
  const Exposer exposer(pieces(4, 10'000), {.listen = any_port, .gzip = false});
  const Answer answer = ask(exposer, "GET /metrics", "Accept-Encoding: gzip\r\n");
  CHECK_FALSE(is_compressed(answer));
  CHECK(answer.header("Vary") == "Accept, Accept-Encoding");
  CHECK((answer.body == Pieces::whole(4, 10'000)));
}

}  // namespace

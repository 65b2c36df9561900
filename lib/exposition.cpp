#include "quipu/exposition.hpp"

#include <atomic>
#include <memory>

#include "quipu/registry.hpp"
#include "text_encoder.hpp"

namespace quipu {

namespace {

// Every Accept header is answered with the one format there is: a server that wants another reads the Content-Type.
void render_into(Page& page, const Registry& registry) {
  page.content_type = detail::text_content_type;
  detail::TextEncoder encoder(page.body);
  registry.collect(encoder);
  encoder.finish();
}

}  // namespace

Page render(const Registry& registry, std::string_view /*accept*/) {
  Page page;
  render_into(page, registry);
  return page;
}

PageSource page_source(const Registry& registry) {
  // A page is about as long as the one before: room for it is made at once, not by copying it several times as it
  // grows.
  auto last_size = std::make_shared<std::atomic<std::size_t>>(0);
  return [registry, last_size](std::string_view /*accept*/) {
    Page page;
    const std::size_t expected = last_size->load(std::memory_order_relaxed);
    page.body.reserve(expected + expected / 16);
    render_into(page, registry);
    last_size->store(page.body.size(), std::memory_order_relaxed);
    return page;
  };
}

}  // namespace quipu

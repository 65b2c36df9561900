#include "quipu/exposition.hpp"

#include "quipu/registry.hpp"
#include "text_encoder.hpp"

namespace quipu {

// Every Accept header is answered with the one format there is: a server that wants another reads the Content-Type.
Page render(const Registry& registry, std::string_view /*accept*/) {
  Page page{std::string(detail::text_content_type), {}};
  detail::TextEncoder encoder(page.body);
  registry.collect(encoder);
  encoder.finish();
  return page;
}

PageSource page_source(const Registry& registry) {
  return [registry](std::string_view accept) { return render(registry, accept); };
}

}  // namespace quipu

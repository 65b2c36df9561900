#include "quipu/exposition.hpp"

#include <utility>

#include "quipu/registry.hpp"
#include "registry_core.hpp"
#include "text_encoder.hpp"

namespace quipu {

namespace {

class WholePage final : public PageStream {
 public:
  explicit WholePage(Page page) : page_(std::move(page)) {}

  [[nodiscard]] std::string_view content_type() const noexcept override { return page_.content_type; }
  [[nodiscard]] std::string_view next() override {
    return std::exchange(is_taken_, true) ? std::string_view() : std::string_view(page_.body);
  }

 private:
  const Page page_;
  bool is_taken_ = false;
};

}  // namespace

std::unique_ptr<PageStream> open_page(const Registry& registry, const ScrapeRequest& request) {
  return open_page(render(registry, request));
}

std::unique_ptr<PageStream> open_page(Page page) { return std::make_unique<WholePage>(std::move(page)); }

Page render(const Registry& registry, std::string_view accept) {
  return render(registry, ScrapeRequest{.accept = accept});
}

Page render(const Registry& registry, const ScrapeRequest& request) {
  Page page;
  render(registry, request, page);
  return page;
}

void render(const Registry& registry, const ScrapeRequest& request, Page& into) {
  into.content_type = detail::text_content_type;
  into.body.clear();
  detail::TextEncoder encoder(into.body);
  registry.core()->collect(encoder, request.deadline);
  encoder.finish();
}

PageSource page_source(const Registry& registry) {
  return [registry](const ScrapeRequest& request) { return open_page(registry, request); };
}

}  // namespace quipu

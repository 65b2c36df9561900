#include "quipu/exposition.hpp"

#include <utility>

#include "exposition/encoders.hpp"
#include "quipu/registries.hpp"
#include "quipu/registry.hpp"
#include "registry/joined_registries.hpp"
#include "registry/registry_core.hpp"
#include "registry/scope_access.hpp"
#include "registry/scrape.hpp"

namespace quipu {
namespace {

/// As much as a socket takes at once, and small enough to stay in the processor's cache.
constexpr std::size_t piece_size = std::size_t{64} * 1024;
constexpr std::size_t beyond = piece_size / 4;  // what is shown last may go over the limit

class RegistryPage final : public PageStream {
 public:
  RegistryPage(std::shared_ptr<detail::RegistryCore> registry, const ScrapeRequest& request)
      : format_(detail::negotiate(request.accept, registry->formats())), scrape_(std::move(registry), request) {}
  RegistryPage(std::shared_ptr<detail::JoinedRegistries> registries, const ScrapeRequest& request)
      : format_(detail::negotiate(request.accept, registries->registries().front()->formats())),
        scrape_(std::move(registries), request) {}

  [[nodiscard]] std::string_view content_type() const noexcept override { return content_type_; }

  [[nodiscard]] std::string_view next() override {
    buffer_.clear();
    while (!is_over_ && buffer_.size() < piece_size) {
      if (scrape_.show_some(*encoder_)) continue;
      encoder_->finish();
      is_over_ = true;
    }
    return buffer_.view();
  }

 private:
  const detail::Format format_;
  detail::Scrape scrape_;
  const std::string content_type_ = detail::content_type(format_);
  detail::PageBuffer buffer_{piece_size + beyond};
  const std::unique_ptr<detail::Encoder> encoder_ = detail::make_encoder(format_, buffer_);
  bool is_over_ = false;
};

void read_whole(std::unique_ptr<PageStream> page, Page& into) {
  into.content_type = page->content_type();
  into.body.clear();
  for (auto piece = page->next(); !piece.empty(); piece = page->next()) into.body += piece;
}

}  // namespace

std::unique_ptr<PageStream> open_page(const Registry& registry, const ScrapeRequest& request) {
  return std::make_unique<RegistryPage>(detail::ScopeAccess::core(registry), request);
}

std::unique_ptr<PageStream> open_page(const Registries& registries, const ScrapeRequest& request) {
  return std::make_unique<RegistryPage>(detail::RegistriesAccess::joined(registries), request);
}

void render(const Registry& registry, const ScrapeRequest& request, Page& into) {
  read_whole(open_page(registry, request), into);
}

Page render(const Registries& registries, const ScrapeRequest& request) {
  Page page;
  read_whole(open_page(registries, request), page);
  return page;
}

Page render(const Registry& registry, const ScrapeRequest& request) {
  Page page;
  render(registry, request, page);
  return page;
}

Page render(const Registry& registry, std::string_view accept) {
  return render(registry, ScrapeRequest{.accept = accept});
}

PageSource page_source(const Registries& registries) {
  return [registries](const ScrapeRequest& request) { return open_page(registries, request); };
}

PageSource page_source(const Registry& registry) {
  return [registry](const ScrapeRequest& request) { return open_page(registry, request); };
}

}  // namespace quipu

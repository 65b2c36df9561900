#include "registry/callback.hpp"

#include <string_view>
#include <utility>

namespace quipu::detail {
namespace {

class Callback final : public Collector {
 public:
  Callback(FamilyDescription family, std::vector<std::string> label_values, std::function<double()> read)
      : family_(std::move(family)), label_values_(std::move(label_values)), read_(std::move(read)) {}

  std::vector<FamilyDescription> describe() const override { return {family_}; }
  void collect(Samples& samples) override {
    const std::vector<std::string_view> values(label_values_.begin(), label_values_.end());
    samples.add(family_.name, values, read_());
  }

 private:
  const FamilyDescription family_;
  const std::vector<std::string> label_values_;
  const std::function<double()> read_;
};

}  // namespace

std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                         std::function<double()> read) {
  return std::make_shared<Callback>(std::move(family), std::move(label_values), std::move(read));
}

}  // namespace quipu::detail

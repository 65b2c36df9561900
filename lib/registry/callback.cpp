#include "registry/callback.hpp"

#include <utility>

namespace quipu::detail {
namespace {

class Callback final : public Collector {
 public:
  Callback(FamilyDescription family, std::vector<std::string> label_values, std::function<double()> read)
      : family_(std::move(family)), label_values_(std::move(label_values)), read_(std::move(read)) {}

  std::vector<FamilyDescription> describe() const override { return {family_}; }
  void collect(Samples& samples) override { samples.add(family_.name, label_values_, read_()); }

 private:
  const FamilyDescription family_;
  const std::vector<std::string> label_values_;
  const std::function<double()> read_;
};

class FunctionCollector final : public Collector {
 public:
  FunctionCollector(std::vector<FamilyDescription> families, std::function<void(Samples&)> collect)
      : families_(std::move(families)), collect_(std::move(collect)) {}

  std::vector<FamilyDescription> describe() const override { return families_; }
  void collect(Samples& samples) override { collect_(samples); }

 private:
  const std::vector<FamilyDescription> families_;
  const std::function<void(Samples&)> collect_;
};

}  // namespace

std::shared_ptr<Collector> make_collector(std::vector<FamilyDescription> families,
                                          std::function<void(Samples&)> collect) {
  return std::make_shared<FunctionCollector>(std::move(families), std::move(collect));
}

std::shared_ptr<Collector> make_callback(FamilyDescription family, std::vector<std::string> label_values,
                                         std::function<double()> read) {
  return std::make_shared<Callback>(std::move(family), std::move(label_values), std::move(read));
}

}  // namespace quipu::detail

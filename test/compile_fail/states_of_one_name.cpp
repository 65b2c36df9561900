// expect: two states of a StateSet have the same name
#include <quipu/quipu.hpp>

enum class Phase { starting, serving };
template <>
struct quipu::EnumLabels<Phase> {
  static constexpr std::array names = {"on", "on"};
};

int main() {
  quipu::Registry registry;
  registry.stateset<Phase>({.name = "phase"}).set(Phase::serving);
}

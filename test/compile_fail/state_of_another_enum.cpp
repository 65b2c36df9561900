// expect: Color
#include <quipu/quipu.hpp>

enum class Phase { starting, serving };
enum class Color { red };

int main() {
  quipu::Registry registry;
  registry.stateset<Phase>({.name = "phase"}).set(Color::red);
}

// expect: a label value is std::string_view
#include <quipu/quipu.hpp>

struct Point {};

int main() {
  quipu::Registry registry;
  registry.counter<Point>({.name = "x_total"}, {"at"})(Point{}).inc();
}

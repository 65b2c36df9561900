// expect: this label has an enum's values
#include <quipu/quipu.hpp>

enum class Method { get, post };
enum class Route { cart, shop };

int main() {
  quipu::Registry registry;
  registry.counter<Method>({.name = "requests_total"}, {"method"})(Route::cart).inc();
}

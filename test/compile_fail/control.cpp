// The control: correct use compiles.
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  auto events = registry.counter({.name = "events_total", .help = "Events."});
  events.inc();
}

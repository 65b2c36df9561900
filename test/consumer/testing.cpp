// A program that tests its numbers.
#include <quipu/quipu.hpp>
#include <quipu/testing.hpp>

int main() {
  const quipu::Registry registry;
  registry.counter({.name = "consumer_events_total", .help = "Events."}).inc();
  return quipu::testing::value_of(registry, "consumer_events_total") == 1 ? 0 : 1;
}

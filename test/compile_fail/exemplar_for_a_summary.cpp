// expect: quipu: a summary keeps no exemplars
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.summary({.name = "size_bytes"}).observe(12, quipu::Exemplar{{"trace_id", "4bf92f3577b34da6"}});
}

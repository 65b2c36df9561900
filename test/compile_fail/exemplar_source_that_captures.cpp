// expect: a source of exemplars is a lambda that captures nothing
#include <quipu/quipu.hpp>

int main() {
  const char* id = "4bf92f3577b34da6";
  quipu::Registry registry({.exemplars = [id] { return quipu::Exemplar{{"trace_id", id}}; }});
}

// expect: options are in braces
#include <quipu/quipu.hpp>

int main() {
  quipu::Registry registry;
  registry.info("build_info", {{"version", "1.2"}});
}

// expect: quipu: keep
#include <quipu/recorder.hpp>

int main() {
  quipu::Registry registry;
  quipu::Recorder().time("query");
}

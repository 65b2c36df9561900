// expect: a family has labels
#include <quipu/quipu.hpp>

void wrong(const quipu::Family<quipu::Counter>& family) { family.clear(); }

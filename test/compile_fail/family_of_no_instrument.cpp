// expect: has no specialisation of quipu::detail::InstrumentTraits
#include <quipu/quipu.hpp>

struct Meter {};

Meter wrong(const quipu::Family<Meter, std::string_view>& family) { return family("north"); }

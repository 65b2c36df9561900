// expect: a_name_made_at_run_time_is_quipu_runtime_of_its_text
#include <quipu/quipu.hpp>

quipu::Registry wrong(const char* prefix) { return quipu::Registry({.prefix = prefix}); }

#include "collectors/runtime_collector.hpp"

#include <sys/resource.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 33)
#define QUIPU_HAS_MALLINFO2
#include <malloc.h>
#endif
#endif

namespace quipu::detail {
namespace {

constexpr std::string_view allocator_bytes = "cxx_allocator_bytes";
constexpr std::string_view allocator_mapped_bytes = "cxx_allocator_mapped_bytes";
// Not a `mode` of process_cpu_seconds_total, which every client shows without one: sums of it would count twice.
constexpr std::string_view cpu_seconds = "cxx_cpu_seconds_total";

double seconds(const timeval& time) noexcept {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

class RuntimeCollector final : public Collector {
 public:
  [[nodiscard]] std::vector<FamilyDescription> describe() const override {
    return {
        {.name = std::string(allocator_bytes),
         .help = "Memory that malloc has taken from the system, by whether the program uses it, in bytes.",
         .labels = {"state"}},
        {.name = std::string(allocator_mapped_bytes),
         .help = "The part of the memory in use that is mapped for one allocation each, in bytes."},
        {.name = std::string(cpu_seconds),
         .help = "CPU time that the process has used, in seconds.",
         .type = MetricType::counter,
         .labels = {"mode"}},
    };
  }

  void collect(Samples& samples) override {
#ifdef QUIPU_HAS_MALLINFO2
    const struct mallinfo2 memory = ::mallinfo2();
    const auto show = [&](std::string_view state, std::size_t bytes) {
      samples.add(allocator_bytes, {state}, static_cast<std::uint64_t>(bytes));
    };
    show("free", memory.fordblks);
    show("in_use", memory.uordblks + memory.hblkhd);
    samples.add(allocator_mapped_bytes, static_cast<std::uint64_t>(memory.hblkhd));
#endif
    rusage usage{};
    if (::getrusage(RUSAGE_SELF, &usage) == 0) {
      samples.add(cpu_seconds, {"system"}, seconds(usage.ru_stime));
      samples.add(cpu_seconds, {"user"}, seconds(usage.ru_utime));
    }
  }
};

}  // namespace

std::shared_ptr<Collector> make_runtime_collector() { return std::make_shared<RuntimeCollector>(); }

}  // namespace quipu::detail

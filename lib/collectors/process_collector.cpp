#include "collectors/process_collector.hpp"

#ifdef __linux__

#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/proc.hpp"
#include "base/text.hpp"

#endif

namespace quipu::detail {

#ifdef __linux__

namespace {

constexpr std::uint64_t max_whole = std::numeric_limits<std::uint64_t>::max();

constexpr std::string_view cpu_seconds = "process_cpu_seconds_total";
constexpr std::string_view open_fds = "process_open_fds";
constexpr std::string_view max_fds = "process_max_fds";
constexpr std::string_view virtual_memory = "process_virtual_memory_bytes";
constexpr std::string_view max_virtual_memory = "process_virtual_memory_max_bytes";
constexpr std::string_view resident_memory = "process_resident_memory_bytes";
constexpr std::string_view start_time = "process_start_time_seconds";
constexpr std::string_view received_bytes = "process_network_receive_bytes_total";
constexpr std::string_view sent_bytes = "process_network_transmit_bytes_total";

/// The soft limit on a line of /proc/self/limits.
std::optional<std::uint64_t> soft_limit(std::string_view limits, std::string_view name) noexcept {
  while (!limits.empty()) {
    auto line = take_until(limits, '\n');
    if (!line.starts_with(name)) continue;
    line.remove_prefix(name.size());
    const auto limit = take_word(line);
    return limit == "unlimited" ? max_whole : to_number<std::uint64_t>(limit);
  }
  return std::nullopt;
}

/// A value of /proc/self/net/netstat, where a line of names is followed by a line of values.
std::optional<std::uint64_t> netstat_value(std::string_view netstat, std::string_view protocol,
                                           std::string_view name) noexcept {
  while (!netstat.empty()) {
    auto names = take_until(netstat, '\n');
    if (take_word(names) != protocol) continue;
    auto values = take_until(netstat, '\n');
    if (take_word(values) != protocol) continue;
    while (!names.empty()) {
      const auto value = take_word(values);
      if (take_word(names) == name) return to_number<std::uint64_t>(value);
    }
  }
  return std::nullopt;
}

/// The boot time of /proc/stat, in seconds since the epoch.
std::optional<std::uint64_t> boot_time(std::string_view stat) noexcept {
  while (!stat.empty()) {
    auto line = take_until(stat, '\n');
    if (take_word(line) == "btime") return to_number<std::uint64_t>(take_word(line));
  }
  return std::nullopt;
}

/// The number of file descriptors in a folder, without the one that reads it.
std::optional<std::uint64_t> count_fds(const std::string& path) noexcept {
  DIR* const folder = ::opendir(path.c_str());
  if (folder == nullptr) return std::nullopt;
  const auto own = static_cast<std::uint64_t>(::dirfd(folder));
  std::uint64_t count = 0;
  errno = 0;
  while (const dirent* const entry = ::readdir(folder)) {
    const auto fd = to_number<std::uint64_t>(entry->d_name);
    if (fd && *fd != own) ++count;
  }
  const bool is_complete = errno == 0;
  ::closedir(folder);
  if (!is_complete) return std::nullopt;
  return count;
}

template <class Value>
void show(Samples& samples, std::string_view family, const std::optional<Value>& value) {
  if (value) samples.add(family, Number(*value));
}

class ProcessCollector final : public Collector {
 public:
  explicit ProcessCollector(std::string root) noexcept : root_(std::move(root)) {}

  [[nodiscard]] std::vector<FamilyDescription> describe() const override {
    const auto family = [](std::string_view name, std::string_view help, MetricType type) {
      return FamilyDescription{.name = std::string(name), .help = std::string(help), .type = type};
    };
    return {
        family(cpu_seconds, "CPU time that the process has used, user and system, in seconds.", MetricType::counter),
        family(open_fds, "File descriptors that are open.", MetricType::gauge),
        family(max_fds, "File descriptors that may be open at most.", MetricType::gauge),
        family(virtual_memory, "Size of the virtual memory, in bytes.", MetricType::gauge),
        family(max_virtual_memory, "Size that the virtual memory may have at most, in bytes.", MetricType::gauge),
        family(resident_memory, "Size of the resident memory, in bytes.", MetricType::gauge),
        family(start_time, "When the process started, in seconds since the Unix epoch.", MetricType::gauge),
        family(received_bytes, "Bytes received over the network, in the network namespace of the process.",
               MetricType::counter),
        family(sent_bytes, "Bytes sent over the network, in the network namespace of the process.",
               MetricType::counter),
    };
  }

  void collect(Samples& samples) override {
    show(samples, open_fds, count_fds(root_ + "/self/fd"));

    const auto stat = read_file(root_ + "/self/stat");
    show(samples, cpu_seconds, cpu_time(stat));
    show(samples, virtual_memory, stat_field(stat, 23));
    show(samples, resident_memory, resident_size(stat));
    show(samples, start_time, started(stat));

    const auto limits = read_file(root_ + "/self/limits");
    show(samples, max_fds, soft_limit(limits, "Max open files "));
    show(samples, max_virtual_memory, soft_limit(limits, "Max address space "));

    const auto netstat = read_file(root_ + "/self/net/netstat");
    show(samples, received_bytes, netstat_value(netstat, "IpExt:", "InOctets"));
    show(samples, sent_bytes, netstat_value(netstat, "IpExt:", "OutOctets"));
  }

 private:
  [[nodiscard]] std::optional<double> cpu_time(std::string_view stat) const noexcept {
    const auto user = stat_field(stat, 14);
    const auto system = stat_field(stat, 15);
    if (!user || !system) return std::nullopt;
    return (static_cast<double>(*user) + static_cast<double>(*system)) / ticks_per_second_;
  }

  [[nodiscard]] std::optional<std::uint64_t> resident_size(std::string_view stat) const noexcept {
    const auto pages = stat_field(stat, 24);
    if (!pages || *pages > max_whole / page_size_) return std::nullopt;
    return *pages * page_size_;
  }

  [[nodiscard]] std::optional<double> started(std::string_view stat) {
    const auto ticks_after_boot = stat_field(stat, 22);
    const auto booted = remembered_boot_time();
    if (!ticks_after_boot || !booted) return std::nullopt;
    return static_cast<double>(*booted) + static_cast<double>(*ticks_after_boot) / ticks_per_second_;
  }

  /// Remembered, because the kernel's answer changes when the clock is set. The ticks since boot are not remembered,
  /// because a forked child has others.
  [[nodiscard]] std::optional<std::uint64_t> remembered_boot_time() {
    auto remembered = boot_time_.load(std::memory_order_relaxed);
    if (remembered != unknown) return remembered;
    const auto read = boot_time(read_file(root_ + "/stat"));
    if (!read) return std::nullopt;
    // If two first scrapes run at once, both show the value that one of them read.
    if (boot_time_.compare_exchange_strong(remembered, *read, std::memory_order_relaxed)) return read;
    return remembered;
  }

  static constexpr std::uint64_t unknown = max_whole;

  const std::string root_;
  const double ticks_per_second_ = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::uint64_t page_size_ = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::atomic<std::uint64_t> boot_time_{unknown};
};

}  // namespace

std::shared_ptr<Collector> make_process_collector(std::string root) {
  return std::make_shared<ProcessCollector>(std::move(root));
}

#else

namespace {

class EmptyCollector final : public Collector {
 public:
  [[nodiscard]] std::vector<FamilyDescription> describe() const override { return {}; }
  void collect(Samples&) override {}
};

}  // namespace

std::shared_ptr<Collector> make_process_collector(std::string) { return std::make_shared<EmptyCollector>(); }

#endif

}  // namespace quipu::detail

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
#include <vector>

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

constexpr std::string_view heap = "process_heap_bytes";
constexpr std::string_view threads = "process_threads";
constexpr std::string_view peak_resident_memory = "process_resident_memory_peak_bytes";
constexpr std::string_view peak_virtual_memory = "process_virtual_memory_peak_bytes";

struct IoFamily {
  std::string_view name;
  std::string_view help;
  std::string_view key;  // in /proc/self/io
};

constexpr IoFamily io_families[] = {
    {"process_io_read_bytes_total", "Bytes read by system calls, from files, sockets and all else.", "rchar:"},
    {"process_io_written_bytes_total", "Bytes written by system calls, to files, sockets and all else.", "wchar:"},
    {"process_io_read_syscalls_total", "System calls that read.", "syscr:"},
    {"process_io_write_syscalls_total", "System calls that write.", "syscw:"},
    {"process_io_storage_read_bytes_total", "Bytes that were fetched from storage.", "read_bytes:"},
    {"process_io_storage_written_bytes_total", "Bytes that were caused to be sent to storage.", "write_bytes:"},
};

struct PressureFamilies {
  std::string_view resource;  // of the file cpu.pressure in a cgroup, and pressure/cpu in /proc
  std::string_view waiting;
  std::string_view stalled;
};

constexpr PressureFamilies pressure_families[] = {
    {"cpu", "process_pressure_cpu_waiting_seconds_total", "process_pressure_cpu_stalled_seconds_total"},
    {"io", "process_pressure_io_waiting_seconds_total", "process_pressure_io_stalled_seconds_total"},
    {"memory", "process_pressure_memory_waiting_seconds_total", "process_pressure_memory_stalled_seconds_total"},
};

/// What follows `key` on the first line that has it as its first word. Empty if there is none.
std::string_view line_of(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    auto line = take_until(text, '\n');
    if (take_word(line) == key) return line;
  }
  return {};
}

/// A number that follows its name on a line of its own.
std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) noexcept {
  auto line = line_of(text, key);
  return to_number<std::uint64_t>(take_word(line));
}

/// A size of /proc/self/status, in bytes.
std::optional<std::uint64_t> size_of(std::string_view status, std::string_view key) noexcept {
  auto line = line_of(status, key);
  const auto kibibytes = to_number<std::uint64_t>(take_word(line));
  if (!kibibytes || take_word(line) != "kB" || *kibibytes > max_whole / 1024) return std::nullopt;
  return *kibibytes * 1024;
}

/// The total of a line of pressure stall information: `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`, in µs.
std::optional<double> stalled_seconds(std::string_view pressure, std::string_view key) noexcept {
  auto line = line_of(pressure, key);
  while (!line.empty()) {
    auto word = take_word(line);
    if (take_until(word, '=') != "total") continue;
    const auto microseconds = to_number<std::uint64_t>(word);
    if (!microseconds) return std::nullopt;
    return static_cast<double>(*microseconds) / 1e6;
  }
  return std::nullopt;
}

/// The path of the process' cgroup of version 2 on its line of /proc/self/cgroup, `0::/path`.
std::optional<std::string_view> cgroup_path(std::string_view cgroups) noexcept {
  while (!cgroups.empty()) {
    const auto line = take_until(cgroups, '\n');
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return std::nullopt;
}

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
  ProcessCollector(ProcessFamilies families, std::string root, const std::string& cgroups)
      : families_(families), root_(std::move(root)), cgroup_(families.pressure ? own_cgroup(cgroups) : "") {}

  [[nodiscard]] std::vector<FamilyDescription> describe() const override {
    const auto family = [](std::string_view name, std::string_view help, MetricType type) {
      return FamilyDescription{.name = std::string(name), .help = std::string(help), .type = type};
    };
    std::vector<FamilyDescription> described;
    if (families_.standard)
      described = {
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
          family(heap, "Size of the writable private memory, which holds the heap, in bytes.", MetricType::gauge),
          family(threads, "Threads of the process.", MetricType::gauge),
      };
    if (families_.peaks) {
      described.push_back(
          family(peak_resident_memory, "Largest size of the resident memory so far, in bytes.", MetricType::gauge));
      described.push_back(
          family(peak_virtual_memory, "Largest size of the virtual memory so far, in bytes.", MetricType::gauge));
    }
    if (families_.io) {
      for (const IoFamily& one : io_families) described.push_back(family(one.name, one.help, MetricType::counter));
    }
    if (families_.pressure) {
      for (const PressureFamilies& one : pressure_families) {
        const std::string resource(one.resource);
        described.push_back(family(one.waiting, "Time in which some task had to wait for " + resource + ", in seconds.",
                                   MetricType::counter));
        described.push_back(family(one.stalled,
                                   "Time in which all tasks had to wait for " + resource + " at once, in seconds.",
                                   MetricType::counter));
      }
    }
    return described;
  }

  void collect(Samples& samples) override {
    if (families_.standard) collect_standard(samples);
    if (families_.peaks) {
      const auto status = read_file(root_ + "/self/status");
      show(samples, peak_resident_memory, size_of(status, "VmHWM:"));
      show(samples, peak_virtual_memory, size_of(status, "VmPeak:"));
    }
    if (families_.io) {
      const auto io = read_file(root_ + "/self/io");
      for (const IoFamily& one : io_families) show(samples, one.name, number_of(io, one.key));
    }
    if (families_.pressure) collect_pressure(samples);
  }

 private:
  void collect_standard(Samples& samples) {
    show(samples, open_fds, count_fds(root_ + "/self/fd"));

    const auto stat = read_file(root_ + "/self/stat");
    show(samples, cpu_seconds, cpu_time(stat));
    show(samples, virtual_memory, stat_field(stat, 23));
    show(samples, resident_memory, resident_size(stat));
    show(samples, start_time, started(stat));
    show(samples, threads, stat_field(stat, 20));
    show(samples, heap, size_of(read_file(root_ + "/self/status"), "VmData:"));

    const auto limits = read_file(root_ + "/self/limits");
    show(samples, max_fds, soft_limit(limits, "Max open files "));
    show(samples, max_virtual_memory, soft_limit(limits, "Max address space "));

    const auto netstat = read_file(root_ + "/self/net/netstat");
    show(samples, received_bytes, netstat_value(netstat, "IpExt:", "InOctets"));
    show(samples, sent_bytes, netstat_value(netstat, "IpExt:", "OutOctets"));
  }

  [[nodiscard]] std::string own_cgroup(const std::string& cgroups) const {
    const auto text = read_file(root_ + "/self/cgroup");
    const auto path = cgroup_path(text);
    if (!path) return "";
    std::string folder = cgroups + std::string(*path);
    return read_file(folder + "/cpu.pressure").empty() ? "" : folder;
  }

  void collect_pressure(Samples& samples) {
    for (const PressureFamilies& one : pressure_families) {
      const std::string resource(one.resource);
      const auto pressure =
          read_file(cgroup_.empty() ? root_ + "/pressure/" + resource : cgroup_ + "/" + resource + ".pressure");
      show(samples, one.waiting, stalled_seconds(pressure, "some"));
      show(samples, one.stalled, stalled_seconds(pressure, "full"));
    }
  }

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

  const ProcessFamilies families_;
  const std::string root_;
  // The folder of the process' cgroup if that tells of pressure, otherwise empty. It stays as it is found first,
  // because totals of another one could be lower.
  const std::string cgroup_;
  const double ticks_per_second_ = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const std::uint64_t page_size_ = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::atomic<std::uint64_t> boot_time_{unknown};
};

}  // namespace

std::shared_ptr<Collector> make_process_collector(ProcessFamilies families, std::string root, std::string cgroups) {
  return std::make_shared<ProcessCollector>(families, std::move(root), cgroups);
}

#else

namespace {

class EmptyCollector final : public Collector {
 public:
  [[nodiscard]] std::vector<FamilyDescription> describe() const override { return {}; }
  void collect(Samples&) override {}
};

}  // namespace

std::shared_ptr<Collector> make_process_collector(ProcessFamilies, std::string, std::string) {
  return std::make_shared<EmptyCollector>();
}

#endif

}  // namespace quipu::detail

#include "collectors/process_collector.hpp"

#include <string>
#include <string_view>

#include "catch.hpp"

#ifdef __linux__

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "quipu/registry.hpp"
#include "quipu/testing.hpp"
#include "support/page.hpp"

namespace {

using quipu::MetricType;
using quipu::detail::ProcessFamilies;

/// The samples of the process collector, by their family's name.
class Values : public quipu::Visitor {
 public:
  void family(const quipu::FamilyView& family) override { family_ = family.name; }
  void sample(const quipu::Sample& sample) override {
    CHECK(sample.labels.empty());
    CHECK(values_.emplace(family_, sample.value).second);
  }
  void histogram(const quipu::HistogramSample&) override { FAIL("a histogram"); }
  void summary(const quipu::SummarySample&) override { FAIL("a summary"); }

  [[nodiscard]] bool has(const std::string& family) const { return values_.count(family) == 1; }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] std::uint64_t whole(const std::string& family) const {
    INFO(family);
    REQUIRE(has(family));
    REQUIRE(values_.at(family).is_whole());
    return values_.at(family).whole();
  }
  [[nodiscard]] double real(const std::string& family) const {
    INFO(family);
    REQUIRE(has(family));
    REQUIRE_FALSE(values_.at(family).is_whole());
    return values_.at(family).real();
  }

 private:
  std::string family_;
  std::map<std::string, quipu::Number> values_;
};

/// A registry with a process collector alone.
class Process {
 public:
  explicit Process(const std::string& root = "/proc", ProcessFamilies families = {})
      : collector_(quipu::detail::make_process_collector(families, root, root + "/cgroups")),
        registration_(registry_.add(*collector_)) {}

  [[nodiscard]] Values scrape() const {
    Values values;
    registry_.collect(values);
    return values;
  }

 private:
  std::shared_ptr<quipu::Collector> collector_;
  quipu::Registry registry_{quipu::RegistryOptions{.process_metrics = false, .self_metrics = false}};
  quipu::Registration registration_;
};

/// A folder that looks like /proc.
class FakeProc {
 public:
  FakeProc() {
    auto name = (std::filesystem::temp_directory_path() / "quipu-proc-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = name;
    write("stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\nintr 5 6 7\nctxt 8\nbtime 1700000000\nprocesses 9\n");
    write_stat("(program)");
    write("self/limits",
          "Limit                     Soft Limit           Hard Limit           Units     \n"
          "Max cpu time              unlimited            unlimited            seconds   \n"
          "Max open files            1024                 524288               files     \n"
          "Max address space         8589934592           unlimited            bytes     \n");
    write("self/net/netstat",
          "TcpExt: SyncookiesSent InOctets\nTcpExt: 1 2\n"
          "IpExt: InNoRoutes InOctets OutOctets InMcastOctets\nIpExt: 3 45167661 45448 4\n"
          "MPTcpExt: InOctets\nMPTcpExt: 5\n");
    write("self/status",
          "Name:\tprogram\nVmPeak:\t    4000 kB\nVmSize:\t    3060 kB\nVmHWM:\t    2000 kB\n"
          "VmData:\t    1234 kB\nThreads:\t7\n");
    // Numbers that the collector's own descriptor cannot have.
    for (const auto* fd : {"1000001", "1000002", "1000003"}) write(std::string("self/fd/") + fd, "");
  }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;
  ~FakeProc() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  void write(const std::string& name, std::string_view text) const {
    const auto path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
  }
  void write_stat(const std::string& program, const std::string& user = "1234", const std::string& start = "160174",
                  const std::string& pages = "388") const {
    write("self/stat", "7398 " + program + " R 7391 7391 6803 0 -1 4194304 100 0 0 0 " + user + " 66 0 0 20 0 1 0 " +
                           start + " 3133440 " + pages +
                           " 18446744073709551615 94569203552256 94569203572137 0 0 0 0\n");
  }
  void remove(const std::string& name) const { std::filesystem::remove_all(root_ / name); }

  [[nodiscard]] std::string root() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

double ticks_per_second() { return static_cast<double>(::sysconf(_SC_CLK_TCK)); }
std::uint64_t page_size() { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::size_t fd_count() {
  const std::filesystem::directory_iterator folder("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder))) - 1;
}

void use_cpu() {
  const auto start = std::clock();
  while (std::clock() - start < CLOCKS_PER_SEC / 50) {
  }
}

}  // namespace

TEST_CASE("the process collector describes the standard families") {
  std::map<std::string, MetricType> kinds;
  for (const auto& family : quipu::detail::make_process_collector()->describe()) {
    CHECK_FALSE(family.help.empty());
    CHECK(family.labels.empty());
    CHECK(kinds.emplace(family.name, family.type).second);
  }
  CHECK(kinds == std::map<std::string, MetricType>{
                     {"process_cpu_seconds_total", MetricType::counter},
                     {"process_open_fds", MetricType::gauge},
                     {"process_max_fds", MetricType::gauge},
                     {"process_virtual_memory_bytes", MetricType::gauge},
                     {"process_virtual_memory_max_bytes", MetricType::gauge},
                     {"process_resident_memory_bytes", MetricType::gauge},
                     {"process_start_time_seconds", MetricType::gauge},
                     {"process_network_receive_bytes_total", MetricType::counter},
                     {"process_network_transmit_bytes_total", MetricType::counter},
                     {"process_heap_bytes", MetricType::gauge},
                     {"process_threads", MetricType::gauge},
                 });
}

TEST_CASE("the open file descriptors are counted without the collector's own") {
  const Process process;
  const auto before = process.scrape().whole("process_open_fds");
  CHECK(before == fd_count());

  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  CHECK(process.scrape().whole("process_open_fds") == before + 1);
  ::close(fd);
  CHECK(process.scrape().whole("process_open_fds") == before);
  CHECK(fd_count() == before);
}

TEST_CASE("the limits of this process are its soft limits") {
  const auto expected = [](auto resource) {
    rlimit limit{};
    REQUIRE(::getrlimit(resource, &limit) == 0);
    return limit.rlim_cur == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max()
                                           : static_cast<std::uint64_t>(limit.rlim_cur);
  };
  const auto values = Process().scrape();
  CHECK(values.whole("process_max_fds") == expected(RLIMIT_NOFILE));
  CHECK(values.whole("process_virtual_memory_max_bytes") == expected(RLIMIT_AS));
}

TEST_CASE("the memory of this process is plausible") {
  const auto values = Process().scrape();
  const auto resident = values.whole("process_resident_memory_bytes");
  CHECK(resident > 0);
  CHECK(resident % page_size() == 0);
  CHECK(resident < values.whole("process_virtual_memory_bytes"));
}

TEST_CASE("this process started before now and after the system, and that does not move") {
  timespec since_boot{};
  REQUIRE(::clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0);
  const double boot = now() - static_cast<double>(since_boot.tv_sec) - 1e-9 * static_cast<double>(since_boot.tv_nsec);

  // The kernel gives the boot time in whole seconds.
  const Process process;
  const double start = process.scrape().real("process_start_time_seconds");
  CHECK(start < now() + 1);
  CHECK(start > boot - 1);
  use_cpu();
  CHECK(process.scrape().real("process_start_time_seconds") == start);
}

TEST_CASE("the CPU time of this process grows with work and never decreases") {
  const Process process;
  const double first = process.scrape().real("process_cpu_seconds_total");
  double last = first;
  for (int i = 0; i < 5; ++i) {
    use_cpu();
    const double next = process.scrape().real("process_cpu_seconds_total");
    CHECK(next >= last);
    last = next;
  }
  CHECK(last > first);
  CHECK(last == Approx(static_cast<double>(std::clock()) / CLOCKS_PER_SEC).margin(0.5));
}

TEST_CASE("each process metric has its value from /proc") {
  const FakeProc proc;
  const auto values = Process(proc.root()).scrape();
  CHECK(values.size() == 11);
  CHECK(values.whole("process_heap_bytes") == 1234 * 1024);
  CHECK(values.whole("process_threads") == 1);
  CHECK(values.real("process_cpu_seconds_total") == (1234 + 66) / ticks_per_second());
  CHECK(values.whole("process_open_fds") == 3);
  CHECK(values.whole("process_max_fds") == 1024);
  CHECK(values.whole("process_virtual_memory_bytes") == 3133440);
  CHECK(values.whole("process_virtual_memory_max_bytes") == 8589934592);
  CHECK(values.whole("process_resident_memory_bytes") == 388 * page_size());
  CHECK(values.real("process_start_time_seconds") == 1'700'000'000 + 160174 / ticks_per_second());
  CHECK(values.whole("process_network_receive_bytes_total") == 45167661);
  CHECK(values.whole("process_network_transmit_bytes_total") == 45448);
}

TEST_CASE("threads of this process are counted while they run") {
  const Process process;
  std::uint64_t before = 0;
  std::uint64_t during = 0;
  std::uint64_t after = 1;
  // A thread that another test has left behind may end meanwhile.
  for (int attempt = 0; attempt < 100 && before != after; ++attempt) {
    std::promise<void> end;
    std::vector<std::thread> started;
    before = process.scrape().whole("process_threads");
    const std::shared_future<void> over = end.get_future().share();
    for (int i = 0; i < 3; ++i) started.emplace_back([over] { over.wait(); });
    during = process.scrape().whole("process_threads");
    end.set_value();
    for (auto& thread : started) thread.join();
    after = process.scrape().whole("process_threads");
  }
  CHECK(before == after);
  CHECK(before >= 1);
  CHECK(during == before + 3);
}

TEST_CASE("more process metrics are shown where they are asked for, and nothing else") {
  const FakeProc proc;
  proc.write("self/io",
             "rchar: 11\nwchar: 12\nsyscr: 13\nsyscw: 14\nread_bytes: 15\nwrite_bytes: 16\n"
             "cancelled_write_bytes: 17\n");
  proc.write("self/cgroup", "1:name=systemd:/other\n0::/shop.slice/shop.service\n");
  for (const auto* const resource : {"cpu", "io", "memory"}) {
    proc.write(std::string("pressure/") + resource, "some avg10=0.00 avg60=0.00 avg300=0.00 total=9000000\n");
  }

  const auto io = Process(proc.root(), {.standard = false, .io = true}).scrape();
  CHECK(io.size() == 6);
  CHECK(io.whole("process_io_read_bytes_total") == 11);
  CHECK(io.whole("process_io_written_bytes_total") == 12);
  CHECK(io.whole("process_io_read_syscalls_total") == 13);
  CHECK(io.whole("process_io_write_syscalls_total") == 14);
  CHECK(io.whole("process_io_storage_read_bytes_total") == 15);
  CHECK(io.whole("process_io_storage_written_bytes_total") == 16);

  const auto peaks = Process(proc.root(), {.standard = false, .peaks = true}).scrape();
  CHECK(peaks.size() == 2);
  CHECK(peaks.whole("process_resident_memory_peak_bytes") == 2000 * 1024);
  CHECK(peaks.whole("process_virtual_memory_peak_bytes") == 4000 * 1024);

  const ProcessFamilies pressure{.standard = false, .pressure = true};
  {
    const auto of_system = Process(proc.root(), pressure).scrape();
    CHECK(of_system.size() == 3);  // an older kernel has no "full" line for the CPU, say
    CHECK(of_system.real("process_pressure_cpu_waiting_seconds_total") == 9);
  }
  const std::string cgroup = "cgroups/shop.slice/shop.service/";
  proc.write(cgroup + "cpu.pressure",
             "some avg10=1.00 avg60=0.50 avg300=0.10 total=1500000\n"
             "full avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n");
  proc.write(cgroup + "io.pressure", "some total=junk\nfull total=7\n");
  const Process process(proc.root(), pressure);
  const auto of_cgroup = process.scrape();
  CHECK(of_cgroup.size() == 3);
  CHECK(of_cgroup.real("process_pressure_cpu_waiting_seconds_total") == 1.5);
  CHECK(of_cgroup.real("process_pressure_cpu_stalled_seconds_total") == 0.25);
  CHECK(of_cgroup.real("process_pressure_io_stalled_seconds_total") == 7e-6);
  // The totals never come from another place, where they could be lower.
  proc.remove("cgroups");
  CHECK(process.scrape().size() == 0);

  CHECK(Process("/nonexistent/quipu", {.io = true, .pressure = true, .peaks = true}).scrape().size() == 0);
  CHECK(Process(proc.root(), {.io = true, .pressure = true, .peaks = true}).scrape().size() == 11 + 6 + 3 + 2);
}

TEST_CASE("options of a registry say which process metrics it has") {
  const auto names = [](quipu::RegistryOptions options) {
    options.self_metrics = false;
    return page::body(quipu::Registry(options));
  };
  CHECK(names({.process_metrics = false}).empty());
  CHECK(names({}).find("process_io_") == std::string::npos);
  CHECK(names({}).find("peak") == std::string::npos);
  const auto peaks = names({.process_metrics = false, .process_peak_metrics = true});
  CHECK(peaks.find("process_resident_memory_peak_bytes ") != std::string::npos);
  CHECK(peaks.find("process_cpu_seconds_total") == std::string::npos);
  CHECK(
      quipu::testing::lint(
          quipu::Registry({.process_io_metrics = true, .process_pressure_metrics = true, .process_peak_metrics = true}))
          .empty());
}

TEST_CASE("a program name with parentheses does not confuse the CPU time") {
  const FakeProc proc;
  const Process process(proc.root());
  for (const auto* name : {"(a b)", "((a) b (c))", "(a) 1 2 3 4 5 6 7 8 9)", "())", "()", "(a\nb) R 1)"}) {
    INFO(name);
    proc.write_stat(name);
    const auto values = process.scrape();
    CHECK(values.real("process_cpu_seconds_total") == (1234 + 66) / ticks_per_second());
    CHECK(values.whole("process_virtual_memory_bytes") == 3133440);
    CHECK(values.whole("process_resident_memory_bytes") == 388 * page_size());
  }
}

TEST_CASE("an unlimited process has the greatest whole number as its limit") {
  const FakeProc proc;
  proc.write("self/limits",
             "Max open files            unlimited            unlimited            files     \n"
             "Max address space         unlimited            unlimited            bytes     \n");
  const auto values = Process(proc.root()).scrape();
  CHECK(values.whole("process_max_fds") == std::numeric_limits<std::uint64_t>::max());
  CHECK(values.whole("process_virtual_memory_max_bytes") == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("the start time stays when the clock is set") {
  const FakeProc proc;
  const Process process(proc.root());
  const double start = process.scrape().real("process_start_time_seconds");
  proc.write("stat", "btime 1700000007\n");
  CHECK(process.scrape().real("process_start_time_seconds") == start);
  proc.remove("stat");
  CHECK(process.scrape().real("process_start_time_seconds") == start);
}

TEST_CASE("a start time that could not be read is read by a later scrape") {
  const FakeProc proc;
  proc.write("stat", "cpu 1 2 3\nbtime soon\n");
  const Process process(proc.root());
  CHECK_FALSE(process.scrape().has("process_start_time_seconds"));
  proc.write("stat", "btime 1600000000\n");
  CHECK(process.scrape().real("process_start_time_seconds") == 1'600'000'000 + 160174 / ticks_per_second());
}

TEST_CASE("a process metric that cannot be read is left out alone") {
  const FakeProc proc;
  const auto check_without = [&proc](const std::vector<std::string>& missing) {
    const auto values = Process(proc.root()).scrape();
    CHECK(values.size() == 11 - missing.size());
    for (const auto& family : missing) {
      INFO(family);
      CHECK_FALSE(values.has(family));
    }
  };

  SECTION("without stat") {
    proc.remove("self/stat");
    check_without({"process_cpu_seconds_total", "process_virtual_memory_bytes", "process_resident_memory_bytes",
                   "process_start_time_seconds", "process_threads"});
  }
  SECTION("without status") {
    proc.remove("self/status");
    check_without({"process_heap_bytes"});
  }
  SECTION("with sizes in another unit") {
    proc.write("self/status", "VmData:\t 12 MB\n");
    check_without({"process_heap_bytes"});
  }
  SECTION("with more KiB than bytes can be counted") {
    proc.write("self/status", "VmData:\t 18446744073709551615 kB\n");
    check_without({"process_heap_bytes"});
  }
  SECTION("without the system's stat") {
    proc.remove("stat");
    check_without({"process_start_time_seconds"});
  }
  SECTION("without limits") {
    proc.remove("self/limits");
    check_without({"process_max_fds", "process_virtual_memory_max_bytes"});
  }
  SECTION("without one of the limits") {
    proc.write("self/limits", "Max address space 5 5 bytes\nMax open filesystems 7 7 files\n");
    check_without({"process_max_fds"});
  }
  SECTION("without netstat") {
    proc.remove("self/net");
    check_without({"process_network_receive_bytes_total", "process_network_transmit_bytes_total"});
  }
  SECTION("without one of the octets") {
    proc.write("self/net/netstat", "IpExt: OutOctets InNoRoutes\nIpExt: 5 0\n");
    check_without({"process_network_receive_bytes_total"});
  }
  SECTION("with fewer octets than names") {
    proc.write("self/net/netstat", "IpExt: InOctets OutOctets\nIpExt: 5\n");
    check_without({"process_network_transmit_bytes_total"});
  }
  SECTION("with names but no values") {
    proc.write("self/net/netstat", "IpExt: InOctets OutOctets\n");
    check_without({"process_network_receive_bytes_total", "process_network_transmit_bytes_total"});
  }
  SECTION("without the folder of file descriptors") {
    proc.remove("self/fd");
    check_without({"process_open_fds"});
  }
  SECTION("with a CPU time that is no number") {
    proc.write_stat("(program)", "12x4");
    check_without({"process_cpu_seconds_total"});
  }
  SECTION("with a start that is no number") {
    proc.write_stat("(program)", "1234", "-5");
    check_without({"process_start_time_seconds"});
  }
  SECTION("with more pages than bytes can be counted") {
    proc.write_stat("(program)", "1234", "160174", "18446744073709551615");
    check_without({"process_resident_memory_bytes"});
  }
  SECTION("with a stat that ends early") {
    proc.write("self/stat", "7398 (program) R 7391 7391 6803 0 -1 4194304 100 0 0 0 1 2 0 0 20");
    check_without({"process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
                   "process_threads"});
  }
}

TEST_CASE("a /proc of garbage shows no process metrics") {
  const FakeProc proc;
  using namespace std::string_view_literals;
  for (const auto text : {""sv, "\n"sv, ")"sv, " \n\n IpExt:\nIpExt:\nIpExt: "sv, "\0\xff(\n)\0btime"sv,
                          "btime\nMax open files\nMax address space  \n"sv,
                          "btime 99999999999999999999\nMax open files 99999999999999999999\n"
                          "IpExt: InOctets\nIpExt: 99999999999999999999\n"sv}) {
    for (const auto* name : {"stat", "self/stat", "self/limits", "self/net/netstat", "self/status"})
      proc.write(name, text);
    const auto values = Process(proc.root()).scrape();
    CHECK(values.size() == 1);
    CHECK(values.whole("process_open_fds") == 3);
  }
}

TEST_CASE("a stranger among the file descriptors does not count") {
  const FakeProc proc;
  proc.write("self/fd/readme", "");
  CHECK(Process(proc.root()).scrape().whole("process_open_fds") == 3);
}

TEST_CASE("a /proc that is longer than a page is read to its end") {
  const FakeProc proc;
  proc.write("stat", "intr" + std::string(100'000, ' ') + "\nbtime 1500000000\n");
  CHECK(Process(proc.root()).scrape().real("process_start_time_seconds") ==
        1'500'000'000 + 160174 / ticks_per_second());
}

TEST_CASE("without /proc there are no process metrics") {
  CHECK(Process("/nonexistent/quipu").scrape().size() == 0);

  const FakeProc proc;
  for (const auto* name : {"stat", "self/stat", "self/limits", "self/net/netstat", "self/fd", "self/status"}) {
    proc.remove(name);
    std::filesystem::create_directories(proc.root() + "/" + name);
  }
  const auto values = Process(proc.root()).scrape();
  CHECK(values.size() == 1);
  CHECK(values.whole("process_open_fds") == 0);
}

#else

TEST_CASE("there are no process metrics but on Linux") {
  CHECK(quipu::detail::make_process_collector()->describe().empty());
}

#endif

// Runs programs of a few threads in every way that C++ allows; see README.md. The programs are compiled for the thread
// sanitizer, whose functions are defined here: so every load and store, atomic or plain, calls the explorer.

#include "explorer.hpp"

#include <link.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace explorer {
namespace {

using Address = std::uintptr_t;
using Word = std::uint64_t;

constexpr std::size_t max_threads = 6;  // with the main thread, which has number 0
constexpr std::size_t max_shared = 128;
constexpr std::size_t page = 4096;

[[noreturn]] void fail(const char* why);
[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "explorer: %s\n", why);
  std::_Exit(2);
}

Word mix(Word a, Word b) {
  Word x = (a ^ (b + 0x9E37'79B9'7F4A'7C15 + (a << 6) + (a >> 2))) * 0xFF51'AFD7'ED55'8CCD;
  x ^= x >> 32;
  x *= 0xC4CE'B9FE'1A85'EC53;
  return x ^ (x >> 29);
}

// The choices of an execution, in their order. The next execution differs in the last choice that has alternatives
// left.

struct Choice {
  std::uint32_t taken;
  std::uint32_t count;
};
std::vector<Choice> trail;
std::size_t trail_position = 0;

bool is_replaying() { return trail_position < trail.size(); }

std::size_t choose(std::size_t count) {
  if (count == 1) return 0;
  if (!is_replaying()) trail.push_back({0, static_cast<std::uint32_t>(count)});
  const Choice& choice = trail[trail_position++];
  if (choice.count != count) give_up("an execution is not as it was before");
  return choice.taken;
}

/// False if there is no execution left.
bool next_trail() {
  while (!trail.empty() && trail.back().taken + 1 == trail.back().count) trail.pop_back();
  if (trail.empty()) return false;
  ++trail.back().taken;
  trail_position = 0;
  return true;
}

// Memory, as the operational form of C++20's rules has it. Each atomic location has the messages that were stored to it
// in modification order. A thread may load any message that is not older than what it knows of.

struct Knowledge {
  std::array<std::uint32_t, max_threads> clock{};  // by thread: how many of its operations happened before
  std::array<std::uint32_t, max_shared> oldest{};  // by location: the time of the oldest message that may be loaded

  void join(const Knowledge& other) {
    for (std::size_t i = 0; i < max_threads; ++i) clock[i] = std::max(clock[i], other.clock[i]);
    for (std::size_t i = 0; i < max_shared; ++i) oldest[i] = std::max(oldest[i], other.oldest[i]);
  }
};

struct Message {
  Word value;
  std::uint32_t time;  // its place in the modification order
  std::uint32_t writer;
  std::uint32_t number;  // of the writer's messages
  bool is_update;        // follows the message before it without a gap, as it is of a read-modify-write
  bool is_release;
  Knowledge released;  // what a thread gets to know that acquires it

  [[nodiscard]] Word id() const { return Word{writer} << 32 | number; }
};

constexpr std::uint32_t time_step = 1 << 16;

/// Only shared locations have more than one message: those that several threads access, and one of them writes to.
struct Location {
  Address address;
  std::uint32_t execution;
  std::uint32_t size;
  bool is_shared;
  bool is_new;             // memory is constructed again: what it holds is the first message
  std::uint32_t index;     // if shared
  std::uint32_t accessed;  // by which threads
  bool is_written;
  std::uint32_t oldest_in_order;  // sequentially consistent operations do not use older messages
  std::vector<Message> messages;
};

enum class State : std::uint8_t { ready, locking, waiting, ended };

struct Read {
  Location* location;
  Word value;
};

struct Running {
  State state;
  Location* lock;  // what it waits for while `locking`
  Knowledge knows;
  Word history;  // a hash of what it has done and seen
  std::uint32_t messages;
  std::vector<Read> reads;        // since its last write or wait: what it may be waiting for
  std::vector<Read> older_reads;  // since its last wait
  explorer::Thread parts;
  const void* value_of_key;
  std::vector<char> locals;  // its thread-locals
  char* stack;
  jmp_buf context;
  std::size_t allocated;
};

constexpr std::size_t stack_bytes = 1 << 18;
std::array<Running, max_threads> threads;
std::size_t thread_count = 0;
std::size_t current = 0;
bool is_running = false;   // an execution is
bool is_parallel = false;  // the threads of in_parallel() are
bool is_starting = false;  // each of them runs to its first shared location
std::uint32_t execution = 0;
ucontext_t origin_context;
jmp_buf origin;
enum End : int { completed = 1, known, restarted };

std::unordered_set<Address> shared;  // locations found to be shared, by address
std::vector<Word> visited;           // a hash table of states
std::size_t visited_count = 0;

// Memory of the scenarios is as it was at the beginning of each execution. Pages that are written to are found by
// faults once, and restored after each execution.

struct Region {
  char* begin;
  std::size_t bytes;
};
std::vector<Region> regions;
struct Page {
  char* at;
  std::vector<char> original;
};
std::vector<Page> written_pages;
char* locals = nullptr;  // this module's thread-locals
std::size_t locals_bytes = 0;
std::vector<char> initial_locals;
Address module_base = 0;
std::string module_path;

constexpr std::size_t arena_bytes = std::size_t{1} << 26;  // for each thread
char* arenas = nullptr;

bool is_in_arena(const void* memory) { return memory >= arenas && memory < arenas + max_threads * arena_bytes; }

void on_fault(int, siginfo_t* info, void*) {
  char* const at = reinterpret_cast<char*>(reinterpret_cast<Address>(info->si_addr) & ~(page - 1));
  const bool is_ours = std::any_of(regions.begin(), regions.end(),
                                   [&](const Region& r) { return at >= r.begin && at < r.begin + r.bytes; });
  const bool is_new =
      std::none_of(written_pages.begin(), written_pages.end(), [&](const Page& known) { return known.at == at; });
  if (!is_ours || !is_new) {
    signal(SIGSEGV, SIG_DFL);
    if (is_running) fail("segmentation fault");
    return;
  }
  written_pages.push_back({at, std::vector<char>(at, at + page)});
  mprotect(at, page, PROT_READ | PROT_WRITE);
}

void restore_memory() {
  for (const Page& written : written_pages) std::memcpy(written.at, written.original.data(), page);
}

/// Finds the library with the scenarios, which is loaded with this program.
int look_at(dl_phdr_info* info, std::size_t, void*) {
  if (std::strstr(info->dlpi_name, "libscenarios.so") == nullptr) return 0;
  module_base = info->dlpi_addr;
  module_path = info->dlpi_name;
  Address relro = 0;
  Address relro_end = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type == PT_TLS) {
      locals = static_cast<char*>(info->dlpi_tls_data);
      locals_bytes = header.p_memsz;
    }
    if (header.p_type == PT_GNU_RELRO) {
      relro = module_base + header.p_vaddr;
      relro_end = (relro + header.p_memsz) & ~(page - 1);
    }
  }
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type != PT_LOAD || (header.p_flags & PF_W) == 0) continue;
    Address begin = (module_base + header.p_vaddr) & ~(page - 1);
    const Address end = (module_base + header.p_vaddr + header.p_memsz + page - 1) & ~(page - 1);
    if (relro_end > begin && relro <= end) begin = relro_end;
    regions.push_back({reinterpret_cast<char*>(begin), end - begin});
  }
  return 1;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  std::size_t& used = threads[current].allocated;
  const std::size_t begin = (used + 16 + alignment - 1) / alignment * alignment;
  used = begin + bytes;
  if (used > arena_bytes) give_up("out of memory");
  char* memory = arenas + current * arena_bytes + begin;
  std::memcpy(memory - 8, &bytes, sizeof bytes);
  return memory;
}

// What happens when is shown for an execution that fails.

struct Step {
  std::size_t thread;
  const char* what;
  int order;
  Address address;
  Word value;
  Address site;
  bool is_old;
};
std::vector<Step> steps;
const char* running_name = "";

const char* name_of(int order) {
  static constexpr std::array names{"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst", ""};
  return names[static_cast<std::size_t>(order)];
}

/// The lines of the program that the code addresses belong to, by addr2line; not those of the standard library, which
/// are inlined there.
std::vector<std::string> lines_of(const std::vector<Address>& sites) {
  std::vector<std::string> lines;
  if (sites.empty()) return lines;
  std::string command = "addr2line -Cfpie " + module_path;
  for (const Address site : sites) {
    char number[32];
    std::snprintf(number, sizeof number, " 0x%lx", site - module_base - 1);
    command += number;
  }
  FILE* output = popen(command.c_str(), "r");
  char buffer[4096];
  bool is_found = false;
  while (output != nullptr && std::fgets(buffer, sizeof buffer, output) != nullptr) {
    std::string line(buffer);
    line.pop_back();
    constexpr std::string_view inlined = " (inlined by) ";
    if (line.starts_with(inlined)) {
      line.erase(0, inlined.size());
    } else {
      lines.emplace_back();
      is_found = false;
    }
    if (is_found) continue;
    is_found = line.find("/include/c++/") == std::string::npos;
    const auto file = line.rfind(" at ");
    const auto name = line.rfind('/');
    if (file != std::string::npos && name != std::string::npos) line.erase(file + 4, name - file - 3);
    lines.back() = line;
  }
  if (output != nullptr) pclose(output);
  lines.resize(sites.size());
  return lines;
}

void show_steps() {
  std::vector<Address> sites;
  for (const Step& step : steps) sites.push_back(step.site);
  const auto lines = lines_of(sites);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    std::printf("  thread %zu: %-8s %-8s %012lx  %-18lx%s %s\n", step.thread, step.what, name_of(step.order),
                step.address, step.value, step.is_old ? " (an old value)" : "", lines[i].c_str());
  }
}

void fail(const char* why) {
  is_running = false;
  is_parallel = false;
  std::printf("%s: FAILED: %s\n", running_name, why);
  show_steps();
  std::fflush(stdout);
  std::_Exit(1);
}

// Which thread runs.

Location& location_at(Address address, std::size_t size);

void switch_to(std::size_t next) {
  if (next == current) return;
  Running& from = threads[current];
  Running& to = threads[next];
  if (_setjmp(from.context) != 0) return;
  std::memcpy(from.locals.data(), locals, locals_bytes);
  std::memcpy(locals, to.locals.data(), locals_bytes);
  current = next;
  _longjmp(to.context, 1);
}

[[noreturn]] void leave(End end) { _longjmp(origin, end); }

/// Whether a thread that loads the same again finds another value. An update that leaves the value as it was is no
/// news: threads that wait by such updates would wake each other for ever.
bool has_news(const std::vector<Read>& reads) {
  return std::any_of(reads.begin(), reads.end(),
                     [](const Read& read) { return read.location->messages.back().value != read.value; });
}

bool is_enabled(const Running& thread) {
  switch (thread.state) {
    case State::ready:
      return true;
    case State::locking:
      return thread.lock->messages.back().value == 0;
    case State::waiting:
      return has_news(thread.reads) || has_news(thread.older_reads);
    case State::ended:
      return false;
  }
  return false;
}

std::vector<Location*> shared_locations;  // of this execution

/// A hash of the execution so far, however it was ordered. What can follow depends on nothing else.
Word state() {
  Word hash = 0;
  for (std::size_t i = 1; i < thread_count; ++i) {
    hash += mix(mix(i, threads[i].history), static_cast<Word>(threads[i].state));
  }
  for (const Location* location : shared_locations) {
    if (location->messages.size() < 2 && location->oldest_in_order == 0) continue;
    Word order = location->address;
    for (const Message& message : location->messages) {
      order = mix(order, message.id());
      if (message.time == location->oldest_in_order) order = mix(order, 1);
    }
    hash += order;
  }
  return hash == 0 ? 1 : hash;
}

/// False if it was there.
bool visit(Word hash) {
  if (2 * (visited_count + 1) > visited.size()) {
    const auto old = std::exchange(visited, std::vector<Word>(std::max<std::size_t>(1 << 12, 2 * visited.size())));
    for (const Word known : old) {
      if (known == 0) continue;
      std::size_t i = known & (visited.size() - 1);
      while (visited[i] != 0) i = (i + 1) & (visited.size() - 1);
      visited[i] = known;
    }
  }
  std::size_t i = hash & (visited.size() - 1);
  while (visited[i] != 0 && visited[i] != hash) i = (i + 1) & (visited.size() - 1);
  if (visited[i] == hash) return false;
  visited[i] = hash;
  ++visited_count;
  return true;
}

/// Continues with one of the threads that can go on.
void pick() {
  std::array<std::size_t, max_threads> enabled;
  std::size_t count = 0;
  bool is_over = true;
  for (std::size_t i = 0; i < thread_count; ++i) {
    const std::size_t thread = (current + i) % thread_count;  // the same thread again is tried first
    if (thread == 0) continue;
    if (threads[thread].state != State::ended) is_over = false;
    if (is_enabled(threads[thread])) enabled[count++] = thread;
  }
  if (is_over) return switch_to(0);
  if (count == 0) fail("no thread can go on");
  if (!is_replaying() && !visit(state())) leave(known);
  const std::size_t next = enabled[choose(count)];
  if (threads[next].state == State::locking) threads[next].state = State::ready;
  switch_to(next);
}

/// Comes before each use of a shared location.
void let_others_run(State state = State::ready, Location* lock = nullptr) {
  threads[current].state = state;
  threads[current].lock = lock;
  if (is_starting) {
    switch_to(0);
  } else {
    pick();
  }
}

void run_thread() {
  Running& self = threads[current];
  self.parts.first();
  switch_to(0);
  self.parts.work();
  self.state = State::ended;
  if (is_starting) switch_to(0);
  pick();
  give_up("an ended thread ran on");
}

/// Makes a thread that begins with `run` when it is switched to.
void prepare(Running& thread, void (*run)()) {
  thread.state = State::ready;
  thread.knows = {};
  thread.history = 0;
  thread.messages = 0;
  thread.reads.clear();
  thread.older_reads.clear();
  thread.value_of_key = nullptr;
  thread.allocated = 0;
  thread.locals = initial_locals;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = thread.stack;
  context.uc_stack.ss_size = stack_bytes;
  context.uc_link = nullptr;
  static void (*entry)() = nullptr;
  static Running* entered = nullptr;
  entry = run;
  entered = &thread;
  makecontext(
      &context,
      [] {
        auto* const function = entry;
        if (_setjmp(entered->context) == 0) setcontext(&origin_context);
        function();
      },
      0);
  swapcontext(&origin_context, &context);
}

std::vector<Location> table(1 << 12);
std::uint32_t shared_count = 0;
std::size_t location_count = 0;

/// The location at the address, if it was accessed in this execution.
Location* known_location(Address address) {
  std::size_t i = (address * 0x9E37'79B9'7F4A'7C15 >> 40) & (table.size() - 1);
  while (table[i].execution == execution && table[i].address != address) i = (i + 1) & (table.size() - 1);
  return table[i].execution == execution ? &table[i] : nullptr;
}

// Data races: plain accesses that are not ordered with others.

struct Shadow {
  Address granule;
  std::uint32_t execution;
  bool is_freed;
  bool has_atomic;
  std::array<std::uint32_t, max_threads> plain_write, plain_read, atomic_write, atomic_read;
};
std::vector<Shadow> shadows(1 << 16);
constexpr std::size_t granule = 4;

Shadow& shadow_of(Address address) {
  const Address key = address / granule;
  std::size_t i = (key * 0x9E37'79B9'7F4A'7C15 >> 40) & (shadows.size() - 1);
  for (;; i = (i + 1) & (shadows.size() - 1)) {
    Shadow& found = shadows[i];
    if (found.execution != execution) {
      found = {};
      found.granule = key;
      found.execution = execution;
      return found;
    }
    if (found.granule == key) return found;
  }
}

enum class Access : std::uint8_t { plain_read, plain_write, atomic_read, atomic_write };

bool is_after(const std::array<std::uint32_t, max_threads>& times) {
  const auto& clock = threads[current].knows.clock;
  for (std::size_t i = 1; i < thread_count; ++i) {
    if (i != current && times[i] > clock[i]) return false;
  }
  return true;
}

void check_race(Address address, std::size_t size, Access access, Address site) {
  const std::uint32_t now = threads[current].knows.clock[current];
  for (Address at = address & ~(granule - 1); at < address + size; at += granule) {
    Shadow& shadow = shadow_of(at);
    bool is_ordered = is_after(shadow.plain_write);
    switch (access) {
      case Access::plain_read:
        is_ordered = is_ordered && is_after(shadow.atomic_write);
        shadow.plain_read[current] = now;
        break;
      case Access::plain_write:
        is_ordered =
            is_ordered && is_after(shadow.plain_read) && is_after(shadow.atomic_write) && is_after(shadow.atomic_read);
        shadow.plain_write[current] = now;
        if (shadow.has_atomic) {
          for (Address byte = at; byte < at + granule; ++byte) {
            if (Location* location = known_location(byte)) location->is_new = true;
          }
        }
        break;
      case Access::atomic_read:
        shadow.atomic_read[current] = now;
        shadow.has_atomic = true;
        break;
      case Access::atomic_write:
        is_ordered = is_ordered && is_after(shadow.plain_read);
        shadow.atomic_write[current] = now;
        shadow.has_atomic = true;
        break;
    }
    if (is_ordered && !shadow.is_freed) continue;
    steps.push_back({current,
                     access == Access::plain_read    ? "reads"
                     : access == Access::plain_write ? "writes"
                                                     : "uses",
                     6, address, size, site, false});
    fail(shadow.is_freed ? "freed memory is used" : "data race");
  }
}

void plain(const void* memory, std::size_t size, bool is_write, void* site) {
  if (!is_parallel || size == 0) return;
  const auto* at = static_cast<const char*>(memory);
  const char* stack = threads[current].stack;
  if ((at >= stack && at < stack + stack_bytes) || (at >= locals && at < locals + locals_bytes)) return;
  check_race(reinterpret_cast<Address>(at), size, is_write ? Access::plain_write : Access::plain_read,
             reinterpret_cast<Address>(site));
}

// Atomic operations.

Word load_memory(Address address, std::size_t size) {
  Word value = 0;
  std::memcpy(&value, reinterpret_cast<const void*>(address), size);
  return value;
}

/// A location of size 0 is a mutex, which has a value here only.
Location& location_at(Address address, std::size_t size) {
  std::size_t i = (address * 0x9E37'79B9'7F4A'7C15 >> 40) & (table.size() - 1);
  while (table[i].execution == execution && table[i].address != address) i = (i + 1) & (table.size() - 1);
  Location& location = table[i];
  std::uint32_t time = 0;
  if (location.execution != execution) {
    if (++location_count > table.size() / 2) give_up("too many locations");
    location.address = address;
    location.execution = execution;
    location.is_shared = shared.contains(address);
    location.is_new = true;
    location.accessed = 0;
    location.is_written = false;
    location.oldest_in_order = 0;
    if (location.is_shared) {
      if (shared_count == max_shared) give_up("too many shared locations");
      location.index = shared_count++;
      shared_locations.push_back(&location);
    }
  } else if (location.is_new) {
    time = location.messages.back().time + time_step;
  }
  if (location.is_new) {
    location.is_new = false;
    location.size = static_cast<std::uint32_t>(size);
    location.messages.clear();
    location.messages.push_back({size == 0 ? 0 : load_memory(address, size), time, 0, 0, false, false, {}});
  }
  if (location.size != size) give_up("a location is accessed in different sizes");
  return location;
}

/// If the location turns out to be shared, the exploration begins again, with that known.
void access(Location& location, bool is_write) {
  location.accessed |= 1u << current;
  location.is_written = location.is_written || is_write;
  if (location.is_shared || !location.is_written || std::popcount(location.accessed) < 2) return;
  shared.insert(location.address);
  leave(restarted);
}

bool acquires(int order) { return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST; }
bool releases(int order) { return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST; }

struct Weakened {
  std::vector<Address> sites;
  bool acquire = false;
  bool release = false;
};
Weakened weakened;
struct Site {
  Address address;
  int order;
};
std::vector<Site> ordered_sites;
bool notes_orders = false;

/// The order at this place of the program, which is weaker than in the source if the explorer was told to.
int order_at(int order, Address site) {
  if (order == __ATOMIC_RELAXED) return order;
  if (!notes_orders && weakened.sites.empty()) return order;
  const Address offset = site - module_base;
  if (std::none_of(ordered_sites.begin(), ordered_sites.end(), [&](const Site& s) { return s.address == site; })) {
    ordered_sites.push_back({site, order});
  }
  if (std::find(weakened.sites.begin(), weakened.sites.end(), offset) == weakened.sites.end()) return order;
  const bool acquire = acquires(order) && !weakened.acquire;
  const bool release = releases(order) && !weakened.release;
  return acquire ? (release ? __ATOMIC_ACQ_REL : __ATOMIC_ACQUIRE) : (release ? __ATOMIC_RELEASE : __ATOMIC_RELAXED);
}

/// The place of the oldest message that this thread may load.
std::size_t oldest(const Location& location, int order) {
  if (!location.is_shared) return 0;
  std::uint32_t time = threads[current].knows.oldest[location.index];
  if (order == __ATOMIC_SEQ_CST) time = std::max(time, location.oldest_in_order);
  std::size_t i = location.messages.size() - 1;
  while (location.messages[i].time > time) --i;
  return i;
}

void read_message(Location& location, const Message& message, int order) {
  Running& self = threads[current];
  if (!location.is_shared) return;
  self.history = mix(mix(self.history, location.address), message.id());
  self.reads.push_back({&location, message.value});
  auto& known = self.knows.oldest[location.index];
  known = std::max(known, message.time);
  if (order == __ATOMIC_SEQ_CST) location.oldest_in_order = std::max(location.oldest_in_order, message.time);
  if (acquires(order)) self.knows.join(message.released);
  ++self.knows.clock[current];
}

/// Puts a message behind another one in modification order.
void write_message(Location& location, std::size_t behind, Word value, int order, bool is_update) {
  Running& self = threads[current];
  auto& messages = location.messages;
  if (!location.is_shared) {
    messages.front().value = value;
  } else {
    const std::uint32_t before = messages[behind].time;
    const std::uint32_t time =
        behind + 1 == messages.size() ? before + time_step : before + (messages[behind + 1].time - before) / 2;
    if (time == before) give_up("too many messages");
    self.knows.oldest[location.index] = time;
    if (order == __ATOMIC_SEQ_CST) location.oldest_in_order = time;
    Message made{value, time, static_cast<std::uint32_t>(current), ++self.messages, is_update, false, {}};
    if (is_update) made.released = messages[behind].released;
    if (releases(order)) made.released.join(self.knows);
    messages.insert(messages.begin() + static_cast<std::ptrdiff_t>(behind) + 1, made);
    self.history = mix(self.history, location.address + 1);
    self.older_reads.insert(self.older_reads.end(), self.reads.begin(), self.reads.end());
    std::erase_if(self.older_reads, [&](const Read& read) { return read.location == &location; });
    self.reads.clear();
    if (is_update) self.reads.push_back({&location, value});
    ++self.knows.clock[current];
  }
  if (location.size != 0) {
    std::memcpy(reinterpret_cast<void*>(location.address), &messages.back().value, location.size);
  }
}

/// Whether nothing may come between this message and the next one.
bool is_taken(const Location& location, std::size_t message) {
  return message + 1 < location.messages.size() && location.messages[message + 1].is_update;
}

/// One of the messages that this thread may write behind, or find.
template <class Possible>
std::size_t choose_place(const Location& location, int order, Possible is_possible) {
  std::array<std::size_t, 64> places;
  std::size_t count = 0;
  for (std::size_t i = location.messages.size(); i-- > oldest(location, order);) {
    if (!is_possible(i)) continue;
    if (count == places.size()) give_up("too many messages");
    places[count++] = i;
  }
  return places[choose(count)];
}

void note(const char* what, const Location& location, int order, Word value, Address site, bool is_old) {
  if (location.is_shared) steps.push_back({current, what, order, location.address, value, site, is_old});
}

Word load(Address address, std::size_t size, int order, Address site) {
  if (!is_parallel) return load_memory(address, size);
  order = order_at(order, site);
  Location* location = &location_at(address, size);
  access(*location, false);
  if (location->is_shared) let_others_run();
  check_race(address, size, Access::atomic_read, site);
  const std::size_t first = oldest(*location, order);
  const std::size_t taken = location->messages.size() - 1 - choose(location->messages.size() - first);
  const Message& message = location->messages[taken];
  note("loads", *location, order, message.value, site, taken + 1 < location->messages.size());
  read_message(*location, message, order);
  return message.value;
}

void store(Address address, std::size_t size, Word value, int order, Address site) {
  if (!is_parallel) {
    std::memcpy(reinterpret_cast<void*>(address), &value, size);
    return;
  }
  order = order_at(order, site);
  Location& location = location_at(address, size);
  access(location, true);
  if (location.is_shared) let_others_run();
  check_race(address, size, Access::atomic_write, site);
  const std::size_t behind = choose_place(location, order, [&](std::size_t i) { return !is_taken(location, i); });
  note("stores", location, order, value, site, behind + 1 < location.messages.size());
  write_message(location, behind, value, order, false);
}

/// Replaces the value by `next(value)`, unless `is_wanted(value)` is false. Returns the old value.
template <class Wanted, class Next>
Word update(Address address, std::size_t size, int order, int failure_order, Address site, Wanted is_wanted,
            Next next) {
  if (!is_parallel) {
    const Word old = load_memory(address, size);
    const Word made = next(old);
    if (is_wanted(old)) std::memcpy(reinterpret_cast<void*>(address), &made, size);
    return old;
  }
  order = order_at(order, site);
  Location& location = location_at(address, size);
  access(location, true);
  if (location.is_shared) let_others_run();
  check_race(address, size, Access::atomic_write, site);
  const std::size_t taken = choose_place(
      location, order, [&](std::size_t i) { return !is_taken(location, i) || !is_wanted(location.messages[i].value); });
  const Word old = location.messages[taken].value;
  const bool is_old = taken + 1 < location.messages.size();
  if (!is_wanted(old)) {
    note("compares", location, failure_order, old, site, is_old);
    read_message(location, location.messages[taken], failure_order);
    return old;
  }
  Word made = 0;
  const Word result = next(old);
  std::memcpy(&made, &result, size);
  note("updates", location, order, made, site, is_old);
  read_message(location, location.messages[taken], order);
  write_message(location, taken, made, order, true);
  return old;
}

void wait() {
  if (!is_parallel) give_up("a wait outside of the threads");
  let_others_run(State::waiting);
  Running& self = threads[current];
  for (const Read& read : has_news(self.reads) ? self.reads : self.older_reads) {
    if (!read.location->is_shared) continue;
    const Message& newest = read.location->messages.back();
    auto& known = self.knows.oldest[read.location->index];
    known = std::max(known, newest.time);
    self.history = mix(mix(self.history, read.location->address + 2), newest.id());
  }
  self.reads.clear();
  self.older_reads.clear();
  self.state = State::ready;
}

/// membarrier(2): each other thread executes a full barrier, at a time of its own between the call and the return.
void barrier_of_all(Address site) {
  if (!is_parallel) return;
  const std::size_t self = current;
  for (std::size_t i = 1; i < thread_count; ++i) {
    if (i == self) continue;
    let_others_run();
    steps.push_back({self, "barrier", 6, 0, i, site, false});
    Running& other = threads[i];
    Knowledge before = other.knows;
    --before.clock[i];  // the plain accesses since its last operation may come after the barrier
    other.knows.join(threads[self].knows);
    threads[self].knows.join(before);
    ++threads[self].knows.clock[self];
    const Word met = mix(threads[self].history, other.history);
    threads[self].history = mix(met, 3);
    other.history = mix(met, 4);
  }
  threads[self].reads.clear();
}

void lock(void* mutex, Address site) {
  if (!is_parallel) return;
  Location& location = location_at(reinterpret_cast<Address>(mutex), 0);
  access(location, true);
  if (location.is_shared) let_others_run(State::locking, &location);
  note("locks", location, 6, 0, site, false);
  read_message(location, location.messages.back(), __ATOMIC_ACQUIRE);
  write_message(location, location.messages.size() - 1, 1, __ATOMIC_RELAXED, true);
}

void unlock(void* mutex, Address site) {
  if (!is_parallel) return;
  Location& location = location_at(reinterpret_cast<Address>(mutex), 0);
  access(location, true);
  note("unlocks", location, 6, 0, site, false);
  write_message(location, location.messages.size() - 1, 0, __ATOMIC_RELEASE, true);
}

// Scenarios.

struct Registered {
  const char* name;
  void (*body)();
};
std::vector<Registered>& scenarios() {
  static std::vector<Registered> all;
  return all;
}
void (*body)() = nullptr;

/// The destructor of the one key for values of threads, which is made when the scenarios are loaded.
using KeyDestructor = void (*)(void*);
constinit KeyDestructor end_of_key = nullptr;

struct Result {
  std::size_t executions = 0;
  std::size_t states = 0;
  double seconds = 0;
};

Result explore(const Registered& scenario) {
  const std::clock_t begin = std::clock();
  Result result;
  running_name = scenario.name;
  body = scenario.body;
  shared.clear();
  trail.clear();
  trail_position = 0;
  visited.assign(1 << 12, 0);
  visited_count = 0;
  for (;;) {
    ++execution;
    steps.clear();
    shared_locations.clear();
    shared_count = 0;
    location_count = 0;
    thread_count = 1;
    current = 0;
    is_starting = false;
    std::memcpy(locals, initial_locals.data(), locals_bytes);
    prepare(threads[0], [] {
      body();
      leave(completed);
    });
    is_running = true;
    const int end = _setjmp(origin);
    if (end == 0) _longjmp(threads[0].context, 1);
    is_running = false;
    is_parallel = false;
    restore_memory();
    ++result.executions;
    if (end == restarted) {
      trail.clear();
      trail_position = 0;
      std::fill(visited.begin(), visited.end(), 0);
      visited_count = 0;
    } else if (!next_trail()) {
      break;
    }
  }
  result.states = visited_count;
  result.seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  return result;
}

}  // namespace

Scenario::Scenario(const char* name, void (*body)()) { scenarios().push_back({name, body}); }

void require(bool holds, const char* text) {
  if (!holds) fail(text);
}

void end_thread() {
  if (const void* value = std::exchange(threads[current].value_of_key, nullptr)) {
    end_of_key(const_cast<void*>(value));
  }
}

void in_parallel(std::initializer_list<Thread> made_of) {
  if (made_of.size() + 1 > max_threads) give_up("too many threads");
  for (const auto& parts : made_of) {
    Running& made = threads[thread_count++];
    made.parts = parts;
    prepare(made, run_thread);
    made.knows.clock[thread_count - 1] = 1;
  }
  for (std::size_t i = 1; i < thread_count; ++i) switch_to(i);
  is_parallel = true;
  is_starting = true;
  for (std::size_t i = 1; i < thread_count; ++i) switch_to(i);
  is_starting = false;
  pick();
  is_parallel = false;
}

}  // namespace explorer

using namespace explorer;

// What the scenarios call instead of the system. The linker puts it in the place of the real functions (--wrap).

extern "C" {
int __wrap_pthread_mutex_lock(void* mutex) {
  lock(mutex, reinterpret_cast<Address>(__builtin_return_address(0)));
  return 0;
}
int __wrap_pthread_mutex_unlock(void* mutex) {
  unlock(mutex, reinterpret_cast<Address>(__builtin_return_address(0)));
  return 0;
}
int __wrap_sched_yield() {
  wait();
  return 0;
}
int __wrap_nanosleep(const timespec*, timespec*) {
  wait();
  return 0;
}
int __wrap_pthread_atfork(void (*)(), void (*)(), void (*)()) { return 0; }
long __wrap_syscall(long number, ...) {
  if (number != SYS_membarrier) give_up("an unknown system call");
  va_list arguments;
  va_start(arguments, number);
  const int command = va_arg(arguments, int);
  va_end(arguments);
  if (command == MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
    barrier_of_all(reinterpret_cast<Address>(__builtin_return_address(0)));
  }
  return 0;
}
void* __wrap_mmap(void*, std::size_t bytes, int, int, int, long) { return allocate(bytes, page); }
int __wrap_clock_gettime(int, timespec* now) {
  *now = {1000, 0};
  return 0;
}
/// An hour passes before the threads begin.
std::int64_t __wrap__ZNSt6chrono3_V212steady_clock3nowEv() {
  return is_parallel ? 4'600'000'000'000 : 1'000'000'000'000;
}
std::int64_t __wrap__ZNSt6chrono3_V212system_clock3nowEv() { return 1'000'000'000'000; }
int __wrap_pthread_key_create(pthread_key_t*, void (*destructor)(void*)) {
  if (end_of_key != nullptr) give_up("more than one key");
  end_of_key = destructor;
  return 0;
}
int __wrap_pthread_setspecific(pthread_key_t, const void* value) {
  threads[current].value_of_key = value;
  return 0;
}

void* __wrap_memset(void* to, int value, std::size_t bytes) {
  plain(to, bytes, true, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}
void* __wrap_memcpy(void* to, const void* from, std::size_t bytes) {
  plain(from, bytes, false, __builtin_return_address(0));
  plain(to, bytes, true, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, std::size_t bytes) {
  plain(from, bytes, false, __builtin_return_address(0));
  plain(to, bytes, true, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
int __wrap_memcmp(const void* a, const void* b, std::size_t bytes) {
  plain(a, bytes, false, __builtin_return_address(0));
  plain(b, bytes, false, __builtin_return_address(0));
  return std::memcmp(a, b, bytes);
}

static void* make(std::size_t bytes, std::size_t alignment) {
  return is_running ? allocate(bytes, alignment) : ::operator new (bytes, std::align_val_t{alignment});
}
static void destroy(void* memory, void* site) {
  if (memory == nullptr) return;
  if (!is_in_arena(memory)) return;  // made before the executions, or by the standard library
  if (!is_parallel) return;
  std::size_t bytes = 0;
  std::memcpy(&bytes, static_cast<char*>(memory) - 8, sizeof bytes);
  plain(memory, bytes, true, site);
  for (Address at = reinterpret_cast<Address>(memory); at < reinterpret_cast<Address>(memory) + bytes; at += granule) {
    shadow_of(at).is_freed = true;
  }
}
void* __wrap__Znwm(std::size_t bytes) { return make(bytes, 16); }
void* __wrap__Znam(std::size_t bytes) { return make(bytes, 16); }
void* __wrap__ZnwmRKSt9nothrow_t(std::size_t bytes, const std::nothrow_t&) { return make(bytes, 16); }
void* __wrap__ZnamRKSt9nothrow_t(std::size_t bytes, const std::nothrow_t&) { return make(bytes, 16); }
void* __wrap__ZnwmSt11align_val_t(std::size_t bytes, std::size_t alignment) { return make(bytes, alignment); }
void* __wrap__ZnwmSt11align_val_tRKSt9nothrow_t(std::size_t bytes, std::size_t alignment, const std::nothrow_t&) {
  return make(bytes, alignment);
}
void __wrap__ZdlPv(void* memory) { destroy(memory, __builtin_return_address(0)); }
void __wrap__ZdaPv(void* memory) { destroy(memory, __builtin_return_address(0)); }
void __wrap__ZdlPvm(void* memory, std::size_t) { destroy(memory, __builtin_return_address(0)); }
void __wrap__ZdlPvSt11align_val_t(void* memory, std::size_t) { destroy(memory, __builtin_return_address(0)); }

// What the compiler calls at each access (-fsanitize=thread).

#define SITE __builtin_return_address(0)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** at, void*) { plain(at, sizeof *at, true, SITE); }
void __tsan_vptr_read(void** at) { plain(at, sizeof *at, false, SITE); }
void __tsan_read_range(void* at, std::size_t size) { plain(at, size, false, SITE); }
void __tsan_write_range(void* at, std::size_t size) { plain(at, size, true, SITE); }
void __tsan_atomic_signal_fence(int) {}
void __tsan_atomic_thread_fence(int) { give_up("fences between threads are not explored"); }

#define PLAIN(size)                                                            \
  void __tsan_read##size(void* at) { plain(at, size, false, SITE); }           \
  void __tsan_write##size(void* at) { plain(at, size, true, SITE); }           \
  void __tsan_unaligned_read##size(void* at) { plain(at, size, false, SITE); } \
  void __tsan_unaligned_write##size(void* at) { plain(at, size, true, SITE); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

#define WHERE reinterpret_cast<Address>(at), sizeof(*at)
#define FROM reinterpret_cast<Address>(SITE)
#define UPDATE(bits, name, expression)                                                                           \
  std::uint##bits##_t __tsan_atomic##bits##_##name(std::uint##bits##_t* at, std::uint##bits##_t by, int order) { \
    return static_cast<std::uint##bits##_t>(update(                                                              \
        WHERE, order, order, FROM, [](Word) { return true; }, [by](Word old) -> Word { return expression; }));   \
  }
#define ATOMIC(bits)                                                                                           \
  std::uint##bits##_t __tsan_atomic##bits##_load(const std::uint##bits##_t* at, int order) {                   \
    return static_cast<std::uint##bits##_t>(load(WHERE, order, FROM));                                         \
  }                                                                                                            \
  void __tsan_atomic##bits##_store(std::uint##bits##_t* at, std::uint##bits##_t value, int order) {            \
    store(WHERE, value, order, FROM);                                                                          \
  }                                                                                                            \
  UPDATE(bits, exchange, (static_cast<void>(old), by))                                                         \
  UPDATE(bits, fetch_add, old + by)                                                                            \
  UPDATE(bits, fetch_sub, old - by)                                                                            \
  UPDATE(bits, fetch_or, old | by)                                                                             \
  UPDATE(bits, fetch_and, old& by)                                                                             \
  UPDATE(bits, fetch_xor, old ^ by)                                                                            \
  int __tsan_atomic##bits##_compare_exchange_strong(std::uint##bits##_t* at, std::uint##bits##_t* expected,    \
                                                    std::uint##bits##_t value, int order, int failure_order) { \
    const std::uint##bits##_t wanted = *expected;                                                              \
    const auto old = static_cast<std::uint##bits##_t>(update(                                                  \
        WHERE, order, failure_order, FROM, [wanted](Word now) { return now == wanted; },                       \
        [value](Word) -> Word { return value; }));                                                             \
    *expected = old;                                                                                           \
    return old == wanted;                                                                                      \
  }                                                                                                            \
  int __tsan_atomic##bits##_compare_exchange_weak(std::uint##bits##_t* at, std::uint##bits##_t* expected,      \
                                                  std::uint##bits##_t value, int order, int failure_order) {   \
    const std::uint##bits##_t wanted = *expected;                                                              \
    const auto old = static_cast<std::uint##bits##_t>(update(                                                  \
        WHERE, order, failure_order, FROM, [wanted](Word now) { return now == wanted; },                       \
        [value](Word) -> Word { return value; }));                                                             \
    *expected = old;                                                                                           \
    return old == wanted;                                                                                      \
  }
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
}  // extern "C"

// Usage: explorer [--list | --orders] [--weaken=PART:OFFSET,...] [NAME]
//   --list    the names of the scenarios
//   --orders  after each scenario, the places of its atomic operations that are not relaxed
//   --weaken  takes a part (acquire or release) from the order at these places
//   NAME      a scenario; else all
int main(int argc, char** argv) {
  const char* wanted = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--list") {
      for (const auto& scenario : scenarios()) std::puts(scenario.name);
      return 0;
    }
    if (argument == "--orders") {
      notes_orders = true;
    } else if (argument.starts_with("--weaken=")) {
      const std::size_t colon = argument.find(':');
      (argument.substr(9, colon - 9) == "acquire" ? weakened.acquire : weakened.release) = true;
      for (const char* at = argv[i] + colon; *at != '\0';) {
        char* end = nullptr;
        weakened.sites.push_back(std::strtoull(at + 1, &end, 16));
        at = end;
      }
    } else {
      wanted = argv[i];
    }
  }

  dl_iterate_phdr(look_at, nullptr);
  if (module_base == 0) give_up("libscenarios.so is not loaded");
  initial_locals.assign(locals, locals + locals_bytes);
  constexpr Address arenas_at = 0x1000'0000'0000;
  arenas =
      static_cast<char*>(mmap(reinterpret_cast<void*>(arenas_at), max_threads * arena_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));
  if (arenas == MAP_FAILED) give_up("no memory");
  regions.push_back({arenas, max_threads * arena_bytes});
  for (Running& thread : threads) {
    thread.stack =
        static_cast<char*>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
  for (const Region& region : regions) mprotect(region.begin, region.bytes, PROT_READ);

  for (const auto& scenario : scenarios()) {
    if (wanted != nullptr && std::strcmp(wanted, scenario.name) != 0) continue;
    ordered_sites.clear();
    const Result result = explore(scenario);
    std::printf("%s: %zu executions, %zu states, %.2f s\n", scenario.name, result.executions, result.states,
                result.seconds);
    std::fflush(stdout);
    if (!notes_orders) continue;
    std::vector<Address> sites;
    for (const Site& site : ordered_sites) sites.push_back(site.address);
    const auto lines = lines_of(sites);
    for (std::size_t i = 0; i < sites.size(); ++i) {
      std::printf("  %lx %s %s\n", sites[i] - module_base, name_of(ordered_sites[i].order), lines[i].c_str());
    }
  }
  std::fflush(stdout);
  std::_Exit(0);  // what the last execution left is not destroyed
}

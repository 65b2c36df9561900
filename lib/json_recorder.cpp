#include <fmt/format.h>

#include <ctime>
#include <iterator>
#include <mutex>
#include <ostream>
#include <utility>

#include "json.hpp"
#include "quipu/recorder.hpp"

namespace quipu {
namespace {

void append_time(std::string& out, std::chrono::system_clock::time_point time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto fraction = std::chrono::floor<std::chrono::milliseconds>(time - whole);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(whole);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, fraction.count());
}

template <class AppendValue>
std::string line(std::string_view kind, std::string_view name, std::string_view value_name, Labels labels,
                 AppendValue append_value) {
  std::string out = "{\"time\":\"";
  append_time(out, std::chrono::system_clock::now());
  out += "\",\"kind\":\"";
  out += kind;
  out += "\",\"name\":";
  detail::append_json_text(out, name);
  out += ",\"";
  out += value_name;
  out += "\":";
  append_value(out);
  out += ",\"labels\":{";
  for (const Label& label : labels) {
    if (&label != labels.data()) out += ',';
    detail::append_json_text(out, label.name);
    out += ':';
    detail::append_json_text(out, label.value);
  }
  out += "}}\n";
  return out;
}

std::string line(std::string_view kind, std::string_view name, std::string_view value_name, Labels labels,
                 double value) {
  return line(kind, name, value_name, labels, [value](std::string& out) { detail::append_json_number(out, value); });
}

}  // namespace

class JsonRecorder::Stream {
 public:
  explicit Stream(std::ostream& stream) : stream_(stream) {}

  // Whether the stream took it. Neither throws, though the stream may.
  bool write(std::string_view line) {
    return attempt([line](std::ostream& to) { to.write(line.data(), static_cast<std::streamsize>(line.size())); });
  }
  bool flush() {
    return attempt([](std::ostream& to) { to.flush(); });
  }

 private:
  template <class Use>
  bool attempt(Use use) {
    const std::lock_guard lock(mutex_);
    try {
      use(stream_);
      return stream_.good();
    } catch (...) {  // of a stream that is told to throw
      return false;
    }
  }

  std::mutex mutex_;
  std::ostream& stream_;
};

JsonRecorder::JsonRecorder(std::ostream& stream) : stream_(std::make_unique<Stream>(stream)) {}
JsonRecorder::JsonRecorder(std::function<void(std::string_view)> write) : write_(std::move(write)) {}
JsonRecorder::~JsonRecorder() = default;

void JsonRecorder::put(const std::string& line) {
  if (stream_ == nullptr) return write_(line);
  if (!stream_->write(line)) dropped_.fetch_add(1, std::memory_order_relaxed);
}

void JsonRecorder::increment(std::string_view name, std::uint64_t step, Labels labels) {
  put(line("increment", name, "step", labels,
           [step](std::string& out) { fmt::format_to(std::back_inserter(out), "{}", step); }));
}

void JsonRecorder::gauge(std::string_view name, double value, Labels labels) {
  put(line("gauge", name, "value", labels, value));
}

void JsonRecorder::histogram(std::string_view name, double value, Labels labels) {
  put(line("histogram", name, "value", labels, value));
}

void JsonRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  put(line("time", name, "seconds", labels, Seconds(time).count()));
}

void JsonRecorder::flush() {
  if (stream_ != nullptr) static_cast<void>(stream_->flush());
}

}  // namespace quipu

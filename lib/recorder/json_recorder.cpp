#include <mutex>
#include <ostream>
#include <utility>

#include "base/json.hpp"
#include "quipu/recorder.hpp"

namespace quipu {
namespace {

template <class Value>
std::string line(std::string_view kind, std::string_view name, std::string_view value_name, Value value,
                 Labels labels) {
  std::string out;
  {
    detail::JsonObject object(out);
    object.add("time", std::chrono::system_clock::now());
    object.add("kind", kind);
    object.add("name", name);
    object.add(value_name, value);
    detail::JsonObject of_labels(object.key("labels"));
    for (const Label& label : labels) of_labels.add(label.name, label.value);
  }
  return out += '\n';
}

}  // namespace

class JsonRecorder::Stream {
 public:
  explicit Stream(std::ostream& stream) : stream_(stream) {}

  // Both return whether the stream is good afterwards. Neither throws, even if the stream is set to throw.
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
    } catch (...) {
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
  put(line("increment", name, "step", step, labels));
}

void JsonRecorder::gauge(std::string_view name, double value, Labels labels) {
  put(line("gauge", name, "value", value, labels));
}

void JsonRecorder::histogram(std::string_view name, double value, Labels labels) {
  put(line("histogram", name, "value", value, labels));
}

void JsonRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  put(line("time", name, "seconds", Seconds(time).count(), labels));
}

void JsonRecorder::flush() {
  if (stream_ != nullptr) static_cast<void>(stream_->flush());
}

}  // namespace quipu

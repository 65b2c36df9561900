#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <ostream>
#include <streambuf>
#include <string>
#include <utility>

#include "base/json.hpp"
#include "base/utf8.hpp"
#include "quipu/error.hpp"
#include "quipu/label.hpp"
#include "quipu/recorder.hpp"

namespace quipu {
namespace {

/// The fields as in a line. A name that a line has anyway would make it ambiguous.
std::string fields_of(const JsonRecorderOptions& options) {
  std::vector<std::string> names = {"time", "kind", "name", "step", "value", "seconds", "labels", "lines"};
  std::string out;
  for (const auto& [name, value] : options.fields) {
    std::string clean = detail::to_utf8(name);
    if (std::ranges::find(names, clean) != names.end()) {
      throw RegistrationError(fmt::format(
          "JsonRecorderOptions::fields: a line has \"{}\" already; choose another name for the field", clean));
    }
    names.push_back(std::move(clean));
    out += ',';
    detail::append_json_text(out, name);
    out += ':';
    detail::append_json_text(out, value);
  }
  return out;
}

template <class Value>
std::string line(std::string_view fields, std::string_view kind, std::string_view name, std::string_view value_name,
                 Value value, Labels labels) {
  std::string out;
  {
    detail::JsonObject object(out);
    object.add("time", std::chrono::system_clock::now());
    out += fields;
    object.add("kind", kind);
    object.add("name", name);
    object.add(value_name, value);
    detail::JsonObject of_labels(object.key("labels"));
    for (const Label& label : labels) {
      if (label.value.size() <= detail::default_max_label_value) {
        of_labels.add(label.name, label.value);
      } else {
        of_labels.add(label.name, detail::to_utf8(label.value, detail::default_max_label_value));
      }
    }
  }
  return out += '\n';
}

}  // namespace

/// Writes lines to a stream that may fail, as a file does on a full disk.
///
/// The stream holds lines back in its buffer, and when it fails, nobody knows which of them are lost. So it is flushed
/// after a few, and all since then count as lost. After a failure, each line is an attempt to go on: the first one that
/// succeeds is preceded by a line that tells how many were lost.
class JsonRecorder::Stream {
 public:
  Stream(std::ostream& stream, const std::string& fields) : stream_(stream), fields_(fields) {}

  // Both return how many lines are lost now. Neither throws, even if the stream is set to throw.

  std::uint64_t write(std::string_view line) noexcept {
    const std::lock_guard lock(mutex_);
    ++held_lines_;
    held_bytes_ += line.size();
    if (!tell_losses() || !put(line)) return lose();
    return held_bytes_ < max_held_bytes || flush_stream() ? 0 : lose();
  }
  std::uint64_t flush() noexcept {
    const std::lock_guard lock(mutex_);
    return tell_losses() && flush_stream() ? 0 : lose();
  }

 private:
  static constexpr std::size_t max_held_bytes = 4096;

  std::uint64_t lose() noexcept {
    untold_ += held_lines_;
    held_bytes_ = 0;
    return std::exchange(held_lines_, 0);
  }

  /// Whether the stream works, as far as is known, and nothing is left to be told.
  bool tell_losses() noexcept {
    if (untold_ == 0) return true;
    const auto work = [this] {
      stream_.clear();
      // Flushes first: what a buffer could not write stays in it, and nothing may be added to that each time.
      if (stream_.rdbuf() == nullptr || stream_.rdbuf()->pubsync() != 0) return false;
      std::string text(is_broken_off_ ? "\n" : "");
      {
        detail::JsonObject object(text);
        object.add("time", std::chrono::system_clock::now());
        text += fields_;
        object.add("kind", "dropped");
        object.add("lines", untold_);
      }
      return put(text += '\n') && stream_.rdbuf()->pubsync() == 0;
    };
    try {
      if (!work()) return false;
    } catch (...) {
      return false;
    }
    untold_ = 0;
    return true;
  }

  bool put(std::string_view text) noexcept try {
    const std::ostream::sentry ready(stream_);
    if (!ready) return false;
    const std::streamsize size = static_cast<std::streamsize>(text.size());
    const std::streamsize taken = stream_.rdbuf()->sputn(text.data(), size);
    if (taken > 0) is_broken_off_ = taken < size;
    if (taken < size) stream_.setstate(std::ios::badbit);
    return taken == size;
  } catch (...) {
    return false;
  }

  bool flush_stream() noexcept try {
    stream_.flush();
    if (!stream_.good()) return false;
    held_lines_ = 0;
    held_bytes_ = 0;
    return true;
  } catch (...) {
    return false;
  }

  std::mutex mutex_;  // guards all of this
  std::ostream& stream_;
  const std::string& fields_;     // of the recorder
  std::uint64_t held_lines_ = 0;  // since the last flush
  std::size_t held_bytes_ = 0;
  std::uint64_t untold_ = 0;    // lost lines that no line tells of
  bool is_broken_off_ = false;  // the stream took a part of a line
};

JsonRecorder::JsonRecorder(std::ostream& stream, JsonRecorderOptions options)
    : fields_(fields_of(options)), stream_(std::make_unique<Stream>(stream, fields_)) {}
JsonRecorder::JsonRecorder(std::function<void(std::string_view)> write, JsonRecorderOptions options)
    : fields_(fields_of(options)), write_(std::move(write)) {}
JsonRecorder::~JsonRecorder() = default;

void JsonRecorder::put(const std::string& line) {
  if (stream_ == nullptr) return write_(line);
  dropped_.fetch_add(stream_->write(line), std::memory_order_relaxed);
}

void JsonRecorder::increment(std::string_view name, Number step, Labels labels) {
  put(step.is_whole() ? line(fields_, "increment", name, "step", step.whole(), labels)
                      : line(fields_, "increment", name, "step", step.real(), labels));
}

void JsonRecorder::gauge(std::string_view name, double value, Labels labels) {
  put(line(fields_, "gauge", name, "value", value, labels));
}

void JsonRecorder::histogram(std::string_view name, double value, Labels labels) {
  put(line(fields_, "histogram", name, "value", value, labels));
}

void JsonRecorder::time(std::string_view name, std::chrono::nanoseconds time, Labels labels) {
  put(line(fields_, "time", name, "seconds", Seconds(time).count(), labels));
}

void JsonRecorder::flush() {
  if (stream_ != nullptr) dropped_.fetch_add(stream_->flush(), std::memory_order_relaxed);
}

}  // namespace quipu

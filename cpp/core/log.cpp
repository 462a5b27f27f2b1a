#include "core/log.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace linnet {
namespace {

const char* const kTopics[] = {"load", "plan", "compile", "run"};

// One call, so that lines of several threads and processes do not mix.
void write_line(const std::string& text) {
  const std::string line = text + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // nothing is to be done about it
}

// A bit for each topic that LINNET_LOG names.
unsigned wanted_topics() {
  unsigned wanted = 0;
  const char* variable = std::getenv("LINNET_LOG");
  std::string list = variable ? variable : "";
  for (size_t end; !list.empty(); list.erase(0, end == std::string::npos ? end : end + 1)) {
    end = list.find(',');
    const std::string name = list.substr(0, end);
    bool known = name.empty();
    for (unsigned i = 0; i < std::size(kTopics); ++i) {
      if (name == kTopics[i]) wanted |= 1u << i, known = true;
    }
    if (!known) write_line("linnet: LINNET_LOG knows no '" + name + "': load, plan, compile, run");
  }
  return wanted;
}

void write_text(Topic topic, const char* format, va_list arguments, const char* end) {
  va_list measured;
  va_copy(measured, arguments);
  std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, format, measured)), '\0');
  va_end(measured);
  std::vsnprintf(&text[0], text.size() + 1, format, arguments);
  write_line(std::string("linnet ") + kTopics[static_cast<int>(topic)] + ": " + text + end);
}

}  // namespace

bool logs(Topic topic) {
  static const unsigned wanted = wanted_topics();
  return wanted >> static_cast<unsigned>(topic) & 1u;
}

void log_event(Topic topic, const char* format, ...) {
  if (!logs(topic)) return;
  va_list arguments;
  va_start(arguments, format);
  write_text(topic, format, arguments, "");
  va_end(arguments);
}

void LogTimer::log(const char* format, ...) {
  if (!logs(topic_)) return;
  const auto now = std::chrono::steady_clock::now();
  char time[32];
  std::snprintf(time, sizeof time, ": %.3f ms",
                std::chrono::duration<double, std::milli>(now - start_).count());
  va_list arguments;
  va_start(arguments, format);
  write_text(topic_, format, arguments, time);
  va_end(arguments);
  start_ = now;
}

}  // namespace linnet

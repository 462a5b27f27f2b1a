// linnet-run: runs a model from the command line over the C API. Reads and writes .npy files.
#include <linnet.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "core/options.h"

namespace {

using linnet::Option;
using linnet::OptionKind;

const char kUsage[] =
    R"(usage: linnet-run MODEL.onnx [INPUT.npy...] [options]

Runs a model that `linnet convert` wrote. Each INPUT.npy holds a float32 array [N, ...]; they go to the model's inputs in
order. Without them the inputs are random numbers in 0..1.

  --output PREFIX       write each output to PREFIX<name>.npy (default: write none)
  --batch N             images of random input (default: 1)
  --iterations N        timed runs (default: 1)
  --warmup N            runs before them (default: 1)
)";

[[noreturn]] void die(const std::string& message) {
  std::fprintf(stderr, "linnet-run: %s\n", message.c_str());
  std::exit(1);
}

void check(linnet_status status) {
  if (status != LINNET_OK) die(linnet_error());
}

int64_t number(const std::string& option, const char* text, int64_t least) {
  char* end;
  errno = 0;
  const long long value = std::strtoll(text, &end, 10);
  if (*end || end == text || errno || value < least || value > 1 << 30) {
    die(option + " " + text + ": expected a number of at least " + std::to_string(least));
  }
  return value;
}

// "300M": bytes, or powers of 1024 of them.
size_t memory_size(const std::string& option, const char* text) {
  char* end;
  double value = std::strtod(text, &end);
  const char* const units = "KMGT";
  const char* unit = *end ? std::strchr(units, *end) : nullptr;
  if (unit) value = std::ldexp(value, 10 * static_cast<int>(unit - units + 1)), ++end;
  if (*end || !(value >= 1)) die(option + " " + text + ": expected a size such as 300M or 1G");
  return value < static_cast<double>(PTRDIFF_MAX) ? static_cast<size_t>(value) : PTRDIFF_MAX;
}

// Memory for `batch` images of a tensor.
std::vector<float> floats(int64_t batch, const linnet_tensor& tensor) {
  if (static_cast<uint64_t>(batch) >
      PTRDIFF_MAX / sizeof(float) / std::max<size_t>(1, tensor.count))
    throw std::bad_alloc();
  return std::vector<float>(static_cast<size_t>(batch) * tensor.count);
}

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

// A .npy file (NumPy's format, versions 1 to 3): a magic string, the length of a header in Python
// syntax, the data.
struct Npy {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

// Reads a float32 array whose shape but for the batch is that of `tensor`.
Npy read_npy(const std::string& path, const linnet_tensor& tensor) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) die(path + ": " + std::strerror(errno));
  unsigned char start[12];
  if (std::fread(start, 1, 10, file.get()) != 10 || std::memcmp(start, "\x93NUMPY", 6) != 0)
    die(path + ": not a .npy file");
  size_t length = start[8] + 256u * start[9];
  if (start[6] >= 2) {
    if (std::fread(start + 10, 1, 2, file.get()) != 2) die(path + ": cut short");
    length += 65536u * start[10] + 16777216u * start[11];
  }
  if (length > 1 << 16) die(path + ": the header is too long");
  std::string header(length, '\0');
  if (std::fread(&header[0], 1, length, file.get()) != length) die(path + ": cut short");
  if (header.find("'<f4'") == std::string::npos) die(path + ": not float32");
  if (header.find("'fortran_order': False") == std::string::npos) die(path + ": in Fortran order");

  Npy array;
  const size_t open = header.find('(', header.find("'shape'"));
  if (open == std::string::npos) die(path + ": no shape");
  for (const char* at = header.c_str() + open + 1; *at && *at != ')';) {
    if (*at < '0' || *at > '9') {
      ++at;
      continue;
    }
    char* end;
    array.shape.push_back(std::strtoll(at, &end, 10));
    at = end;
  }
  bool fits = array.shape.size() == tensor.rank && array.shape[0] >= 1;
  for (size_t i = 1; fits && i < tensor.rank; ++i) fits = array.shape[i] == tensor.shape[i];
  if (!fits) {
    std::string wanted = "(N";
    for (size_t i = 1; i < tensor.rank; ++i) wanted += ", " + std::to_string(tensor.shape[i]);
    die(path + ": '" + tensor.name + "' has shape " + wanted + ")");
  }
  // The size is checked against the file before anything is allocated for it.
  const long at = std::ftell(file.get());
  std::fseek(file.get(), 0, SEEK_END);
  const uint64_t bytes = static_cast<uint64_t>(std::ftell(file.get()) - at);
  std::fseek(file.get(), at, SEEK_SET);
  if (static_cast<uint64_t>(array.shape[0]) >
      bytes / sizeof(float) / std::max<size_t>(1, tensor.count))
    die(path + ": cut short");
  array.data.resize(static_cast<size_t>(array.shape[0]) * tensor.count);
  if (std::fread(array.data.data(), sizeof(float), array.data.size(), file.get()) !=
      array.data.size())
    die(path + ": cut short");
  return array;
}

// What the file holds stays until there is something to write.
File open_to_write(const std::string& path) {
  File file(std::fopen(path.c_str(), "ab"));
  if (!file) die(path + ": " + std::strerror(errno));
  return file;
}

void write_npy(const File& file, const std::string& path, const linnet_tensor& tensor,
               int64_t batch, const std::vector<float>& data) {
  std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(batch) + ",";
  for (size_t i = 1; i < tensor.rank; ++i) header += " " + std::to_string(tensor.shape[i]) + ",";
  header += "), }";
  header += std::string(63 - (10 + header.size()) % 64, ' ') + '\n';
  std::string start("\x93NUMPY\x01\0", 8);
  start += static_cast<char>(header.size() & 255);
  start += static_cast<char>(header.size() >> 8);
  // Of a pipe there is nothing to cut.
  if (ftruncate(fileno(file.get()), 0) && errno != EINVAL) die(path + ": " + std::strerror(errno));
  std::fwrite(start.data(), 1, start.size(), file.get());
  std::fwrite(header.data(), 1, header.size(), file.get());
  std::fwrite(data.data(), sizeof(float), data.size(), file.get());
  if (std::fflush(file.get()) || std::ferror(file.get())) die(path + ": cannot be written");
}

// Names become file names: a path in them must not lead elsewhere.
std::string file_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

double microseconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

double mean(const std::vector<double>& times) {
  double sum = 0;
  for (double t : times) sum += t;
  return times.empty() ? 0 : sum / static_cast<double>(times.size());
}

// The line TensorFlow Lite's benchmark tool prints, in microseconds.
void print_statistics(const std::vector<double>& times) {
  const double average = mean(times);
  double squares = 0;
  for (double t : times) squares += (t - average) * (t - average);
  std::printf("count=%zu first=%.0f curr=%.0f min=%.0f max=%.0f avg=%.1f std=%.0f\n", times.size(),
              times.front(), times.back(), *std::min_element(times.begin(), times.end()),
              *std::max_element(times.begin(), times.end()), average,
              std::sqrt(squares / static_cast<double>(times.size())));
}

// What the command line asks for.
struct Command {
  std::string model;
  std::vector<std::string> files;
  std::string output;
  bool write = false;
  linnet_options options = {};
  int64_t batch = 1, iterations = 1, warmup = 1;
};

// The option's name on a command line.
std::string dashed(const Option& option) {
  std::string name = std::string("--") + option.name;
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

void print_usage(std::FILE* to) {
  std::fputs(kUsage, to);
  linnet_options options = {};
  linnet::visit_options(
      [&](const Option& option, const auto&) {
        std::string left = dashed(option);
        if (left == "--threads") left += ", -t";
        left += std::string(" ") + option.value;
        std::fprintf(to, "  %-20s  %s\n", left.c_str(), option.help);
      },
      options);
  std::fputs("  --version\n", to);
}

// Sets the session's option that `name` is to the text `value`, which is null where no argument
// follows. Returns how many arguments it took: the name alone, or with the value; 0 if there is no
// such option.
int set_option(const std::string& name, const char* value, linnet_options* options) {
  int taken = 0;
  linnet::visit_options(
      [&](const Option& option, auto& field) {
        if (name != dashed(option)) return;
        taken = option.kind == OptionKind::kFlag ? 1 : 2;
        if (taken == 2 && !value) die(name + ": its value is missing");
        using Field = std::remove_reference_t<decltype(field)>;
        if constexpr (std::is_same_v<Field, int>) {
          field = taken == 1 ? 1 : static_cast<int>(number(name, value, 1));
        } else if constexpr (std::is_same_v<Field, size_t>) {
          field = memory_size(name, value);
        } else {
          field = value;
        }
      },
      *options);
  return taken;
}

// Ends the program for --help and --version.
Command parse(int argc, char** argv) {
  Command c;
  c.options.size = sizeof c.options;
  for (int i = 1; i < argc;) {
    const std::string a = std::strcmp(argv[i], "-t") == 0 ? "--threads" : argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (a == "--help" || a == "-h") {
      print_usage(stdout);
      std::exit(0);
    }
    if (a == "--version") {
      std::printf("linnet %s\n", linnet_version());
      std::exit(0);
    }
    if (a.size() < 2 || a[0] != '-') {
      if (c.model.empty()) {
        c.model = a;
      } else {
        c.files.push_back(a);
      }
      ++i;
      continue;
    }
    if (const int taken = set_option(a, value, &c.options)) {
      i += taken;
      continue;
    }
    int64_t* const count = a == "--batch"        ? &c.batch
                           : a == "--iterations" ? &c.iterations
                           : a == "--warmup"     ? &c.warmup
                                                 : nullptr;
    if (!count && a != "--output") die(a + ": unknown option; --help lists them");
    if (!value) die(a + ": its value is missing");
    if (count) {
      *count = number(a, value, a == "--warmup" ? 0 : 1);
    } else {
      c.output = value, c.write = true;
    }
    i += 2;
  }
  if (c.model.empty()) {
    print_usage(stderr);
    std::exit(1);
  }
  return c;
}

// The inputs of a run: what the files hold, else random numbers. Sets the batch to the files'.
std::vector<std::vector<float>> read_inputs(const linnet_session* net,
                                            const std::vector<std::string>& files, int64_t* batch) {
  const size_t inputs = linnet_input_count(net);
  if (!files.empty() && files.size() != inputs) {
    die("got " + std::to_string(files.size()) + " input files, the model has " +
        std::to_string(inputs) + " inputs");
  }
  std::vector<std::vector<float>> all;
  for (size_t i = 0; i < inputs; ++i) {
    const linnet_tensor& tensor = *linnet_input(net, i);
    if (files.empty()) {
      std::mt19937 random(static_cast<unsigned>(i));
      all.push_back(floats(*batch, tensor));
      for (float& f : all.back()) f = static_cast<float>(random() >> 8) / 16777216.0f;
    } else {
      Npy array = read_npy(files[i], tensor);
      if (i && array.shape[0] != *batch) die(files[i] + ": another batch than " + files[0]);
      *batch = array.shape[0];
      all.push_back(std::move(array.data));
    }
  }
  return all;
}

// The largest value of each image: the class, where the output is a classification.
void print_classes(const linnet_tensor& tensor, int64_t batch, const std::vector<float>& y) {
  if (tensor.rank != 2) return;
  std::printf("%s:", tensor.name);
  for (int64_t n = 0; n < std::min<int64_t>(batch, 16); ++n) {
    const float* row = y.data() + static_cast<size_t>(n) * tensor.count;
    const float* most = std::max_element(row, row + tensor.count);
    std::printf(" %td (%.4f)", most - row, static_cast<double>(*most));
  }
  std::printf("%s\n", batch > 16 ? " ..." : "");
}

void run(const Command& command) {
  const auto start = std::chrono::steady_clock::now();
  linnet_session* loaded = nullptr;
  check(linnet_load(command.model.c_str(), &command.options, &loaded));
  const std::unique_ptr<linnet_session, void (*)(linnet_session*)> net(loaded, linnet_free);
  const double init = microseconds(start);

  int64_t batch = command.batch;
  const std::vector<std::vector<float>> from = read_inputs(net.get(), command.files, &batch);
  std::vector<std::vector<float>> to;
  std::vector<std::string> paths;
  std::vector<File> written;
  const size_t outputs = linnet_output_count(net.get());
  for (size_t i = 0; i < outputs; ++i) {
    const linnet_tensor& tensor = *linnet_output(net.get(), i);
    to.push_back(floats(batch, tensor));
    if (!command.write) continue;
    paths.push_back(command.output + file_name(tensor.name) + ".npy");
    written.push_back(open_to_write(paths.back()));  // before the run, which may take long
  }
  std::vector<const void*> x;
  std::vector<void*> y;
  for (const auto& f : from) x.push_back(f.data());
  for (auto& f : to) y.push_back(f.data());

  const auto times = [&](int64_t runs) {
    std::vector<double> result;
    for (int64_t i = 0; i < runs; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      check(linnet_run(net.get(), batch, x.data(), y.data()));
      result.push_back(microseconds(begin));
    }
    return result;
  };
  const std::vector<double> warm = times(command.warmup), timed = times(command.iterations);

  std::printf("linnet %s, %s, %d thread%s, batch %lld\n", linnet_version(), linnet_isa(net.get()),
              linnet_threads(net.get()), linnet_threads(net.get()) == 1 ? "" : "s",
              static_cast<long long>(batch));
  print_statistics(timed);
  std::printf(
      "Inference timings in us: Init: %.0f, First inference: %.0f, Warmup (avg): %.1f, Inference "
      "(avg): %.1f\n",
      init, warm.empty() ? timed.front() : warm.front(), mean(warm), mean(timed));

  for (size_t i = 0; i < outputs; ++i) {
    const linnet_tensor& tensor = *linnet_output(net.get(), i);
    if (command.write) write_npy(written[i], paths[i], tensor, batch, to[i]);
    print_classes(tensor, batch, to[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    if (std::fflush(stdout) || std::ferror(stdout)) die("the standard output cannot be written");
    return 0;
  } catch (const std::bad_alloc&) {
    die("out of memory; fewer images (--batch) take less");
  } catch (const std::exception& e) {
    die(e.what());
  }
}

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>

#include "plan/wisdom.h"

using linnet::Wisdom;

namespace {

const char kKey[] = "conv f32 n1 c16h41w41 k48r6x6 relu maxpool3x3 nhwc t1";
const char kOther[] = "matmul f32 n1 c128h1w1 k848 nhwc t1";
const auto machine_of = [](const std::string& isa) {
  return [isa] { return "linnet 1.2.3\ncpu one\nisa " + isa + "\n"; };
};
const auto kMachine = machine_of("avx2");

// A folder of its own, gone at the end.
struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/linnet-wisdom-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file() const { return path + "/deep/er/wisdom.txt"; }
  size_t files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      count += entry.is_regular_file();
    }
    return count;
  }
};

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("wisdom saved is found again, fastest algorithm first") {
  const Folder folder;
  int asked = 0;
  Wisdom fresh(folder.file(), [&] { return ++asked, kMachine(); });
  CHECK(contains(fresh.note(), "there is none yet"));
  CHECK(asked == 0);  // where there is nothing to compare, no library is loaded for its name
  fresh.record(kKey, {{"direct", 2e-3}});
  fresh.record(kKey, {{"winograd", 1.5e-3}, {"direct", 3e-3}});
  fresh.save();
  CHECK(folder.files() == 1);  // no temporary file stays

  const Wisdom read(folder.file(), kMachine);
  CHECK(contains(read.note(), "wisdom of 1 layers"));
  CHECK(read.find(kOther) == nullptr);
  const Wisdom::Times* times = read.find(kKey);
  REQUIRE(times != nullptr);
  REQUIRE(times->size() == 2);
  CHECK((*times)[0].first == "winograd");
  CHECK((*times)[0].second == doctest::Approx(1.5e-3));
  CHECK((*times)[1].first == "direct");
  CHECK((*times)[1].second == doctest::Approx(3e-3));
}

TEST_CASE("wisdom of another machine is ignored with the reason, and kept") {
  const Folder folder;
  Wisdom theirs(folder.file(), kMachine);
  theirs.record(kKey, {{"direct", 1.0}});
  theirs.save();
  Wisdom ours(folder.file(), machine_of("avx512"));
  CHECK(ours.find(kKey) == nullptr);
  CHECK(contains(ours.note(), "made with 'isa avx2', here it is 'isa avx512'"));
  ours.record(kOther, {{"direct", 2.0}});
  ours.save();
  CHECK(Wisdom(folder.file(), kMachine).find(kKey) != nullptr);
  CHECK(Wisdom(folder.file(), machine_of("avx512")).find(kOther) != nullptr);
}

TEST_CASE("two that save to one file keep what both found") {
  const Folder folder;
  Wisdom a(folder.file(), kMachine), b(folder.file(), kMachine);
  a.record(kKey, {{"direct", 1.0}});
  b.record(kKey, {{"winograd", 2.0}});
  b.record(kOther, {{"direct", 3.0}});
  a.save();
  b.save();
  const Wisdom both(folder.file(), kMachine);
  REQUIRE(both.find(kKey) != nullptr);
  CHECK(both.find(kKey)->size() == 2);
  CHECK(both.find(kOther) != nullptr);
}

TEST_CASE("a reader never sees half a file") {
  const Folder folder;
  Wisdom writer(folder.file(), kMachine);
  for (int n = 1; n <= 200; ++n) {
    writer.record("matmul f32 n" + std::to_string(n) + " c128h1w1 k848 nhwc t1", {{"direct", 1.0}});
  }
  writer.save();
  std::thread saving([&] {
    for (int i = 0; i < 30; ++i) writer.save();
  });
  size_t wrong = 0;
  for (int i = 0; i < 30; ++i) {
    const Wisdom reader(folder.file(), kMachine);
    wrong += !contains(reader.note(), "wisdom of 200 layers");
  }
  saving.join();
  CHECK(wrong == 0);
}

TEST_CASE("lines that make no sense are skipped and counted") {
  const Folder folder;
  const std::string path = folder.path + "/w";
  std::ofstream(path) << "linnet wisdom 1\n\n"
                      << kMachine() << kKey << " = direct 0.5\n"
                      << kOther << " = no-such-algorithm 1\n"
                      << kOther << " = direct -1\n"
                      << kOther << " = direct nan\n"
                      << kOther << " = direct\n"
                      << kOther << " = direct 1 2\n"
                      << kOther << " = \n"
                      << "conv of something = direct 1\n"
                      << "matmul f32 n1 c128h1w1 k848 nhwc  t1 = direct 1\n";  // not canonical
  const Wisdom wisdom(path, kMachine);
  CHECK(wisdom.find(kKey) != nullptr);
  CHECK(wisdom.find(kOther) == nullptr);
  CHECK(contains(wisdom.note(), "8 lines skipped"));
}

TEST_CASE("a file of another format is not used; one that is no wisdom is not overwritten") {
  const Folder folder;
  const std::string path = folder.path + "/w";
  std::ofstream(path) << "linnet wisdom 0\n\n" << kMachine() << kKey << " = direct 0.5\n";
  Wisdom old(path, kMachine);
  CHECK(old.find(kKey) == nullptr);
  CHECK(contains(old.note(), "its format is 0, not 1"));
  old.record(kOther, {{"direct", 1.0}});
  old.save();
  CHECK(Wisdom(path, kMachine).find(kOther) != nullptr);

  std::ofstream(path) << "my diary\n";
  Wisdom diary(path, kMachine);
  CHECK(contains(diary.note(), "not a wisdom file"));
  CHECK_THROWS_WITH_AS(diary.save(), doctest::Contains(path.c_str()), std::runtime_error);
  CHECK(text_of(path) == "my diary\n");

  Wisdom folder_as_file(folder.path, kMachine);
  CHECK(contains(folder_as_file.note(), "cannot be read"));
  CHECK_THROWS_AS(folder_as_file.save(), std::runtime_error);
  CHECK_THROWS_AS(Wisdom(path + "/inside/a/file", kMachine).save(), std::runtime_error);
  CHECK_THROWS_AS(Wisdom().save(), std::runtime_error);
}

TEST_CASE("whatever the bytes of a file, reading it does no harm") {
  const Folder folder;
  const std::string path = folder.path + "/w";
  Wisdom good(path, kMachine);
  good.record(kKey, {{"direct", 1.0}, {"winograd", 2.0}});
  good.save();
  const std::string text = text_of(path);
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string damaged = text;
    for (int hits = 1 + i % 5; hits > 0; --hits) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    if (i % 7 == 0) damaged.resize(random() % damaged.size());
    std::ofstream(path, std::ios::binary) << damaged;
    const Wisdom wisdom(path, kMachine);
    CHECK_FALSE(wisdom.note().empty());
    if (const Wisdom::Times* times = wisdom.find(kKey)) {
      for (const auto& time : *times) CHECK(time.second > 0);
    }
  }
}

TEST_CASE("the file's place follows the environment") {
  const auto set = [](const char* name, const char* value) {
    if (value) {
      setenv(name, value, 1);
    } else {
      unsetenv(name);
    }
  };
  const char* names[] = {"LINNET_WISDOM", "XDG_CACHE_HOME", "HOME"};
  std::string before[3];
  bool there[3];
  for (int i = 0; i < 3; ++i) {
    const char* value = std::getenv(names[i]);
    there[i] = value != nullptr;
    if (value) before[i] = value;
  }
  set("HOME", "/home/me"), set("XDG_CACHE_HOME", nullptr), set("LINNET_WISDOM", nullptr);
  CHECK(Wisdom::default_path() == "/home/me/.cache/linnet/wisdom.txt");
  set("XDG_CACHE_HOME", "/cache");
  CHECK(Wisdom::default_path() == "/cache/linnet/wisdom.txt");
  set("XDG_CACHE_HOME", "not/absolute");
  CHECK(Wisdom::default_path() == "/home/me/.cache/linnet/wisdom.txt");
  set("LINNET_WISDOM", "/w.txt");
  CHECK(Wisdom::default_path() == "/w.txt");
  set("LINNET_WISDOM", "");
  CHECK(Wisdom::default_path().empty());
  for (int i = 0; i < 3; ++i) set(names[i], there[i] ? before[i].c_str() : nullptr);
}

TEST_CASE("a machine is told apart by its instruction set and libraries") {
  linnet::WeightStore weights;
  linnet::Backends none("/no/such.so", "/no/such.so"), standin("", LINNET_NNPACK_STANDIN);
  const auto machine = [&](linnet::Backends& backends) {
    return Wisdom::machine({linnet::kernels_for("scalar"), weights, backends});
  };
  const std::string text = machine(none);
  CHECK(contains(text, "\nisa scalar\n"));
  CHECK(contains(text, "\nopenblas none\n"));
  CHECK(contains(text, "\nnnpack none\n"));
  CHECK(contains(text, " direct "));
  CHECK(contains(machine(standin), "nnpack_standin.so\n"));
  if (const linnet::OpenBlas* blas = standin.openblas.library())
    CHECK(contains(machine(standin), "\nopenblas " + blas->path + ", "));
}

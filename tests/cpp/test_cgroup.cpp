#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "run/cgroup.h"

namespace {

// The files of /proc and /sys that a test brings.
class Tree {
 public:
  Tree() { REQUIRE(mkdtemp(folder_)); }
  ~Tree() { std::filesystem::remove_all(folder_); }

  std::string root() const { return folder_; }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root() + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

 private:
  char folder_[32] = "/tmp/linnet-cgroup-XXXXXX";
};

}  // namespace

TEST_CASE("cgroup limits of v2: the tightest of group and ancestors") {
  const Tree tree;
  const auto quota = [&] { return linnet::cgroup_cpu_quota(tree.root()); };
  const auto memory = [&] { return linnet::cgroup_memory_limit(tree.root()); };
  CHECK(quota() == 0);  // no /proc
  CHECK(memory() == 0);

  tree.write("proc/self/mountinfo",
             "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  tree.write("proc/self/cgroup", "0::/a.slice/b.service\n");
  CHECK(quota() == 0);
  CHECK(memory() == 0);
  tree.write("sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n");
  tree.write("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
  CHECK(quota() == 0);
  CHECK(memory() == 0);
  tree.write("sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n");
  tree.write("sys/fs/cgroup/a.slice/memory.max", "300000000\n");
  CHECK(quota() == doctest::Approx(1.5));
  CHECK(memory() == 3e8);
  tree.write("sys/fs/cgroup/a.slice/b.service/cpu.max", "50000 100000\n");
  tree.write("sys/fs/cgroup/a.slice/b.service/memory.max", "200000000\n");
  CHECK(quota() == doctest::Approx(0.5));
  CHECK(memory() == 2e8);
}

TEST_CASE("cgroup limits of v1: a container that sees its own group as the root") {
  const Tree tree;
  const auto quota = [&] { return linnet::cgroup_cpu_quota(tree.root()); };
  const auto memory = [&] { return linnet::cgroup_memory_limit(tree.root()); };
  tree.write("proc/self/mountinfo",
             "40 30 0:30 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
             "41 30 0:31 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n"
             "42 30 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  tree.write("proc/self/cgroup",
             "6:memory:/docker/abc\n5:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc\n");
  tree.write("sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "1\n");
  tree.write("sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n");
  tree.write("sys/fs/cgroup/cpuset/memory.limit_in_bytes", "1\n");
  tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(quota() == 0);
  CHECK(memory() == 0);
  tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000000\n");
  CHECK(quota() == doctest::Approx(2.5));
  CHECK(memory() == 3e8);
}

TEST_CASE("memory that can be had is what is free, within the group's limit") {
  const Tree tree;
  const auto free = [&] { return linnet::available_memory(tree.root()); };
  CHECK(free() == std::numeric_limits<double>::infinity());
  tree.write("proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable:   1000000 kB\n");
  tree.write("proc/self/status", "Name: x\nVmRSS:     100 kB\n");
  CHECK(free() == 1e6 * 1024);
  tree.write("proc/self/mountinfo",
             "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  tree.write("proc/self/cgroup", "0::/a\n");
  tree.write("sys/fs/cgroup/a/memory.max", "300000000\n");
  CHECK(free() == 3e8 - 100 * 1024);
}

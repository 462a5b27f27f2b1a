#include "run/cgroup.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace linnet {
namespace {

bool has_word(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// The limits set by the files of one group's folder; 0 if none.
double quota_of_group(const std::string& folder, bool v2) {
  double quota = 0, period = 0;
  if (v2) {
    std::ifstream max(folder + "/cpu.max");  // "max 100000" or "150000 100000"
    if (!(max >> quota >> period)) return 0;
  } else {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"),
        period_file(folder + "/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

double memory_of_group(const std::string& folder, bool v2) {
  double bytes = 0;
  std::ifstream file(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));  // v2: or "max"
  return file >> bytes && bytes > 0 ? bytes : 0;
}

// The smallest limit of the groups this process is in, by `of_group`, in v2 and in the hierarchy of
// v1 that has `controller`.
double least_limit(const std::string& root, const std::string& controller,
                   double (*of_group)(const std::string& folder, bool v2)) {
  // Where the hierarchies are mounted: "id parent dev ROOT MOUNT options... - TYPE source SUPER".
  struct Mount {
    bool v2;
    std::string root, folder;
  };
  std::vector<Mount> mounts;
  std::ifstream mountinfo(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string skip, mount_root, folder, type, super;
    std::istringstream before(line), after(line.substr(dash + 3));
    before >> skip >> skip >> skip >> mount_root >> folder;
    after >> type >> skip >> super;
    const bool v2 = type == "cgroup2";
    if (v2 || (type == "cgroup" && has_word(super, controller)))
      mounts.push_back({v2, mount_root, folder});
  }

  double least = 0;
  std::ifstream groups(
      root + "/proc/self/cgroup");  // "hierarchy:controllers:/path"; v2 has no controllers
  for (std::string line; std::getline(groups, line);) {
    const size_t a = line.find(':');
    const size_t b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const std::string controllers = line.substr(a + 1, b - a - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !has_word(controllers, controller)) continue;
    for (const Mount& mount : mounts) {
      if (mount.v2 != v2) continue;
      std::string group = line.substr(b + 1);
      // A container sees its own group mounted as the root.
      if (mount.root != "/" && group.compare(0, mount.root.size(), mount.root) == 0)
        group.erase(0, mount.root.size());
      // A path from outside a namespace may not exist below the mount: missing files simply set no
      // limit.
      for (;;) {
        while (!group.empty() && group.back() == '/') group.pop_back();
        const double limit = of_group(root + mount.folder + group, v2);
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
        const size_t slash = group.rfind('/');
        if (slash == std::string::npos) break;
        group.erase(slash);
      }
    }
  }
  return least;
}

}  // namespace

double cgroup_cpu_quota(const std::string& root) {
  return least_limit(root, "cpu", quota_of_group);
}

double cgroup_memory_limit(const std::string& root) {
  return least_limit(root, "memory", memory_of_group);
}

double available_memory(const std::string& root) {
  double kilobytes = 0;
  const auto find = [&](const char* file, const std::string& name) {
    std::ifstream lines(root + file);
    for (std::string word; lines >> word;) {
      if (word == name && lines >> kilobytes) return kilobytes * 1024;
    }
    return 0.0;
  };
  const double free = find("/proc/meminfo", "MemAvailable:");
  const double limit = cgroup_memory_limit(root);
  const double left = limit - find("/proc/self/status", "VmRSS:");
  if (limit > 0 && (free == 0 || left < free)) return std::max(left, 0.0);
  return free > 0 ? free : std::numeric_limits<double>::infinity();
}

}  // namespace linnet

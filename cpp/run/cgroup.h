#pragma once

#include <string>

namespace linnet {

// What cgroup v1 or v2 allows this process, 0 if it sets no limit: the smallest on the way from the
// process's group to the root counts. `root` replaces "/" so that tests can bring their own tree.
double cgroup_cpu_quota(const std::string& root = "/");     // in CPUs
double cgroup_memory_limit(const std::string& root = "/");  // in bytes

// Bytes that this process can still take: what the machine has free or can free, within its cgroup.
double available_memory(const std::string& root = "/");

}  // namespace linnet

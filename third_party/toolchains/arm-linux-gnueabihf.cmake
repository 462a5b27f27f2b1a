# 32-bit ARM, hard float: Raspberry Pi OS on any Raspberry Pi from the second on. Debian's compiler targets ARMv7 without
# NEON by default; the kernels add their own flags.
set(LINNET_TRIPLET arm-linux-gnueabihf)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
set(CMAKE_CXX_FLAGS_INIT "${CMAKE_CXX_FLAGS_INIT} -Wno-psabi")  # passing conventions that changed in GCC 7
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm-static -cpu cortex-a7 -L "${CMAKE_SYSROOT}")

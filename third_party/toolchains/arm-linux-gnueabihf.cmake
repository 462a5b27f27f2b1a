# 32-bit ARM, hard float: Raspberry Pi OS on any Raspberry Pi from the second on. Debian's compiler targets ARMv7 without
# NEON by default; the kernels add their own flags.
set(LINNET_TRIPLET arm-linux-gnueabihf)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
set(CMAKE_CXX_FLAGS_INIT "${CMAKE_CXX_FLAGS_INIT} -Wno-psabi")  # passing conventions that changed in GCC 7
# cortex-a7 has what a Pi 2 or 3 has in 32-bit mode and refuses ARMv8 instructions; "max" would hide them.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm -L ${root} -cpu cortex-a7)
set(LINNET_DOT_EMULATOR qemu-arm -L ${root} -cpu max)
set(LINNET_DOT_ISA neon_vfpv4_dot)

# 64-bit ARM.
set(LINNET_TRIPLET aarch64-linux-gnu)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${root} -cpu cortex-a53)  # the core of a Raspberry Pi 3
set(LINNET_DOT_EMULATOR qemu-aarch64 -L ${root} -cpu cortex-a76)  # of a Raspberry Pi 5
set(LINNET_DOT_ISA neon_dot)

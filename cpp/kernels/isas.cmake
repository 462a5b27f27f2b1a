# The instruction sets of the target architecture and how each is compiled.
#
# Sets LINNET_ISAS (best first), LINNET_KERNEL_OBJECTS (to be linked into whatever holds dispatch.cpp) and
# LINNET_KERNEL_DEFINITIONS (for dispatch.cpp). Every body file is compiled once per ISA into one object that exports one symbol.

include(CheckCXXSymbolExists)

# The compiler knows its target; CMAKE_SYSTEM_PROCESSOR names the running kernel's, which differs on a 64-bit kernel
# with a 32-bit system.
check_cxx_symbol_exists(__x86_64__ stddef.h LINNET_TARGET_X86_64)
check_cxx_symbol_exists(__aarch64__ stddef.h LINNET_TARGET_A64)
check_cxx_symbol_exists(__arm__ stddef.h LINNET_TARGET_A32)

# No vectorizer, so that this really is the plain code every machine runs.
set(_flags_scalar -fno-tree-vectorize -fno-tree-slp-vectorize)
set(LINNET_ISAS scalar)
if(LINNET_TARGET_X86_64)
  set(LINNET_ISAS avx512 avx2 scalar)
  set(_flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
                    -mtune=skylake-avx512
                    # gcc 12 warns about its own header's deliberately undefined values
                    -Wno-uninitialized -Wno-maybe-uninitialized)
  set(_flags_avx2 -mavx2 -mfma -mtune=haswell)
elseif(LINNET_TARGET_A64)
  set(LINNET_ISAS neon scalar)
  set(_flags_neon -mtune=cortex-a53)
elseif(LINNET_TARGET_A32)
  set(LINNET_ISAS neon_vfpv4 scalar)
  # -march too: on a compiler that targets ARMv6 by default, -mfpu alone would leave it there.
  set(_flags_neon_vfpv4 -march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard -mtune=cortex-a53)
endif()

set(LINNET_KERNEL_OBJECTS)
set(_isa_list)
foreach(_isa IN LISTS LINNET_ISAS)
  add_library(linnet_kernels_${_isa} OBJECT
    ${CMAKE_CURRENT_LIST_DIR}/direct.cpp
    ${CMAKE_CURRENT_LIST_DIR}/pool.cpp
    ${CMAKE_CURRENT_LIST_DIR}/elementwise.cpp)
  target_include_directories(linnet_kernels_${_isa} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/..)
  target_compile_definitions(linnet_kernels_${_isa} PRIVATE LINNET_ISA=${_isa} LINNET_ISA_${_isa})
  target_compile_features(linnet_kernels_${_isa} PRIVATE cxx_std_17)
  # No LTO: it would let inlined baseline code and these flags mix (see kernels.h).
  target_compile_options(linnet_kernels_${_isa} PRIVATE
    $<$<NOT:$<CONFIG:Debug>>:-O3> ${_flags_${_isa}} -fno-exceptions -fno-rtti -fno-lto -fno-math-errno)
  set_target_properties(linnet_kernels_${_isa} PROPERTIES
    POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF CXX_EXTENSIONS OFF)
  list(APPEND LINNET_KERNEL_OBJECTS $<TARGET_OBJECTS:linnet_kernels_${_isa}>)
  string(APPEND _isa_list " X(${_isa})")
endforeach()
set(LINNET_KERNEL_DEFINITIONS "LINNET_ISAS=${_isa_list}")

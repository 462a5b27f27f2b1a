# The instruction sets of the target architecture and how each is compiled.
#
# Sets LINNET_ISAS (best first), LINNET_KERNEL_OBJECTS (to be linked into whatever holds dispatch.cpp)
# and LINNET_KERNEL_DEFINITIONS (dispatch.cpp's compile definitions).

include(CheckCXXSymbolExists)

# Ask the compiler: CMAKE_SYSTEM_PROCESSOR is the running kernel's, which differs from the target on
# a 64-bit kernel with a 32-bit system.
check_cxx_symbol_exists(__x86_64__ stddef.h LINNET_TARGET_X86_64)
check_cxx_symbol_exists(__aarch64__ stddef.h LINNET_TARGET_A64)
check_cxx_symbol_exists(__arm__ stddef.h LINNET_TARGET_A32)

# No vectorizer, so that scalar is the plain code every machine runs.
set(LINNET_ISAS scalar)
set(LINNET_FLAGS_scalar -fno-tree-vectorize -fno-tree-slp-vectorize)
if(LINNET_TARGET_X86_64)
  set(LINNET_ISAS avx512 avx2 scalar)
  set(LINNET_FLAGS_avx2 -mavx2 -mfma -mf16c -mtune=haswell)
  set(LINNET_FLAGS_avx512
    -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512 -mtune=skylake-avx512)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # gcc 12 warns about the deliberately undefined values of its own header.
    list(APPEND LINNET_FLAGS_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
elseif(LINNET_TARGET_A64)
  set(LINNET_ISAS neon scalar)
  set(LINNET_FLAGS_neon -mtune=cortex-a53)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Scheduling before register allocation makes gcc spill; the one after it remains.
    list(APPEND LINNET_FLAGS_neon -fno-schedule-insns)
  endif()
  set(LINNET_DOT_FLAGS_neon -march=armv8.2-a+dotprod -mtune=cortex-a55)
elseif(LINNET_TARGET_A32)
  set(LINNET_ISAS neon_vfpv4 scalar)
  # -march too: -mfpu alone would leave a compiler that targets ARMv6 by default there.
  set(LINNET_FLAGS_neon_vfpv4
    -march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard -marm -mtune=cortex-a53)
  set(LINNET_DOT_FLAGS_neon_vfpv4 -march=armv8.2-a+dotprod -mfpu=auto -mtune=cortex-a55)
endif()

if(LINNET_SANITIZE)
  # The same sources as avx2's, and instrumented they take minutes to compile.
  list(REMOVE_ITEM LINNET_ISAS avx512)
endif()

# The assembly of scheduled.cpp is included, not compiled: any change of it must compile that anew.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/scheduled.cpp PROPERTIES
  OBJECT_DEPENDS
    "${CMAKE_CURRENT_LIST_DIR}/scheduled_a32.inc;${CMAKE_CURRENT_LIST_DIR}/scheduled_a64.inc")

# Results of integers are the same to the last bit everywhere: products and sums are rounded one after the other.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/integer.cpp ${CMAKE_CURRENT_LIST_DIR}/dot.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scheduled.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
# Dot products are not of the instruction set: their file has flags of its own.
set_property(SOURCE ${CMAKE_CURRENT_LIST_DIR}/dot.cpp APPEND PROPERTY
  COMPILE_OPTIONS $<TARGET_PROPERTY:LINNET_DOT_FLAGS>)

# linnet_add_isa_objects(OBJECTS_VAR NAME FILE...): compiles the files once per ISA, as object libraries
# NAME_<isa>, and sets OBJECTS_VAR to all their objects. Each exports one symbol (LINNET_EXPORT in vector.h).
set(LINNET_KERNELS_DIR ${CMAKE_CURRENT_LIST_DIR})
function(linnet_add_isa_objects objects_var name)
  set(objects)
  set(optimize -O3)
  if(LINNET_SANITIZE)
    set(optimize -O1)  # instrumented, these files take minutes at -O3
  endif()
  foreach(isa IN LISTS LINNET_ISAS)
    set(target ${name}_${isa})
    add_library(${target} OBJECT ${ARGN})
    target_include_directories(${target} PRIVATE ${LINNET_KERNELS_DIR})
    target_compile_features(${target} PRIVATE cxx_std_17)
    target_compile_definitions(${target} PRIVATE LINNET_ISA=${isa} LINNET_ISA_${isa})
    # No LTO: it would mix these flags with baseline code (see kernels.h).
    target_compile_options(${target} PRIVATE
      $<$<NOT:$<CONFIG:Debug>>:${optimize}> ${LINNET_FLAGS_${isa}} -fno-exceptions -fno-rtti -fno-math-errno -fno-lto)
    set_target_properties(${target} PROPERTIES
      POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF
      LINNET_DOT_FLAGS "${LINNET_DOT_FLAGS_${isa}}")
    list(APPEND objects $<TARGET_OBJECTS:${target}>)
  endforeach()
  set(${objects_var} ${objects} PARENT_SCOPE)
endfunction()

linnet_add_isa_objects(LINNET_KERNEL_OBJECTS linnet_kernels
  ${LINNET_KERNELS_DIR}/direct.cpp ${LINNET_KERNELS_DIR}/depthwise.cpp ${LINNET_KERNELS_DIR}/pool.cpp
  ${LINNET_KERNELS_DIR}/map.cpp ${LINNET_KERNELS_DIR}/normalize.cpp ${LINNET_KERNELS_DIR}/cast.cpp
  ${LINNET_KERNELS_DIR}/peak.cpp
  ${LINNET_KERNELS_DIR}/reduce.cpp ${LINNET_KERNELS_DIR}/resize.cpp
  ${LINNET_KERNELS_DIR}/winograd.cpp ${LINNET_KERNELS_DIR}/fourier.cpp
  ${LINNET_KERNELS_DIR}/integer.cpp ${LINNET_KERNELS_DIR}/dot.cpp
  ${LINNET_KERNELS_DIR}/scheduled.cpp)

# "X(avx512) X(avx2) X(scalar)"
string(REGEX REPLACE "([a-z0-9_]+)" "X(\\1)" LINNET_KERNEL_DEFINITIONS "${LINNET_ISAS}")
string(REPLACE ";" " " LINNET_KERNEL_DEFINITIONS "LINNET_ISAS=${LINNET_KERNEL_DEFINITIONS}")

# Sanitizers add symbols of their own. Not Python::Interpreter: CTest would run that by a cross build's emulator.
if(LINNET_TESTS AND NOT LINNET_SANITIZE)
  find_package(Python 3.9 REQUIRED COMPONENTS Interpreter)
  add_test(NAME isa_objects
    COMMAND ${Python_EXECUTABLE} ${LINNET_KERNELS_DIR}/../../tests/check_isa_objects.py
      ${CMAKE_NM} ${LINNET_KERNEL_OBJECTS}
    COMMAND_EXPAND_LISTS)
endif()

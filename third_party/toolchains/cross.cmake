# Common part of the cross toolchains: set LINNET_TRIPLET and CMAKE_SYSTEM_PROCESSOR, then include this.
#
# LINNET_SYSROOT in the environment names a sysroot made by third_party/sysroot/sysroot.sh; its libc and libstdc++ are then
# compiled and linked against, not those of the cross compiler, so what is built runs on systems as old as the sysroot.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${LINNET_TRIPLET}-gcc)
set(CMAKE_CXX_COMPILER ${LINNET_TRIPLET}-g++)
set(CMAKE_LIBRARY_ARCHITECTURE ${LINNET_TRIPLET})

set(root $ENV{LINNET_SYSROOT})
if(root)
  set(CMAKE_SYSROOT ${root})
  set(CMAKE_FIND_ROOT_PATH ${root})
  file(GLOB cxx ${root}/usr/include/c++/*)
  get_filename_component(gcc "${cxx}" NAME)
  # The compiler's own search paths, of headers and of libraries, have its own, newer libc first.
  set(CMAKE_CXX_FLAGS_INIT "-nostdinc++ -isystem ${cxx} -isystem ${root}/usr/include/${LINNET_TRIPLET}/c++/${gcc} \
-isystem ${root}/usr/include/${LINNET_TRIPLET} -isystem ${root}/usr/include")
  foreach(kind EXE SHARED MODULE)
    set(CMAKE_${kind}_LINKER_FLAGS_INIT
      "-L${root}/usr/lib/gcc/${LINNET_TRIPLET}/${gcc} -L${root}/usr/lib/${LINNET_TRIPLET} -L${root}/lib/${LINNET_TRIPLET}")
  endforeach()
else()
  set(root /usr/${LINNET_TRIPLET})
  set(CMAKE_FIND_ROOT_PATH ${root})
endif()

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)

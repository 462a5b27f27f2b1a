# The C library, linnet-run, and what find_package and pkg-config read of them; the OpenBLAS flavours that come along.
if(LINNET_PYTHON)
  set(library OFF)
else()
  set(library ON)
endif()
option(LINNET_LIBRARY "Build the C library and linnet-run" ${library})
option(LINNET_STATIC "Link linnet-run statically, for a system with nothing on it; it can then load no OpenBLAS" OFF)
option(LINNET_SINGLE_THREAD "Build without threads" OFF)
set(LINNET_OPENBLAS "" CACHE PATH "Folder made by third_party/openblas/build.sh, to be installed too")

foreach(choice LINNET_STATIC LINNET_SINGLE_THREAD)
  if(${choice})
    target_compile_definitions(linnet_core PUBLIC ${choice})
  endif()
endforeach()

include(GNUInstallDirs)
if(LINNET_OPENBLAS)
  # Where dynlib.cpp looks: in _blas beside the Python module, or beside the C library.
  if(LINNET_PYTHON)
    set(folder linnet/_blas)
  else()
    set(folder ${CMAKE_INSTALL_LIBDIR})
  endif()
  install(FILES ${LINNET_OPENBLAS}/liblinnet-openblas-master.so ${LINNET_OPENBLAS}/liblinnet-openblas-dl.so
    DESTINATION ${folder} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  if(LINNET_PYTHON)
    install(FILES ${LINNET_OPENBLAS}/LICENSE.openblas DESTINATION ${folder})
  else()
    install(FILES ${LINNET_OPENBLAS}/LICENSE.openblas DESTINATION ${CMAKE_INSTALL_DOCDIR})
  endif()
endif()

if(LINNET_LIBRARY OR LINNET_TESTS)
  add_library(linnet_c_api OBJECT cpp/c_api.cpp)
  target_link_libraries(linnet_c_api PUBLIC linnet_core)
  target_compile_definitions(linnet_c_api PRIVATE LINNET_VERSION="${PROJECT_VERSION}")
  target_include_directories(linnet_c_api PUBLIC cpp/include)
endif()
if(LINNET_TESTS)
  target_link_libraries(linnet_tests PRIVATE linnet_c_api)
endif()
if(NOT LINNET_LIBRARY)
  return()
endif()

set(objects $<TARGET_OBJECTS:linnet_c_api> $<TARGET_OBJECTS:linnet_core> ${LINNET_KERNEL_OBJECTS})

add_library(linnet SHARED ${objects})
target_link_libraries(linnet PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
# The header says what is exported, and the number of its interface. Templates of the C++ library stay inside, whatever
# their visibility.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS cpp/include/linnet.h)
file(READ cpp/include/linnet.h header)
string(REGEX MATCH "#define LINNET_ABI ([0-9]+)" abi "${header}")
set(abi ${CMAKE_MATCH_1})
string(REGEX MATCHALL "linnet_[a-z_]+\\(" exports "${header}")
list(REMOVE_DUPLICATES exports)
list(TRANSFORM exports REPLACE "\\(" "")
list(JOIN exports "; " exports)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/exports.map "{ global: ${exports}; local: *; };\n")
target_link_options(linnet PRIVATE -Wl,--version-script=${CMAKE_CURRENT_BINARY_DIR}/exports.map -Wl,-z,defs $<$<CONFIG:Release>:-s>)
if(LINNET_SANITIZE)
  target_link_options(linnet PRIVATE -Wl,-z,nodefs)
endif()
set_target_properties(linnet PROPERTIES SOVERSION ${abi})

# An archive of one object: algorithms register themselves, and a linker would drop members nothing refers to.
set(whole ${CMAKE_CURRENT_BINARY_DIR}/linnet.o)
add_custom_command(OUTPUT ${whole} COMMAND ${CMAKE_LINKER} -r -o ${whole} ${objects}
  DEPENDS ${objects} COMMAND_EXPAND_LISTS VERBATIM)
add_library(linnet_static STATIC ${whole})
set_target_properties(linnet_static PROPERTIES OUTPUT_NAME linnet LINKER_LANGUAGE CXX)
# Makefiles know objects only within the target that compiles them: this one has to wait for the others.
list(TRANSFORM LINNET_ISAS PREPEND linnet_kernels_ OUTPUT_VARIABLE kernel_targets)
add_dependencies(linnet_static linnet_c_api linnet_core ${kernel_targets})
target_link_libraries(linnet_static INTERFACE stdc++ m Threads::Threads ${CMAKE_DL_LIBS})

foreach(library linnet linnet_static)
  target_include_directories(${library} INTERFACE
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/cpp/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

add_executable(linnet-run cpp/tools/linnet-run.cpp)
target_include_directories(linnet-run PRIVATE cpp)
if(LINNET_STATIC)
  target_link_libraries(linnet-run PRIVATE linnet_static)
  target_link_options(linnet-run PRIVATE -static)
else()
  target_link_libraries(linnet-run PRIVATE linnet)
endif()
target_link_options(linnet-run PRIVATE $<$<CONFIG:Release>:-s>)
set_target_properties(linnet-run PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/linnet)
install(TARGETS linnet linnet_static linnet-run EXPORT linnet)
install(FILES cpp/include/linnet.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT linnet FILE linnetTargets.cmake NAMESPACE linnet:: DESTINATION ${package})
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/linnetConfig.cmake
  "include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\ninclude(\${CMAKE_CURRENT_LIST_DIR}/linnetTargets.cmake)\n")
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/linnetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/linnetConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/linnetConfigVersion.cmake
  DESTINATION ${package})
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/linnet.pc
"prefix=\${pcfiledir}/../..
libdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}
includedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}

Name: linnet
Description: ${PROJECT_NAME} runs trained CNNs on a CPU
Version: ${PROJECT_VERSION}
Cflags: -I\${includedir}
Libs: -L\${libdir} -llinnet
Libs.private: -lstdc++ -lm -lpthread -ldl
")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/linnet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

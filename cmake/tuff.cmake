# One target a folder: tuff_library(<folder> SOURCES ... [LINKS ...] [USES folders ...]) makes target tuff_<folder>.
#
# Headers are included by their path from the top ("mem/mem.h"). Each folder's headers are reached through a directory of
# its own that holds one link, so a target sees the headers of the folders named in USES and of no other: a dependency against
# the direction in docs/architecture.md does not compile.
set(TUFF_WARNINGS -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
    -Wno-unused-parameter)

function(tuff_target_settings target)
  cmake_parse_arguments(A "" "" "USES" ${ARGN})
  target_compile_options(${target} PRIVATE ${TUFF_WARNINGS} -fno-common)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  foreach(folder ${A_USES})
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/headers/${folder})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${PROJECT_BINARY_DIR}/headers/${folder}/${folder} SYMBOLIC)
    target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/headers/${folder})
  endforeach()
endfunction()

function(tuff_library folder)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS;USES" ${ARGN})
  add_library(tuff_${folder} STATIC ${A_SOURCES})
  tuff_target_settings(tuff_${folder} USES ${folder} ${A_USES})
  target_link_libraries(tuff_${folder} PRIVATE ${A_LINKS})
  foreach(used ${A_USES})
    target_link_libraries(tuff_${folder} PRIVATE tuff_${used})
  endforeach()
endfunction()

# tuff_program(<name> SOURCES ... [USES folders ...] [LINKS ...])
function(tuff_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS;USES" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  tuff_target_settings(${name} USES ${A_USES})
  foreach(used ${A_USES})
    target_link_libraries(${name} PRIVATE tuff_${used})
  endforeach()
  target_link_libraries(${name} PRIVATE ${A_LINKS})
endfunction()

# tuff_check_test(<name> SOURCES ... [USES ...] [LINKS ...]): a Check test program and its ctest entry.
function(tuff_check_test name)
  cmake_parse_arguments(A "" "" "SOURCES;LINKS;USES;LABELS" ${ARGN})
  tuff_program(${name} SOURCES ${A_SOURCES} USES ${A_USES} LINKS ${A_LINKS} PkgConfig::CHECK Threads::Threads)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  add_test(NAME ${name} COMMAND ${name})
  # A limit is for what hangs: Check's 4 s for a case are too few under a sanitizer on a busy machine.
  set_tests_properties(${name} PROPERTIES TIMEOUT 900 LABELS "${A_LABELS}" ENVIRONMENT CK_DEFAULT_TIMEOUT=60)
endfunction()

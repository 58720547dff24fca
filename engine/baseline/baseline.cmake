# The baseline tier: compiles the stencils, has stencilgen make a table of them, and sets BASELINE_SOURCES for the engine's target.
# Included by engine/CMakeLists.txt.
set(BASELINE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(BASELINE_GENERATED_DIR ${PROJECT_BINARY_DIR}/engine/baseline)
file(MAKE_DIRECTORY ${BASELINE_GENERATED_DIR})

add_executable(stencilgen ${BASELINE_DIR}/stencilgen.c)
tuff_target_settings(stencilgen USES engine mem base)
target_link_libraries(stencilgen PRIVATE PkgConfig::LIBELF)

# Addresses as immediates (no PIC, the small code model) are what makes holes; a section for each function keeps stencils apart.
set(STENCILS ${BASELINE_GENERATED_DIR}/stencils.o)
set(STENCIL_FLAGS -std=gnu17 -O2 -march=${TUFF_HOST_LEVEL} -fno-math-errno -fno-stack-protector -fno-pic -mcmodel=small
  -fno-asynchronous-unwind-tables -fcf-protection=none -Xclang -no-enable-noundef-analysis -ffunction-sections -D_GNU_SOURCE -I${PROJECT_SOURCE_DIR})
add_custom_command(
  OUTPUT ${BASELINE_GENERATED_DIR}/stencil_table.c
  COMMAND ${CMAKE_C_COMPILER} ${STENCIL_FLAGS} -MD -MF ${STENCILS}.d -MT ${BASELINE_GENERATED_DIR}/stencil_table.c
    -c ${BASELINE_DIR}/stencils.c -o ${STENCILS}
  COMMAND stencilgen ${STENCILS} > ${BASELINE_GENERATED_DIR}/stencil_table.c.tmp
  COMMAND ${CMAKE_COMMAND} -E rename ${BASELINE_GENERATED_DIR}/stencil_table.c.tmp ${BASELINE_GENERATED_DIR}/stencil_table.c
  DEPENDS ${BASELINE_DIR}/stencils.c stencilgen
  DEPFILE ${STENCILS}.d
  COMMENT "Compiling the stencils"
  VERBATIM)

set(BASELINE_SOURCES ${BASELINE_DIR}/arena.c ${BASELINE_DIR}/baseline.c ${BASELINE_GENERATED_DIR}/stencil_table.c)

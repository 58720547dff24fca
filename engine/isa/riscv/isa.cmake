# The instruction table: builds isagen, has it check rows.def and write the decoder's matching code, and sets ISA_SOURCES for
# the engine's target. Included by engine/CMakeLists.txt.
set(ISA_DIR ${CMAKE_CURRENT_LIST_DIR})
set(ISA_GENERATED_DIR ${PROJECT_BINARY_DIR}/engine/isa/riscv)

add_executable(isagen ${ISA_DIR}/isagen.c)
tuff_target_settings(isagen USES engine)

file(MAKE_DIRECTORY ${ISA_GENERATED_DIR})
add_custom_command(
  OUTPUT ${ISA_GENERATED_DIR}/decode_gen.inc
  COMMAND isagen > ${ISA_GENERATED_DIR}/decode_gen.inc.tmp
  COMMAND ${CMAKE_COMMAND} -E rename ${ISA_GENERATED_DIR}/decode_gen.inc.tmp ${ISA_GENERATED_DIR}/decode_gen.inc
  DEPENDS isagen
  COMMENT "Checking the instruction table and writing decode_gen.inc"
  VERBATIM)

# After a change of the table: rewrites the page that a test compares with it.
add_custom_target(isa-coverage
  COMMAND isagen --markdown > ${PROJECT_SOURCE_DIR}/docs/isa-coverage.md
  DEPENDS isagen
  VERBATIM)

set(ISA_SOURCES
  ${ISA_DIR}/decode.c
  ${ISA_DIR}/disasm.c
  ${ISA_GENERATED_DIR}/decode_gen.inc)
set_source_files_properties(${ISA_DIR}/decode.c PROPERTIES
  INCLUDE_DIRECTORIES ${ISA_GENERATED_DIR}
  OBJECT_DEPENDS ${ISA_GENERATED_DIR}/decode_gen.inc)

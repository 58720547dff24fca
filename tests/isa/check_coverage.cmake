# docs/isa-coverage.md (PAGE) is what isagen (TOOL) writes from the table today.
execute_process(COMMAND ${TOOL} --markdown RESULT_VARIABLE result OUTPUT_VARIABLE wanted)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "isagen --markdown: exit code ${result}")
endif()
file(READ ${PAGE} found)
if(NOT found STREQUAL wanted)
  message(FATAL_ERROR "docs/isa-coverage.md is not up to date: cmake --build <dir> --target isa-coverage")
endif()

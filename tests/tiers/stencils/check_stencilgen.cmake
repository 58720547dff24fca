# Runs stencilgen (TOOL) on an OBJECT and checks that it refuses it with a message that has EXPECTED in it, exit code 1 and nothing
# on standard output.
execute_process(COMMAND ${TOOL} ${OBJECT} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
if(NOT result EQUAL 1)
  message(FATAL_ERROR "exit code ${result}, not 1; standard error: ${errors}")
endif()
string(FIND "${errors}" "${EXPECTED}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "\"${EXPECTED}\" is not in: ${errors}")
endif()
if(NOT output STREQUAL "")
  message(FATAL_ERROR "a refused object gave output: ${output}")
endif()

# Tests of loading and booting. Two programs are linked for riscv64 here, so that the ELF loader reads what a real linker writes.
function(tuff_riscv_elf name)
  set(elf ${CMAKE_CURRENT_BINARY_DIR}/${name}.elf)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  add_custom_command(OUTPUT ${elf}
    COMMAND ${CMAKE_C_COMPILER} --target=riscv64-unknown-elf -march=rv64imafdc -mabi=lp64d -nostdlib -fuse-ld=lld
      -Wl,-T,${source}.ld -o ${elf} ${source}.S
    DEPENDS ${source}.S ${source}.ld VERBATIM)
  add_custom_target(${name}_elf DEPENDS ${elf})
endfunction()

tuff_riscv_elf(test_boot_bare)
tuff_riscv_elf(test_boot_vmlinux)

foreach(test test_boot_loader test_boot_elf test_boot_pc test_boot_firmware test_boot_board test_sbi test_sbi_features test_sbi_pmu test_sbi_vcpu)
  tuff_check_test(${test} SOURCES ${test}.c USES base mem engine dev machine LINKS ZLIB::ZLIB PkgConfig::LIBELF ${LIBFDT}
    LABELS unit)
endforeach()
add_dependencies(test_boot_elf test_boot_bare_elf test_boot_vmlinux_elf)
add_dependencies(test_boot_firmware test_boot_bare_elf)
target_compile_definitions(test_boot_firmware PRIVATE TEST_BOOT_BARE_ELF="${CMAKE_CURRENT_BINARY_DIR}/test_boot_bare.elf")
target_compile_definitions(test_boot_elf PRIVATE
  TEST_BOOT_BARE_ELF="${CMAKE_CURRENT_BINARY_DIR}/test_boot_bare.elf"
  TEST_BOOT_VMLINUX_ELF="${CMAKE_CURRENT_BINARY_DIR}/test_boot_vmlinux.elf")

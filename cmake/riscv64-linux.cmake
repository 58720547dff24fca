# Toolchain file: Tuff for riscv64 hosts, which run guests of their own instruction set through KVM, built elsewhere. Give
# -DTUFF_SYSROOT=DIR, a Debian riscv64 tree with the packages of scripts/packages.txt, -DTUFF_LLVM=OFF, and
# -DCMAKE_CROSSCOMPILING_EMULATOR='qemu-riscv64;-L;DIR', since a program of the build makes the decoder.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_COMPILER clang-19)
set(CMAKE_C_COMPILER_TARGET riscv64-linux-gnu)
set(CMAKE_LIBRARY_ARCHITECTURE riscv64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TUFF_SYSROOT)
set(CMAKE_SYSROOT ${TUFF_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${TUFF_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_C_FLAGS_INIT "-march=rv64gc -mabi=lp64d")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld")
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${TUFF_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${TUFF_SYSROOT}/usr/lib/riscv64-linux-gnu/pkgconfig:${TUFF_SYSROOT}/usr/share/pkgconfig)

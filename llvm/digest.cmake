# The SHA-256 of several files as a header: cmake -DFILES=a;b -DOUT=digest.h -P digest.cmake
set(all "")
foreach(file ${FILES})
  file(SHA256 ${file} one)
  string(APPEND all ${one})
endforeach()
string(SHA256 digest "${all}")
file(WRITE ${OUT} "#define KEPT_DIGEST \"${digest}\"\n")

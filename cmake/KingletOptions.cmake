# kinglet_options: what every target of ours is compiled with.
add_library(kinglet_options INTERFACE)
target_compile_options(kinglet_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wundef -Werror
  # One meaning on every machine: no fused multiply-add but where the source says so, strict IEEE semantics.
  -ffp-contract=off -fno-fast-math -fno-strict-aliasing)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False positives of g++ 12: inside avx512fintrin.h (GCC PR 105593), in "literal" + std::string (PR 105651).
  target_compile_options(kinglet_options INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # std::stable_sort of libstdc++ 12 calls a function that is deprecated in C++17; g++ still shows what we call ourselves.
  target_compile_options(kinglet_options INTERFACE -Wno-deprecated-declarations)
endif()
if(KINGLET_SANITIZE)
  target_compile_options(kinglet_options INTERFACE -fsanitize=${KINGLET_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(kinglet_options INTERFACE -fsanitize=${KINGLET_SANITIZE})
endif()
find_program(KINGLET_CCACHE ccache)
if(KINGLET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${KINGLET_CCACHE}")
endif()

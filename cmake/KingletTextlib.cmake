include(GNUInstallDirs)

# textlib: the Rust crate behind text/, built by cargo into a static library with a C ABI.
find_program(KINGLET_CARGO NAMES cargo cargo-web HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)
set(textlib_dir "${PROJECT_SOURCE_DIR}/textlib")
set(textlib_target "${CMAKE_BINARY_DIR}/textlib" CACHE PATH "cargo's target directory; sharing one saves builds")
set(textlib_archive "${textlib_target}/release/libkinglet_textlib.a")
if(EXISTS "${textlib_dir}/Cargo.toml")
  file(GLOB_RECURSE textlib_sources CONFIGURE_DEPENDS "${textlib_dir}/src/*.rs")
  add_custom_command(OUTPUT "${textlib_archive}"
    COMMAND "${CMAKE_COMMAND}" -E env CARGO_TARGET_DIR=${textlib_target}
            "${KINGLET_CARGO}" build --release --locked --quiet --manifest-path "${textlib_dir}/Cargo.toml"
    COMMAND "${CMAKE_COMMAND}" -E touch "${textlib_archive}"  # cargo leaves it alone where nothing changed
    DEPENDS ${textlib_sources} "${textlib_dir}/Cargo.toml" "${textlib_dir}/Cargo.lock"
    COMMENT "Building textlib (Rust)" VERBATIM)
  add_custom_target(kinglet_textlib_build DEPENDS "${textlib_archive}")
  add_library(kinglet_textlib INTERFACE)
  add_dependencies(kinglet_textlib kinglet_textlib_build)
  target_include_directories(kinglet_textlib INTERFACE "$<BUILD_INTERFACE:${textlib_dir}/include>")
  target_link_libraries(kinglet_textlib INTERFACE "$<BUILD_INTERFACE:${textlib_archive}>"
    "$<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/kinglet/libkinglet_textlib.a>" Threads::Threads ${CMAKE_DL_LIBS} m)
endif()

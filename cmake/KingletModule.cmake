# kinglet_module(FOLDER USES other folders... LINK external targets...)
#
# One folder of src/ is one library, kinglet_FOLDER, that links only its row of the include table (docs/ARCHITECTURE.md).
# x.cc goes into the library, x_test.cc into the test program FOLDER_test.
function(kinglet_module folder)
  cmake_parse_arguments(arg "" "" "USES;LINK;TEST_LINK" ${ARGN})
  set(dir "${PROJECT_SOURCE_DIR}/src/${folder}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${dir}/*.cc")
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")
  if(NOT sources)  # a folder that so far holds headers only
    add_library(kinglet_${folder} INTERFACE)
    add_library(Kinglet::${folder} ALIAS kinglet_${folder})
    target_include_directories(kinglet_${folder} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include/kinglet>)
    return()
  endif()
  add_library(kinglet_${folder} STATIC ${sources})
  add_library(Kinglet::${folder} ALIAS kinglet_${folder})
  target_include_directories(kinglet_${folder} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include/kinglet>)
  target_link_libraries(kinglet_${folder} PRIVATE kinglet_options)
  if(KINGLET_SANITIZE AND folder MATCHES "^(families|text|cache|engine|eval|hub|server|cli)$")
    # Without loops over numbers in it, a folder takes longer to be optimised than to be tested.
    target_compile_options(kinglet_${folder} PRIVATE -O0)
  endif()
  foreach(used ${arg_USES})
    target_link_libraries(kinglet_${folder} PUBLIC kinglet_${used})
  endforeach()
  target_link_libraries(kinglet_${folder} PUBLIC ${arg_LINK})
  if(KINGLET_BUILD_TESTS AND tests)
    add_executable(${folder}_test ${tests})
    target_link_libraries(${folder}_test PRIVATE kinglet_options kinglet_${folder} kinglet_test_support ${arg_TEST_LINK}
      GTest::gtest GTest::gmock GTest::gtest_main)
    add_test(NAME ${folder} COMMAND ${folder}_test --gtest_brief=1)
    set_tests_properties(${folder} PROPERTIES TIMEOUT 900 LABELS unit)
  endif()
endfunction()

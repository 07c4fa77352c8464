# `cmake --install`: the program, the public headers (include/kinglet) and what find_package(Kinglet) needs to link
# Kinglet::kinglet from another tree. The libraries are static; those of src/ stay an inner matter of the package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(kinglet_installed kinglet_options)
foreach(folder base kernels formats families text nn cache sampling engine)
  set_target_properties(kinglet_${folder} PROPERTIES EXPORT_NAME ${folder})
  list(APPEND kinglet_installed kinglet_${folder})
endforeach()

add_library(kinglet_public INTERFACE)
set_target_properties(kinglet_public PROPERTIES EXPORT_NAME kinglet)
add_library(Kinglet::kinglet ALIAS kinglet_public)
target_include_directories(kinglet_public INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(kinglet_public INTERFACE kinglet_engine)
target_compile_features(kinglet_public INTERFACE cxx_std_20)

install(TARGETS kinglet_public kinglet_textlib ${kinglet_installed} EXPORT KingletTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/kinglet)
install(FILES "${textlib_archive}" DESTINATION ${CMAKE_INSTALL_LIBDIR}/kinglet)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/kinglet" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(kinglet_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Kinglet)
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/KingletConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/KingletConfig.cmake" INSTALL_DESTINATION ${kinglet_package_dir})
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/KingletConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/KingletConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/KingletConfigVersion.cmake"
  DESTINATION ${kinglet_package_dir})
install(EXPORT KingletTargets NAMESPACE Kinglet:: DESTINATION ${kinglet_package_dir})

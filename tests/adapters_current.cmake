# Adapters for libraries whose hooks have no context, with those that are here. (Their 32-bit builds rarely are.)
add_executable(test_adapters_current adapters_current.c adapters_hooked.c adapters_libxml2.c)
target_link_libraries(test_adapters_current PRIVATE memarena_static memarena_build)
target_compile_definitions(test_adapters_current PRIVATE _GNU_SOURCE)

if(NOT CMAKE_C_FLAGS MATCHES "-m32")
  foreach(name CJSON JANSSON EXPAT CMARK XML2)
    test_adapted(test_adapters_current ${name}) # see adapters.cmake
  endforeach()
endif()
if(CMAKE_CXX_COMPILER AND NOT CMAKE_C_FLAGS MATCHES "-m32")
  target_sources(test_adapters_current PRIVATE adapters_current.cc)
  target_compile_definitions(test_adapters_current PRIVATE HAVE_CPP)
  set_target_properties(test_adapters_current PROPERTIES CXX_STANDARD 11 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  set_source_files_properties(adapters_current.cc PROPERTIES COMPILE_OPTIONS "-Wold-style-cast")
endif()

add_test(NAME adapters_current COMMAND test_adapters_current ${PROJECT_SOURCE_DIR}/README.md
         ${PROJECT_SOURCE_DIR}/CMakePresets.json ${PROJECT_SOURCE_DIR}/docs/bench/crowd.svg)
set_tests_properties(adapters_current PROPERTIES TIMEOUT ${MEMARENA_TEST_TIMEOUT})

# The fuzzer's corpus, played again by an ordinary program in every build; and, once, the fuzzer itself. See
# fuzz/README.md.
function(memarena_fuzz_test suffix library)
  set(target test_fuzz${suffix})
  add_executable(${target} fuzz/ops.c fuzz/replay.c)
  target_link_libraries(${target} PRIVATE ${library} memarena_build)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE ${ARGN})
  add_test(NAME fuzz${suffix} COMMAND ${target} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus)
  set_tests_properties(fuzz${suffix} PROPERTIES TIMEOUT ${MEMARENA_TEST_TIMEOUT})
endfunction()

memarena_fuzz_test("" memarena_static)
memarena_fuzz_test(_debug memarena_debug)
foreach(shards IN LISTS memarena_shards)
  memarena_fuzz_test(_yield_${shards} memarena_yield_${shards} WITH_YIELD)
endforeach()

if(COMMAND tool_test)
  tool_test("the fuzzer finds nothing in 2000 inputs" ../fuzz/check.sh runs ${PROJECT_SOURCE_DIR} 2000)
  long_test("the fuzzer finds nothing in 20000 inputs" ../fuzz/check.sh runs ${PROJECT_SOURCE_DIR} 20000)
  long_test("the fuzzer's corpus finds planted bugs" ../fuzz/check.sh bugs ${PROJECT_SOURCE_DIR})
endif()

# Tests that need more than the compiler of the build: sanitizers, Valgrind, the other compiler, strace, cmake itself. Each
# is a script in tools/ that skips, and says why, where a tool is missing. They look at the library as it is always
# built, so a sanitizer's own build has no use for them.
#
# Label "tools": once, in the release build. Label "system": cheap and without tools, in every build.
if(MEMARENA_SANITIZED)
  return()
endif()

set(tools ${CMAKE_CURRENT_SOURCE_DIR}/tools)
set(include ${PROJECT_SOURCE_DIR}/include)
set(static $<TARGET_FILE:memarena_static>)
set(shared $<TARGET_FILE:memarena_shared>)

# tool_test(NAME SCRIPT argument...)
function(tool_test name script)
  add_test(NAME ${name} COMMAND sh ${tools}/${script} ${ARGN})
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MEMARENA_TEST_TIMEOUT} LABELS tools)
endfunction()

# The same where it takes long: only for `make audit`, part `tools`, which sets MEMARENA_TEST_LONG.
function(long_test name script)
  if(MEMARENA_TEST_LONG)
    tool_test("${name}" ${script} ${ARGN})
    set_tests_properties(${name} PROPERTIES LABELS "tools;long")
  endif()
endfunction()

# tool_program(NAME library...): a program that a script runs, or that is a test itself
function(tool_program name)
  add_executable(${name} tools/${name}.c)
  target_link_libraries(${name} PRIVATE memarena_build Threads::Threads ${ARGN})
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_include_directories(${name} PRIVATE ${include})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/tools)
endfunction()

# ---- Misuse ------------------------------------------------------------------------------------------------------
foreach(kind static shared)
  set(library ${${kind}})
  foreach(compiler gcc clang)
    tool_test("${compiler}'s AddressSanitizer reports misuse (${kind})" misuse.sh asan ${compiler} ${include} ${library}
              misuse)
    tool_test("${compiler}'s AddressSanitizer reports nothing else (${kind})" misuse.sh asan ${compiler} ${include}
              ${library} clean)
  endforeach()
endforeach()
tool_test("memcheck reports misuse" misuse.sh memcheck cc ${include} ${shared} misuse)
tool_test("memcheck reports nothing else" misuse.sh memcheck cc ${include} ${shared} clean)
long_test("memcheck reports misuse (static)" misuse.sh memcheck cc ${include} ${static} misuse)
long_test("memcheck reports nothing else (static)" misuse.sh memcheck cc ${include} ${static} clean)
tool_test("memcheck reports what is not initialised" misuse.sh memcheck cc ${include} ${static} uninitialised)

# ---- Races -------------------------------------------------------------------------------------------------------
foreach(kind static shared)
  foreach(compiler gcc clang)
    tool_test("${compiler}'s ThreadSanitizer reports the program's races only (${kind})" handed.sh tsan ${compiler} ${include}
              ${${kind}})
  endforeach()
endforeach()
tool_test("helgrind reports the program's races only" handed.sh helgrind cc ${include} ${shared})
long_test("drd reports the program's races only" handed.sh drd cc ${include} ${shared})

find_program(MEMARENA_PYTHON python3)

# ---- The header and the libraries --------------------------------------------------------------------------------
foreach(compiler gcc clang)
  string(REPLACE gcc g++ cxx ${compiler})
  string(REPLACE clang clang++ cxx ${cxx})
  tool_test("the header is clean in C (${compiler})" header.sh c ${compiler} ${include})
  tool_test("the header is clean in C++ (${compiler})" header.sh c++ ${cxx} ${include})
  tool_test("each source is strict C, C11 to C23 (${compiler})" strict.sh ${compiler} ${PROJECT_SOURCE_DIR})
  foreach(kind static shared)
    tool_test("C and C++ units link and run (${compiler}, ${kind})" link.sh ${compiler} ${cxx} ${include} ${${kind}})
  endforeach()
endforeach()
foreach(compiler gcc clang)
  string(REPLACE gcc g++ cxx ${compiler})
  string(REPLACE clang clang++ cxx ${cxx})
  long_test("every dialect of C++ will do (${compiler})" dialects.sh ${compiler} ${cxx} ${include} ${static}) # sixty compilations
endforeach()
tool_test("other languages call it" bindings.sh ${PROJECT_SOURCE_DIR}/docs/BINDINGS.md ${shared})
tool_test("the libraries export what they should" symbols.sh ${PROJECT_SOURCE_DIR} ${shared} ${static}
          $<TARGET_FILE:memarena_look_shared> $<TARGET_FILE:memarena_look_static>)
tool_test("every symbol has its version (gcc)" versions.sh ${PROJECT_SOURCE_DIR} gcc)
tool_test("every symbol has its version (gcc, 32 bits)" versions.sh ${PROJECT_SOURCE_DIR} gcc -m32
          -isystem /usr/include/x86_64-linux-gnu)
tool_test("every symbol has its version (clang)" versions.sh ${PROJECT_SOURCE_DIR} clang)
tool_test("every symbol has its version (clang, lld)" versions.sh ${PROJECT_SOURCE_DIR} clang -fuse-ld=lld)

tool_program(dlopen ${CMAKE_DL_LIBS})
add_test(NAME "the shared library can be opened, called by name and closed"
         COMMAND dlopen ${shared} ${tools}/symbols.txt)
set_tests_properties("the shared library can be opened, called by name and closed"
                     PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MEMARENA_TEST_TIMEOUT} LABELS system)

tool_test("many plug-ins can bring the library (glibc)" plugins.sh glibc 30 ${PROJECT_SOURCE_DIR} ${static})
long_test("a plug-in can bring the library (musl)" plugins.sh musl ${PROJECT_SOURCE_DIR})

if(MEMARENA_PYTHON)
  add_test(NAME "no layer of the library knows a higher one" COMMAND ${MEMARENA_PYTHON} ${tools}/layers.py ${PROJECT_SOURCE_DIR} ${static})
  set_tests_properties("no layer of the library knows a higher one" PROPERTIES SKIP_RETURN_CODE 77 LABELS tools)
endif()

# ---- Several copies in one process --------------------------------------------------------------------------------
# copies_test(tool_test|long_test PART WHAT)
function(copies_test kind part what)
  cmake_language(CALL ${kind} "several copies in one process: ${what}" copies.sh ${part} ${PROJECT_SOURCE_DIR} ${static} ${shared})
endfunction()
copies_test(long_test mixes "each mix of hosts and plug-ins")
copies_test(long_test "linkers gcc" "each linker (gcc)")
copies_test(long_test "linkers clang" "each linker (clang)")
copies_test(long_test partitions "optimised in many partitions")
copies_test(tool_test circle "copies come and go")
copies_test(tool_test fork "fork")
copies_test(long_test damaged "damaged notes")
copies_test(long_test narrow "32 bits")
copies_test(long_test static "one program, static and not")
copies_test(long_test musl "musl")
copies_test(long_test processors "other processors")

# ---- Texts for machines -----------------------------------------------------------------------------------------
if(MEMARENA_PYTHON)
  add_test(NAME "the numbers are JSON and what Prometheus reads" COMMAND ${MEMARENA_PYTHON} ${tools}/stats.py
           $<TARGET_FILE:test_stats>)
  tool_program(names memarena_look_static)
  add_test(NAME "an arena may have any name" COMMAND ${MEMARENA_PYTHON} ${tools}/names.py $<TARGET_FILE:names>)
endif()

# ---- The documents -----------------------------------------------------------------------------------------------
if(NOT MEMARENA_PYTHON)
  message(STATUS "memarena: the documents are not tested, python3 is not installed")
elseif(MEMARENA_INSTALL)
  # docs_test(NAME argument...)
  function(docs_test name)
    add_test(NAME ${name} COMMAND ${MEMARENA_PYTHON} ${tools}/docs.py ${ARGN})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MEMARENA_TEST_TIMEOUT} LABELS tools)
  endfunction()
  set(here ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${static})
  file(GLOB_RECURSE documents RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
  docs_test("the README's programs and commands do what it says" ${here} README.md)
  docs_test("the documents' programs and commands do what they say" ${here} ${documents})
  docs_test("a program or command that does not do what is said of it is found" --self-test ${here})
endif()

# ---- Installing --------------------------------------------------------------------------------------------------
foreach(way find_package pkg-config subdirectory fetch-content meson one-command two-files)
  if(MEMARENA_INSTALL OR way MATCHES "subdirectory|fetch-content|one-command|two-files")
    tool_test("others can use it: ${way}" install.sh ${way} ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  endif()
endforeach()

foreach(flags -fsanitize=thread -fsanitize=address -fsanitize=undefined -O0 "-O3 -flto" "-Os -march=native")
  foreach(compiler gcc clang)
    separate_arguments(each UNIX_COMMAND ${flags})
    long_test("it is built with a user's own flags: ${compiler} ${flags}" flags.sh ${PROJECT_SOURCE_DIR} ${compiler} ${each})
  endforeach()
endforeach()
tool_test("it is built with a sanitizer's flags" flags.sh ${PROJECT_SOURCE_DIR} gcc -fsanitize=undefined)
tool_test("BUILD_TESTING and MEMARENA_BUILD_TESTS are obeyed" build_testing.sh ${PROJECT_SOURCE_DIR})

# ---- Instructions and system calls -------------------------------------------------------------------------------
foreach(kind static shared)
  tool_test("the fast path takes at most 17 instructions (gcc, ${kind})" instructions.sh gcc 17 ${include} ${${kind}})
  # clang 14 keeps the caller's test for NULL.
  tool_test("the fast path takes at most 18 instructions (clang, ${kind})" instructions.sh clang 18 ${include} ${${kind}})
endforeach()
tool_test("Valgrind's profilers see the program as it is" profilers.sh cc ${include} ${shared})
tool_test("a reset takes so many instructions whatever was allocated" reset.sh gcc 30 ${include} ${static})

tool_program(syscalls memarena_static)
tool_test("few system calls, and none for blocks" syscalls.sh $<TARGET_FILE:syscalls>)

# ---- Seen from outside -------------------------------------------------------------------------------------------
if(MEMARENA_HAS_SDT)
  set(has_sdt ON)
else()
  set(has_sdt OFF)
endif()
tool_program(observed memarena_shared)
tool_test("both libraries have their probes" probes.sh notes ${has_sdt} ${shared} ${static})
tool_test("gdb stops at the probes" probes.sh gdb ${has_sdt} $<TARGET_FILE:observed>)
tool_test("bpftrace counts what the library counts" probes.sh bpftrace ${has_sdt} ${PROJECT_SOURCE_DIR})
tool_test("gdb shows arenas and scopes" gdb.sh cc ${PROJECT_SOURCE_DIR} ${static})

# ---- A system that refuses ---------------------------------------------------------------------------------------
tool_program(refusals memarena_static)
foreach(call mmap madvise munmap mprotect mremap mincore pthread_key_create pthread_setspecific pthread_atfork)
  target_link_options(refusals PRIVATE LINKER:--wrap=${call})
endforeach()
add_test(NAME "every refusal of the system is survived" COMMAND refusals)
set_tests_properties("every refusal of the system is survived"
                     PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${MEMARENA_TEST_TIMEOUT} LABELS system)

# ---- Do the detectors detect? -------------------------------------------------------------------------------------
tool_test("planted bugs are found" planted.sh cc ${PROJECT_SOURCE_DIR})
set_tests_properties("planted bugs are found" PROPERTIES COST 1000) # the longest first, or the others wait for it

# ---- What one types ----------------------------------------------------------------------------------------------
tool_test("make builds what it runs, and helps" commands.sh targets ${PROJECT_SOURCE_DIR})
tool_test("the setup is one call of apt, and says what is missing" commands.sh setup ${PROJECT_SOURCE_DIR})
tool_test("the release has the packages that the setup names" commands.sh names ${PROJECT_SOURCE_DIR})

# ---- The sources -------------------------------------------------------------------------------------------------
tool_test("the manual pages are up to date" manpages.sh ${PROJECT_SOURCE_DIR})
tool_test("the sources are formatted" format.sh ${PROJECT_SOURCE_DIR})
tool_test("cppcheck finds nothing" analyze.sh cppcheck ${PROJECT_SOURCE_DIR})
long_test("clang-tidy finds nothing" analyze.sh clang-tidy ${PROJECT_SOURCE_DIR})
tool_test("gcc's analyzer finds nothing" analyze.sh gcc ${PROJECT_SOURCE_DIR})

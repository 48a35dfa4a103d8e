# Concurrency: races, named by their pair, and what threads and processes do to an arena. Each race runs on the library
# as it is shipped and on its narrow builds, which tests learn about through MA_SHARDS and MA_TAG_BITS.
function(memarena_race name)
  memarena_test(${name} LABELS threads)
  memarena_test(${name} SUFFIX _yield_1 LIBRARY memarena_yield_1 DEFINES MA_SHARDS=1 MA_TAG_BITS=4 LABELS threads)
  memarena_test(${name} SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads)
  memarena_test(${name} SUFFIX _yield_64 LIBRARY memarena_yield_64 DEFINES MA_SHARDS=64 MA_TAG_BITS=9 LABELS threads)
endfunction()

memarena_race(race_alloc_alloc)
memarena_race(race_alloc_reset)
set(steps_wrap -Wl,--wrap=ma_os_watch_thread,--wrap=mincore,--wrap=madvise,--wrap=nanosleep)
foreach(shards 1 2)
  memarena_test(race_steps SUFFIX _yield_${shards} LIBRARY memarena_yield_${shards}
                DEFINES MA_SHARDS=${shards} MA_TAG_BITS=4 LABELS threads steps LINK ${steps_wrap})
  memarena_test(race_steps SUFFIX _defer_yield_${shards} LIBRARY memarena_yield_${shards}
                DEFINES MA_SHARDS=${shards} MA_TAG_BITS=4 STEPS_DEFER LABELS threads steps LINK ${steps_wrap})
  memarena_test(race_scope_steps SUFFIX _yield_${shards} LIBRARY memarena_yield_${shards}
                DEFINES MA_SHARDS=${shards} MA_TAG_BITS=4 LABELS threads steps)
endforeach()
memarena_race(race_defer_reset)
memarena_race(race_large)
memarena_race(race_stats)
memarena_race(stats)
memarena_test(map LABELS threads)
memarena_race(race_scopes)
memarena_test(trim LABELS threads LINK -Wl,--wrap=madvise,--wrap=mincore)
memarena_test(trim SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads LINK -Wl,--wrap=madvise,--wrap=mincore)
memarena_test(zeroed LABELS threads)
memarena_test(zeroed SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads)
memarena_test(retain LABELS threads LINK -Wl,--wrap=madvise)
memarena_test(retain SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads LINK -Wl,--wrap=madvise)
memarena_test(steady_scopes LABELS threads)
memarena_test(lanes LABELS threads)
memarena_test(many_threads LABELS threads)
memarena_test(threads_come_and_go LABELS threads)
memarena_test(same_addresses LABELS threads)
memarena_test(destroy LABELS threads)
memarena_test(destroy SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads)
memarena_test(signals LABELS threads)
memarena_test(signals SUFFIX _yield_1 LIBRARY memarena_yield_1 DEFINES MA_YIELDS MA_SHARDS=1 MA_TAG_BITS=4 LABELS threads)
memarena_test(thread_exit LABELS threads)
memarena_test(fork LABELS threads)
memarena_test(fork SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads)

# Per CPU: by restartable sequences, and with these switched off, and the races with all threads on that road.
memarena_test(per_cpu LABELS threads)
memarena_test(per_cpu SUFFIX _no_rseq LABELS threads)
memarena_test(no_lane SUFFIX _no_rseq LINK -Wl,--wrap=pthread_setspecific)
set_tests_properties(per_cpu_no_rseq no_lane_no_rseq PROPERTIES ENVIRONMENT "GLIBC_TUNABLES=glibc.pthread.rseq=0")
memarena_test(thread_exit SUFFIX _per_cpu LABELS threads DEFINES TEST_FLAGS=MEMARENA_PER_CPU)
foreach(name race_alloc_alloc race_alloc_reset race_defer_reset race_large race_stats race_scopes fork)
  memarena_test(${name} SUFFIX _per_cpu LABELS threads DEFINES TEST_FLAGS=MEMARENA_PER_CPU)
  memarena_test(${name} SUFFIX _per_cpu_yield_2 LIBRARY memarena_yield_2 LABELS threads
                DEFINES TEST_FLAGS=MEMARENA_PER_CPU MA_SHARDS=2 MA_TAG_BITS=4)
endforeach()
memarena_test(rseq_aborts)
target_sources(test_rseq_aborts PRIVATE rseq_inline.c)
# With the sequence inline in the program.
memarena_test(per_cpu SUFFIX _inline LABELS threads DEFINES MEMARENA_INLINE_PER_CPU)
foreach(name race_alloc_alloc race_alloc_reset race_scopes sample thread_exit fork)
  memarena_test(${name} SUFFIX _per_cpu_inline LABELS threads DEFINES TEST_FLAGS=MEMARENA_PER_CPU MEMARENA_INLINE_PER_CPU)
endforeach()
memarena_test(race_alloc_reset SUFFIX _per_cpu_inline_yield_2 LIBRARY memarena_yield_2 LABELS threads
              DEFINES TEST_FLAGS=MEMARENA_PER_CPU MEMARENA_INLINE_PER_CPU MA_SHARDS=2 MA_TAG_BITS=4)

# UndefinedBehaviorSanitizer on the roads that AddressSanitizer and ThreadSanitizer close: lanes for one, sequences for both.
if(MEMARENA_TEST_ALL AND NOT MEMARENA_SANITIZE)
  set(undefined -fsanitize=undefined -fno-sanitize-recover=undefined)
  include(CheckCSourceCompiles)
  list(JOIN undefined " " CMAKE_REQUIRED_FLAGS)
  check_c_source_compiles("int main(void) { return 0; }" MEMARENA_HAS_UBSAN)
  unset(CMAKE_REQUIRED_FLAGS)
  if(MEMARENA_HAS_UBSAN)
    memarena_objects(memarena_undefined_objects)
    target_compile_options(memarena_undefined_objects PRIVATE ${undefined})
    memarena_library(memarena_undefined STATIC memarena_undefined_objects)
    foreach(name model scope_model fill align realloc overflow accounts per_cpu)
      memarena_test(${name} SUFFIX _undefined LIBRARY memarena_undefined LABELS threads LINK ${undefined})
      target_compile_options(test_${name}_undefined PRIVATE ${undefined})
    endforeach()
  endif()
endif()

# Sampled: by itself, and the races with a sample every few blocks.
set(sampled DEFINES TEST_SAMPLE=300 MA_SHARDS=2 MA_TAG_BITS=4)
memarena_test(sample LABELS threads)
memarena_test(sample SUFFIX _yield_2 LIBRARY memarena_yield_2 DEFINES MA_SHARDS=2 MA_TAG_BITS=4 LABELS threads)
memarena_test(sample SUFFIX _per_cpu DEFINES TEST_FLAGS=MEMARENA_PER_CPU LABELS threads)
foreach(suffix "" _yield_2 _per_cpu _per_cpu_inline)
  target_link_libraries(test_sample${suffix} PRIVATE m)
endforeach()
foreach(name race_alloc_alloc race_alloc_reset race_stats race_scopes)
  memarena_test(${name} SUFFIX _sample_yield_2 LIBRARY memarena_yield_2 LABELS threads ${sampled})
endforeach()
memarena_test(race_alloc_reset SUFFIX _sample_per_cpu_yield_2 LIBRARY memarena_yield_2 LABELS threads ${sampled}
              TEST_FLAGS=MEMARENA_PER_CPU)
memarena_test(race_steps SUFFIX _sample_yield_2 LIBRARY memarena_yield_2 LABELS threads steps LINK ${steps_wrap} ${sampled})
if(TEST race_steps_sample_yield_2)
  set_tests_properties(race_steps_sample_yield_2 PROPERTIES ENVIRONMENT MEMARENA_TEST_SCALE=0.03) # all: audit.sh
endif()

# As long as one likes, see its header; here only a taste.
memarena_test(soak ARGS 3 LABELS soak)
foreach(shards 1 2 64)
  memarena_test(soak SUFFIX _yield_${shards} LIBRARY memarena_yield_${shards} DEFINES WITH_YIELD ARGS 3 LABELS soak)
endforeach()

# Each generation at addresses of its own.
memarena_test(trap LABELS threads LINK -Wl,--wrap=mmap)
memarena_test(trap_refused LINK -Wl,--wrap=mremap,--wrap=mprotect,--wrap=mmap)
memarena_test(references)
foreach(name race_alloc_reset race_scopes race_defer_reset race_stats fork)
  memarena_test(${name} SUFFIX _trap LABELS threads DEFINES TEST_FLAGS=MEMARENA_TRAP_STALE)
endforeach()
memarena_test(race_alloc_reset SUFFIX _trap_yield_2 LIBRARY memarena_yield_2 LABELS threads
              DEFINES TEST_FLAGS=MEMARENA_TRAP_STALE MA_SHARDS=2 MA_TAG_BITS=4)
memarena_test(fork SUFFIX _trap_yield_2 LIBRARY memarena_yield_2 LABELS threads
              DEFINES TEST_FLAGS=MEMARENA_TRAP_STALE MA_SHARDS=2 MA_TAG_BITS=4)

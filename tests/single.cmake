# One thread, one arena at a time: what each call promises, and the parts it is made of.
foreach(name on_oom last_resort fastpath fill overflow align realloc realloc_aligned room undefer drop_last strings options accounts defer many_arenas wrap pool
             failing_os no_lane)
  memarena_test(${name})
endforeach()

# These stand between the library and the system.
target_link_options(test_failing_os PRIVATE -Wl,--wrap=mmap,--wrap=munmap,--wrap=madvise)
if(CMAKE_SYSTEM_NAME STREQUAL Linux)
  memarena_test(locked)
  if(NOT MEMARENA_SANITIZE MATCHES thread) # which leaves a program some TiB of address space
    memarena_test(many_defaults)
  endif()
  memarena_test(cgroup LINK -Wl,--wrap=syscall,--wrap=madvise)
  memarena_test(cgroup SUFFIX _real ARGS real LINK -Wl,--wrap=syscall,--wrap=madvise)
  memarena_test(map_name)
  memarena_test(map_name SUFFIX _maps ARGS maps)
  target_link_options(test_map_name PRIVATE -Wl,--wrap=prctl)
  target_link_options(test_map_name_maps PRIVATE -Wl,--wrap=prctl)
endif()
target_link_options(test_no_lane PRIVATE -Wl,--wrap=pthread_setspecific)

# With a hook before each access of the pool, and the widths that are shipped.
memarena_test(tag_width DEFINES MA_YIELD_HOOK=test_yield)
target_sources(test_tag_width PRIVATE ${PROJECT_SOURCE_DIR}/src/shard/pool.c)

# With few shards and narrow tags, which wrap every few resets.
foreach(shards IN LISTS memarena_shards)
  if(shards EQUAL 64)
    set(tag_bits 9)
  else()
    set(tag_bits 4)
  endif()
  set(narrow LIBRARY memarena_yield_${shards} SUFFIX _yield_${shards}
             DEFINES WITH_YIELD MA_SHARDS=${shards} MA_TAG_BITS=${tag_bits})
  memarena_test(wrap ${narrow})
  memarena_test(pool ${narrow})
  memarena_test(tag_width ${narrow})
  memarena_test(interrupted_claims ${narrow})
  memarena_test(scope_model ${narrow})
endforeach()
memarena_test(scopes)
memarena_test(keep)
memarena_test(nested_scopes LIBRARY memarena_yield_2)
memarena_test(scope_model)

# The debug build, which aborts on misuse.
memarena_objects(memarena_debug_objects MEMARENA_DEBUG)
memarena_library(memarena_debug STATIC memarena_debug_objects)
memarena_test(debug LIBRARY memarena_debug)
memarena_test(scopes LIBRARY memarena_debug SUFFIX _debug)
foreach(name keep undefer room tenants)
  memarena_test(${name} LIBRARY memarena_debug SUFFIX _debug)
endforeach()
memarena_test(scope_model LIBRARY memarena_debug SUFFIX _debug)

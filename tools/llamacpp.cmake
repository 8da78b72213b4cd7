# What `make llamacpp` changes of llama.cpp's build, which reads this behind its `project`: the library alone, without its
# `common` helpers, and its widest header read once. Of one processor's time 2 minutes instead of 6.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "Guard calls the library alone" FORCE)

function(guard_read_widest_header_once)
  get_target_property(folder llama SOURCE_DIR)
  if(EXISTS "${folder}/models/models.h")
    target_precompile_headers(llama PRIVATE "${folder}/models/models.h")
  endif()
endfunction()
cmake_language(DEFER CALL guard_read_widest_header_once)

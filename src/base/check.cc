#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace kinglet {

void check_failed(const char* file, int line, const char* condition, const char* message) {
  std::fprintf(stderr, "kinglet: internal error at %s:%d: %s (%s)\nPlease report this with the command you ran.\n",
               file, line, message, condition);
  std::abort();
}

}  // namespace kinglet

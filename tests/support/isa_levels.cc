// Prints the instruction-set levels of this machine, one a line, slowest first: ./test full runs through them.
#include <cstdio>
#include <string>

#include "kernels/isa.h"

int main() {
  for (const kinglet::IsaLevel level : kinglet::available_isa_levels()) {
    std::puts(std::string(kinglet::isa_name(level)).c_str());
  }
  return 0;
}

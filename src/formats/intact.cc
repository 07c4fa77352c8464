#include "formats/intact.h"

#include "base/lost_pages.h"
#include "base/memory.h"

namespace kinglet {

Status check_intact(const Checkpoint& checkpoint) {
  for (const auto& file : checkpoint.files) {
    if (!pages_lost(file->bytes())) continue;
    return Error{ErrorCode::kIo, file->path() + ": became shorter while it was in use; expected " +
                                     std::to_string(file->bytes().size()) + " bytes, as there were when it was opened"};
  }
  return {};
}

}  // namespace kinglet

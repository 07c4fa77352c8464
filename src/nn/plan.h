// The memory plan of a model that is bound already, or of which only an outline is there (families/outline.h).
#pragma once

#include "families/family.h"
#include "nn/model.h"

namespace kinglet {

Result<MemoryPlan> plan_memory(const BoundModel& bound, const ModelOptions& options);

}  // namespace kinglet

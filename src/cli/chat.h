// The interactive conversation: line editing, history, slash commands.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/answer.h"
#include "cli/conversation.h"
#include "engine/engine.h"

namespace kinglet::cli {

// Talks until /bye, the end of input, or SIGTERM. Returns the exit code. /save refuses `model_files`.
Result<int> chat_loop(Engine& engine, Conversation conversation, AnswerOptions options,
                      std::vector<std::string> model_files, bool show_stats);

}  // namespace kinglet::cli

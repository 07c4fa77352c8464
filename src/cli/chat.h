// The interactive conversation: line editing, history, slash commands.
#pragma once

#include "base/result.h"
#include "cli/answer.h"
#include "cli/conversation.h"
#include "engine/engine.h"

namespace kinglet::cli {

// Talks until /bye, the end of input, or SIGTERM. Returns the exit code.
Result<int> chat_loop(Engine& engine, Conversation conversation, AnswerOptions options, bool show_stats);

}  // namespace kinglet::cli

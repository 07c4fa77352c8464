// Reads tools and tool_choice of OpenAI's dialect. For the .cc files of server/ only, because it shows nlohmann's
// types.
#pragma once

#include "server/call.h"
#include "server/json_fields.h"

namespace kinglet::server {

// tools, tool_choice and parallel_tool_calls, into call->tools_json and call->tool_use.
void read_openai_tools(Fields& fields, ChatCall* call);

}  // namespace kinglet::server

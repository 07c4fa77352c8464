// What a call's tools mean for the engine's requests and for the ids of answers: the same in every dialect.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/request.h"
#include "server/call.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace kinglet::server {

// Makes calls visible in the request's text, and sets a grammar where calls are required or strict, or where the answer
// has a schema: then the answer is calls or JSON of `json_schema`. Nothing happens without tools. kInvalid, naming the
// field, when a call is required of a model without a known format, or tools can't be written as a grammar.
Status apply_tools(const ToolUse& use, const std::optional<ToolCallFormat>& format,
                   const std::optional<std::string>& json_schema, const std::shared_ptr<const Tokenizer>& tokenizer,
                   Request* request);

// The id of a call: what the model wrote, where that will do, else a random one of the shape that the model's template
// takes.
std::string tool_call_id(ToolCallFormat::Ids ids, std::string_view written);

}  // namespace kinglet::server

// Ollama's dialect, without sockets and engine: bodies to calls, events to lines of JSON, errors to envelopes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "server/call.h"
#include "server/http.h"

namespace kinglet::server {

struct OllamaCall {
  std::variant<ChatCall, TextCall> call;  // text: a raw prompt
  int64_t context = 0;                    // that the caller counts on; 0: whatever there is
  bool only_loads = false;                // asks for the model to be there, and for no answer

  const CallOptions& options() const;
};

// kInvalid, naming the field: "options.temperature: found "hot", expected a number". Unknown fields are ignored.
Result<OllamaCall> ollama_chat_call(std::string_view body);
Result<OllamaCall> ollama_generate_call(std::string_view body);
// The model that a body names for anything else, under "model" or, as old clients do, "name".
Result<std::string> ollama_model_field(std::string_view body);

// A name without its ":latest", which clients add to names without a tag.
std::string ollama_plain_name(const std::string& name);
// The same name as Ollama lists it: with a tag.
std::string ollama_tagged_name(const std::string& name);

enum class OllamaAnswer { kChat, kGenerate };
// Lines say `model`, the name that the request has.
std::unique_ptr<AnswerFormat> ollama_format(OllamaAnswer kind, std::string model);
// To a call that only loads.
std::string ollama_loaded(OllamaAnswer kind, const std::string& model);

HttpResponse ollama_error(int status, const Error& error);

// Seconds since 1970 as Ollama writes them: "2026-11-30T07:00:00Z".
std::string ollama_time(int64_t seconds);

}  // namespace kinglet::server

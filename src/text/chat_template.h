// ChatTemplate: a model's own Jinja template, rendered as transformers' apply_chat_template renders it. Templates are
// untrusted: work, recursion, output and time are bounded. It renders text; tokens are the tokenizer's business.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct KtTemplate;

namespace kinglet {

struct Checkpoint;

struct RenderRequest {
  std::string messages_json = {};  // a JSON array of message objects; the order of keys is kept
  std::string tools_json = {};     // a JSON array, or empty for none
  std::string args_json = {};      // a JSON object of further variables (enable_thinking, documents …), or empty
  bool add_generation_prompt = true;
  std::optional<int64_t> now = {};  // seconds since 1970 for strftime_now (in UTC); absent: the clock, in local time
  std::string template_name = {};   // of a model with several; empty: "tool_use" where there are tools, else "default"
};

class ChatTemplate {
 public:
  // The model's template: chat_template.jinja, tokenizer_config.json (a string or a list of named ones) or GGUF
  // metadata. kNotFound when the model has none; kInvalid when it does not compile.
  static Result<std::shared_ptr<const ChatTemplate>> from_checkpoint(const Checkpoint& checkpoint);
  // `variables`: bos_token, eos_token … as the template sees them.
  static Result<std::shared_ptr<const ChatTemplate>> from_source(
      std::string_view source, const std::map<std::string, std::string>& variables = {});

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // kInvalid: the JSON is malformed, or the template failed (raise_exception's text is the message). kResource: a bound
  // was hit.
  Result<std::string> render(const RenderRequest& request) const;

  // The default template's source, and that of the template that chats with tools get.
  const std::string& source() const;
  const std::string& tool_source() const;
  std::vector<std::string> names() const;  // "default", and "tool_use" … where the model has them
  // The values of bos_token, eos_token … by name.
  const std::map<std::string, std::string>& variables() const { return variables_; }

 private:
  struct Named {
    std::string source;
    KtTemplate* handle = nullptr;
  };
  ChatTemplate() = default;
  Status add(const std::string& name, std::string_view source);
  Result<const Named*> choose(const std::string& wanted, bool has_tools) const;

  std::map<std::string, Named> templates_;
  std::map<std::string, std::string> variables_;
};

}  // namespace kinglet

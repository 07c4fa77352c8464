// ServedModel: a model behind an engine with all that turns calls into its requests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/chat_format.h"
#include "engine/engine.h"
#include "engine/sampling_wishes.h"
#include "server/call.h"

namespace kinglet::server {

class ServedModel {
 public:
  struct Description {
    std::vector<std::string> names;  // the first is its own, the others are aliases
    int64_t created = 0;             // seconds since 1970
    SamplingWishes advice;           // where a request says nothing
    // For people: what is known of it; empty and 0 where nothing is.
    std::string family, file_format, quantisation;
    int64_t parameters = 0;
    uint64_t bytes = 0;
  };
  ServedModel(std::unique_ptr<Engine> engine, ChatFormat format, Description description)
      : engine_(std::move(engine)), format_(std::move(format)), description_(std::move(description)) {}

  Engine& engine() const { return *engine_; }
  const Tokenizer& tokenizer() const { return *engine_->tokenizer(); }
  const ChatFormat& format() const { return format_; }
  const Description& description() const { return description_; }
  bool has_name(const std::string& name) const;

  // n requests for each prompt, those of the first prompt first. Errors are the caller's fault.
  Result<std::vector<Request>> requests(const ChatCall& call) const;
  Result<std::vector<Request>> requests(const TextCall& call) const;

 private:
  Result<std::vector<Request>> multiply(std::vector<Request> prompts, const CallOptions& options) const;

  std::unique_ptr<Engine> engine_;
  ChatFormat format_;
  Description description_;
};

}  // namespace kinglet::server

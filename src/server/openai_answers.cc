#include <algorithm>
#include <iterator>
#include <utility>

#include "server/json_fields.h"
#include "server/openai.h"
#include "server/tool_use.h"

namespace kinglet::server {
namespace {

// JSON has no infinity; OpenAI uses this number for what is next to impossible.
constexpr float kLeastLogprob = -9999.0f;

std::string sse(const Json& json) {
  return "data: " + to_text(json) + "\n\n";
}

const char* finish_name(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

// What the two kinds of answers have in common.
class OpenAiFormat : public AnswerFormat {
 public:
  explicit OpenAiFormat(const OpenAiAnswer& answer) : answer_(answer) {}
  std::string content_type(bool stream) const override { return stream ? "text/event-stream" : "application/json"; }

  std::string last() override {
    std::string out;
    if (answer_.include_usage) {
      Json chunk = envelope(true);
      chunk["choices"] = Json::array();
      chunk["usage"] = usage();
      out = sse(chunk);
    }
    return out + "data: [DONE]\n\n";
  }
  std::string failure(const Error& error) override {
    return "data: " + openai_error(500, error).body + "\n\ndata: [DONE]\n\n";
  }
  std::string whole(const std::vector<Completion>& completions) override {
    Json json = envelope(false);
    Json choices = Json::array();
    for (size_t i = 0; i < completions.size(); ++i) {
      const Completion& c = completions[i];
      count(i, c.finish.stats);
      Json choice = whole_choice(i, c);
      choice["index"] = i;
      if (!choice.contains("finish_reason")) choice["finish_reason"] = finish_name(c.finish.reason);
      choices.push_back(std::move(choice));
    }
    json["choices"] = std::move(choices);
    json["usage"] = usage();
    return to_text(json);
  }

 protected:
  virtual const char* object_name(bool stream) const = 0;
  virtual Json whole_choice(size_t index, const Completion& completion) = 0;

  Json envelope(bool stream) const {
    return {
        {"id", answer_.id}, {"object", object_name(stream)}, {"created", answer_.created}, {"model", answer_.model}};
  }
  void count(size_t index, const RequestStats& stats) {
    if (static_cast<int64_t>(index) % answer_.n == 0) {
      prompt_tokens_ += stats.prompt_tokens;
      cached_tokens_ += stats.cached_tokens;
    }
    generated_tokens_ += stats.generated_tokens;
  }
  Json usage() const {
    return {{"prompt_tokens", prompt_tokens_},
            {"completion_tokens", generated_tokens_},
            {"total_tokens", prompt_tokens_ + generated_tokens_},
            {"prompt_tokens_details", {{"cached_tokens", cached_tokens_}}}};
  }
  std::string text_of(int32_t token) const { return std::string(answer_.tokenizer->token_bytes(token)); }
  // A stop token is no part of the answer.
  static size_t shown(const std::vector<SampledToken>& tokens, const std::optional<FinishInfo>& finish) {
    const bool hides = finish && finish->stop_token && !tokens.empty() && tokens.back().token == *finish->stop_token;
    return tokens.size() - (hides ? 1 : 0);
  }

  const OpenAiAnswer answer_;
  int64_t prompt_tokens_ = 0, generated_tokens_ = 0, cached_tokens_ = 0;
};

class ChatAnswers : public OpenAiFormat {
 public:
  using OpenAiFormat::OpenAiFormat;

  std::string first() override { return {}; }

  std::string event(size_t index, const Event& event) override {
    std::string out;
    Stream& stream = this->stream(index);
    if (!std::exchange(stream.begun, true)) {
      out += chunk(index, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr);
    }
    std::vector<Json> deltas;
    if (!event.reasoning.empty()) deltas.push_back({{"reasoning_content", event.reasoning}});
    for (const ToolCallPiece& piece : pieces_of(stream, event.text, event.finish.has_value())) {
      add_piece(piece, &stream, &deltas);
    }
    Json logprobs = logprobs_of(event.logprobs, shown(event.logprobs, event.finish));
    if (deltas.empty() && !logprobs.is_null()) deltas.push_back(Json::object());
    for (Json& delta : deltas) {
      out += chunk(index, std::move(delta), std::exchange(logprobs, Json()), nullptr);
    }
    if (event.finish) {
      count(index, event.finish->stats);
      out += chunk(index, Json::object(), nullptr, stream.called ? "tool_calls" : finish_name(event.finish->reason));
    }
    return out;
  }

 private:
  const char* object_name(bool stream) const override { return stream ? "chat.completion.chunk" : "chat.completion"; }

  std::string chunk(size_t index, Json delta, const Json& logprobs, const Json& finish) const {
    Json json = envelope(true);
    json["choices"] = Json::array(
        {Json{{"index", index}, {"delta", std::move(delta)}, {"logprobs", logprobs}, {"finish_reason", finish}}});
    return sse(json);
  }

  struct Stream {
    bool begun = false, called = false;  // the role is out; a call is complete
    std::optional<ToolCallParser> parser;
  };

  Stream& stream(size_t index) {
    while (index >= streams_.size()) {
      streams_.emplace_back();
      if (answer_.tool_calls) streams_.back().parser.emplace(*answer_.tool_calls, answer_.tools);
    }
    return streams_[index];
  }

  static std::vector<ToolCallPiece> pieces_of(Stream& stream, const std::string& text, bool last) {
    if (!stream.parser) return text.empty() ? std::vector<ToolCallPiece>() : std::vector{ToolCallPiece{.text = text}};
    std::vector<ToolCallPiece> pieces = stream.parser->push(text);
    if (last) {
      std::vector<ToolCallPiece> rest = stream.parser->finish();
      std::move(rest.begin(), rest.end(), std::back_inserter(pieces));
    }
    return pieces;
  }

  // A call that breaks after its beginning is out can't be taken back: its text follows as content, and the answer does
  // not finish with "tool_calls" because of it.
  void add_piece(const ToolCallPiece& piece, Stream* stream, std::vector<Json>* deltas) const {
    switch (piece.kind) {
      case ToolCallPiece::Kind::kText: {
        const bool joins =
            !deltas->empty() && deltas->back().size() == 1 && deltas->back().contains("reasoning_content");
        if (!joins) deltas->push_back(Json::object());
        deltas->back()["content"] = piece.text;
        break;
      }
      case ToolCallPiece::Kind::kBegin: {
        const Json call = {{"index", piece.call},
                           {"id", tool_call_id(answer_.tool_calls->ids, piece.id)},
                           {"type", "function"},
                           {"function", {{"name", piece.text}, {"arguments", ""}}}};
        deltas->push_back({{"tool_calls", Json::array({call})}});
        break;
      }
      case ToolCallPiece::Kind::kArguments: {
        const Json call = {{"index", piece.call}, {"function", {{"arguments", piece.text}}}};
        deltas->push_back({{"tool_calls", Json::array({call})}});
        break;
      }
      case ToolCallPiece::Kind::kEnd:
        stream->called = true;
        break;
      case ToolCallPiece::Kind::kBroken:
        break;
    }
  }

  Json whole_choice(size_t index, const Completion& c) override {
    ToolCallCollector collector;
    collector.add(pieces_of(stream(index), c.text, true));
    const ParsedAnswer parsed = collector.take();
    Json message = {{"role", "assistant"}, {"content", parsed.text}, {"refusal", nullptr}};
    if (!c.reasoning.empty()) message["reasoning_content"] = c.reasoning;
    Json calls = Json::array();
    for (const ToolCall& call : parsed.calls) {
      calls.push_back({{"id", tool_call_id(answer_.tool_calls->ids, call.id)},
                       {"type", "function"},
                       {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    Json choice = Json::object();
    if (!calls.empty()) {
      if (parsed.text.empty()) message["content"] = nullptr;
      message["tool_calls"] = std::move(calls);
      choice["finish_reason"] = "tool_calls";
    }
    choice["message"] = std::move(message);
    choice["logprobs"] = logprobs_of(c.logprobs, shown(c.logprobs, c.finish));
    return choice;
  }

  Json token_entry(int32_t token, float logprob) const {
    const std::string bytes = text_of(token);
    Json list = Json::array();
    for (char c : bytes) list.push_back(static_cast<unsigned char>(c));
    return {{"token", bytes}, {"logprob", std::max(logprob, kLeastLogprob)}, {"bytes", std::move(list)}};
  }
  Json logprobs_of(const std::vector<SampledToken>& tokens, size_t size) const {
    if (size == 0) return nullptr;
    Json content = Json::array();
    for (size_t i = 0; i < size; ++i) {
      Json entry = token_entry(tokens[i].token, tokens[i].logprob);
      Json top = Json::array();
      for (const TokenLogprob& other : tokens[i].top) top.push_back(token_entry(other.token, other.logprob));
      entry["top_logprobs"] = std::move(top);
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }

  std::vector<Stream> streams_;
};

class TextAnswers : public OpenAiFormat {
 public:
  TextAnswers(const OpenAiAnswer& answer, std::vector<std::string> echoes)
      : OpenAiFormat(answer), echoes_(std::move(echoes)) {}

  std::string first() override { return {}; }

  std::string event(size_t index, const Event& event) override {
    if (index >= offsets_.size()) offsets_.resize(index + 1);
    std::string text = offsets_[index] < 0 ? "" : take_echo(index);
    text += event.text;
    const Json logprobs = logprobs_of(index, event.logprobs, shown(event.logprobs, event.finish));
    if (event.finish) count(index, event.finish->stats);
    if (text.empty() && logprobs.is_null() && !event.finish) return {};
    Json json = envelope(true);
    const Json finish = event.finish ? Json(finish_name(event.finish->reason)) : Json();
    json["choices"] =
        Json::array({Json{{"index", index}, {"text", text}, {"logprobs", logprobs}, {"finish_reason", finish}}});
    return sse(json);
  }

 private:
  const char* object_name(bool) const override { return "text_completion"; }

  std::string take_echo(size_t index) {
    const size_t prompt = index / static_cast<size_t>(answer_.n);
    if (index >= echoed_.size()) echoed_.resize(index + 1);
    if (prompt >= echoes_.size() || std::exchange(echoed_[index], char{1})) return {};
    offsets_[index] = static_cast<int64_t>(echoes_[prompt].size());
    return echoes_[prompt];
  }

  Json whole_choice(size_t index, const Completion& c) override {
    if (index >= offsets_.size()) offsets_.resize(index + 1);
    const std::string echo = take_echo(index);
    return {{"text", echo + c.text}, {"logprobs", logprobs_of(index, c.logprobs, shown(c.logprobs, c.finish))}};
  }

  Json logprobs_of(size_t index, const std::vector<SampledToken>& list, size_t size) {
    if (size == 0) return nullptr;
    Json tokens = Json::array(), values = Json::array(), tops = Json::array(), offsets = Json::array();
    for (size_t i = 0; i < size; ++i) {
      const std::string text = text_of(list[i].token);
      Json top = Json::object();
      for (const TokenLogprob& other : list[i].top) {
        const std::string key = text_of(other.token);
        // Two tokens may have one spelling: the likelier one, which comes first, keeps it.
        if (!top.contains(key)) top[key] = std::max(other.logprob, kLeastLogprob);
      }
      tokens.push_back(text);
      values.push_back(std::max(list[i].logprob, kLeastLogprob));
      tops.push_back(std::move(top));
      offsets.push_back(offsets_[index]);
      offsets_[index] += static_cast<int64_t>(text.size());
    }
    return {{"tokens", std::move(tokens)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

  const std::vector<std::string> echoes_;
  std::vector<char> echoed_;
  std::vector<int64_t> offsets_;  // bytes of each answer before its next token
};

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

// "temperature" of "temperature: found …": the field that a message begins with.
Json field_of(const std::string& message) {
  const size_t colon = message.find(": ");
  const std::string field = message.substr(0, colon == std::string::npos ? 0 : colon);
  const bool plain =
      !field.empty() && field.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.[]0123456789") == std::string::npos;
  return plain ? Json(field) : Json();
}

}  // namespace

std::unique_ptr<AnswerFormat> openai_chat_format(const OpenAiAnswer& answer) {
  return std::make_unique<ChatAnswers>(answer);
}

std::unique_ptr<AnswerFormat> openai_text_format(const OpenAiAnswer& answer, std::vector<std::string> echoes) {
  return std::make_unique<TextAnswers>(answer, std::move(echoes));
}

HttpResponse openai_error(int status, const Error& error) {
  HttpResponse response;
  response.status = status;
  if (status == 429 || status == 503) response.headers.emplace_back("retry-after", "1");
  const Json code = status == 404   ? Json("not_found")
                    : status == 401 ? Json("invalid_api_key")
                    : status == 429 ? Json("rate_limit_exceeded")
                                    : Json();
  const Json inner = {{"message", error.message},
                      {"type", error_type(status)},
                      {"param", status == 400 ? field_of(error.message) : Json()},
                      {"code", code}};
  response.body = to_text(Json{{"error", inner}});
  return response;
}

}  // namespace kinglet::server

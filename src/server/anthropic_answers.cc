#include <utility>

#include "server/anthropic.h"
#include "server/job.h"
#include "server/json_fields.h"
#include "server/tool_use.h"

namespace kinglet::server {
namespace {

// Clients give a thinking block back only where it has a signature; there is nothing to be signed here.
constexpr const char* kSignature = "kinglet";

std::string sse(const Json& json) {
  return "event: " + json["type"].get<std::string>() + "\ndata: " + to_text(json) + "\n\n";
}

// A part of the answer's content, or what continues the one before.
struct Piece {
  enum class Kind { kThinking, kText, kCall };
  Kind kind = Kind::kText;
  std::string text;      // of a call: the arguments
  std::string id, name;  // of a call
};

// Finds the pieces in what the model thinks and says.
class PieceReader {
 public:
  explicit PieceReader(const AnthropicAnswer& answer) {
    if (!answer.tool_calls) return;
    ids_ = answer.tool_calls->ids;
    parser_.emplace(*answer.tool_calls, answer.tools);
  }

  std::vector<Piece> read(const std::string& thinking, const std::string& text, bool last) {
    if (!thinking.empty()) add({Piece::Kind::kThinking, thinking, {}, {}});
    if (!parser_) {
      if (!text.empty()) add({Piece::Kind::kText, text, {}, {}});
    } else {
      for (ToolCallPiece& piece : parser_->push(text)) take(std::move(piece));
      if (last) {
        for (ToolCallPiece& piece : parser_->finish()) take(std::move(piece));
      }
    }
    return std::exchange(pieces_, {});
  }
  // Whether a call has begun that is not handed out yet.
  bool in_call() const { return call_.has_value(); }

 private:
  void add(Piece piece) {
    if (!pieces_.empty() && pieces_.back().kind == piece.kind && piece.kind != Piece::Kind::kCall) {
      pieces_.back().text += piece.text;
    } else {
      pieces_.push_back(std::move(piece));
    }
  }

  void take(ToolCallPiece piece) {
    switch (piece.kind) {
      case ToolCallPiece::Kind::kText:
        if (!piece.text.empty()) add({Piece::Kind::kText, std::move(piece.text), {}, {}});
        break;
      case ToolCallPiece::Kind::kBegin:
        call_ = Piece{Piece::Kind::kCall, {}, tool_call_id(ids_, piece.id), std::move(piece.text)};
        break;
      case ToolCallPiece::Kind::kArguments:
        if (call_) call_->text += piece.text;
        break;
      case ToolCallPiece::Kind::kEnd:
        if (call_) add(std::move(*call_));
        call_.reset();
        break;
      case ToolCallPiece::Kind::kBroken:
        call_.reset();
        break;
    }
  }

  std::optional<ToolCallParser> parser_;
  ToolCallFormat::Ids ids_ = ToolCallFormat::Ids::kAny;
  std::optional<Piece> call_;
  std::vector<Piece> pieces_;
};

class MessageAnswer : public AnswerFormat {
 public:
  explicit MessageAnswer(AnthropicAnswer answer) : answer_(std::move(answer)), reader_(answer_) {}
  std::string content_type(bool stream) const override { return stream ? "text/event-stream" : "application/json"; }

  std::string first() override {
    RequestStats so_far;
    so_far.prompt_tokens = answer_.prompt_tokens;
    return sse({{"type", "message_start"}, {"message", message(Json::array(), nullptr, nullptr, so_far)}});
  }

  std::string event(size_t, const Event& event) override {
    std::string out;
    for (const Piece& piece : reader_.read(event.reasoning, event.text, event.finish.has_value())) out += put(piece);
    if (event.finish) {
      out += close();
      finish_ = *event.finish;
    } else if (out.empty() && reader_.in_call()) {
      out = sse({{"type", "ping"}});
    }
    return out;
  }

  std::string last() override {
    const Json delta = {{"stop_reason", stop_reason(finish_)}, {"stop_sequence", stop_sequence(finish_)}};
    return sse({{"type", "message_delta"}, {"delta", delta}, {"usage", usage(finish_.stats)}}) +
           sse({{"type", "message_stop"}});
  }

  std::string failure(const Error& error) override {
    return "event: error\ndata: " + anthropic_error(http_status_of(error), error, answer_.request_id).body + "\n\n";
  }

  std::string whole(const std::vector<Completion>& completions) override {
    const Completion& c = completions.front();
    Json content = Json::array();
    for (const Piece& piece : reader_.read(c.reasoning, c.text, true)) {
      Json block = empty_block(piece);
      if (piece.kind == Piece::Kind::kThinking) {
        block["thinking"] = piece.text;
        block["signature"] = kSignature;
      } else if (piece.kind == Piece::Kind::kText) {
        block["text"] = piece.text;
      } else if (const auto input = parse_object(piece.text); input.ok()) {
        block["input"] = *input;
      }
      called_ = called_ || piece.kind == Piece::Kind::kCall;
      content.push_back(std::move(block));
    }
    return to_text(message(std::move(content), stop_reason(c.finish), stop_sequence(c.finish), c.finish.stats));
  }

 private:
  // As content_block_start announces it.
  static Json empty_block(const Piece& piece) {
    switch (piece.kind) {
      case Piece::Kind::kThinking:
        return {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
      case Piece::Kind::kText:
        return {{"type", "text"}, {"text", ""}};
      case Piece::Kind::kCall:
        break;
    }
    return {{"type", "tool_use"}, {"id", piece.id}, {"name", piece.name}, {"input", Json::object()}};
  }

  std::string put(const Piece& piece) {
    std::string out;
    if (open_ != piece.kind || piece.kind == Piece::Kind::kCall) {
      out = close();
      out += sse({{"type", "content_block_start"}, {"index", index_}, {"content_block", empty_block(piece)}});
      open_ = piece.kind;
    }
    switch (piece.kind) {
      case Piece::Kind::kThinking:
        return out + delta({{"type", "thinking_delta"}, {"thinking", piece.text}});
      case Piece::Kind::kText:
        return out + delta({{"type", "text_delta"}, {"text", piece.text}});
      case Piece::Kind::kCall:
        break;
    }
    called_ = true;
    return out + delta({{"type", "input_json_delta"}, {"partial_json", piece.text}});
  }

  std::string delta(Json json) const {
    return sse({{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(json)}});
  }

  // Ends the block that is open.
  std::string close() {
    if (!open_) return {};
    std::string out;
    if (*open_ == Piece::Kind::kThinking) out = delta({{"type", "signature_delta"}, {"signature", kSignature}});
    open_.reset();
    return out + sse({{"type", "content_block_stop"}, {"index", index_++}});
  }

  Json message(Json content, const Json& reason, const Json& sequence, const RequestStats& stats) const {
    return {{"id", answer_.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", answer_.model},
            {"content", std::move(content)},
            {"stop_reason", reason},
            {"stop_sequence", sequence},
            {"usage", usage(stats)}};
  }

  // Anthropic counts what came from the cache apart from the rest of the prompt.
  static Json usage(const RequestStats& stats) {
    return {{"input_tokens", stats.prompt_tokens - stats.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", stats.cached_tokens},
            {"output_tokens", stats.generated_tokens}};
  }

  // An answer that somebody cut short is called too long: it is not complete either.
  Json stop_reason(const FinishInfo& finish) const {
    if (finish.reason != FinishReason::kStop) return "max_tokens";
    if (finish.stop_string) return "stop_sequence";
    return called_ ? "tool_use" : "end_turn";
  }
  static Json stop_sequence(const FinishInfo& finish) {
    return finish.stop_string ? Json(*finish.stop_string) : Json();
  }

  const AnthropicAnswer answer_;
  PieceReader reader_;
  std::optional<Piece::Kind> open_;
  int64_t index_ = 0;  // of the block that is open, or comes next
  bool called_ = false;
  FinishInfo finish_;
};

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

std::unique_ptr<AnswerFormat> anthropic_format(AnthropicAnswer answer) {
  return std::make_unique<MessageAnswer>(std::move(answer));
}

HttpResponse anthropic_error(int status, const Error& error, const std::string& request_id) {
  HttpResponse response;
  response.status = status;
  if (status == 429 || status == 503) response.headers.emplace_back("retry-after", "1");
  response.headers.emplace_back("request-id", request_id);
  const Json inner = {{"type", error_type(status)}, {"message", error.message}};
  response.body = to_text(Json{{"type", "error"}, {"error", inner}, {"request_id", request_id}});
  return response;
}

}  // namespace kinglet::server

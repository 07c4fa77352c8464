// Any text as an answer, in every format: pieces in order, arguments of complete calls that are JSON objects, the same
// however the text is cut, and a text without a complete call comes back as it was.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/tool_call_readers.h"
#include "text/tool_calls.h"

namespace {

using kinglet::ToolCallPiece;
using Kind = ToolCallPiece::Kind;

const std::vector<kinglet::Tool> kTools{
    {"f", R"({"properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": ["string", "null"]}}})"}};

std::vector<ToolCallPiece> pieces_of(const kinglet::ToolCallFormat& format, std::string_view text, size_t step) {
  kinglet::ToolCallParser parser(format, kTools);
  std::vector<ToolCallPiece> all;
  auto add = [&](const std::vector<ToolCallPiece>& pieces) {
    for (const ToolCallPiece& piece : pieces) {
      const bool content = piece.kind == Kind::kText || piece.kind == Kind::kArguments;
      if (content && !all.empty() && all.back().kind == piece.kind && all.back().call == piece.call) {
        all.back().text += piece.text;
      } else {
        all.push_back(piece);
      }
    }
  };
  for (size_t at = 0; at < text.size(); at += step) add(parser.push(text.substr(at, step)));
  add(parser.finish());
  return all;
}

void check(const std::vector<ToolCallPiece>& pieces, std::string_view text) {
  std::string back, arguments;
  int64_t open = -1, next = 0;
  bool complete = false;
  for (const ToolCallPiece& piece : pieces) {
    if (piece.kind == Kind::kText || piece.kind == Kind::kBegin) KL_CHECK(open < 0, "inside a call");
    if (piece.kind == Kind::kText) back += piece.text;
    if (piece.kind == Kind::kBegin) {
      KL_CHECK(piece.call == next++ && kinglet::is_tool_name(piece.text), "a call's number or name");
      open = piece.call;
      arguments.clear();
    }
    if (piece.kind == Kind::kArguments) arguments += piece.text;
    if (piece.kind == Kind::kEnd) {
      const auto json = kinglet::as_json(arguments);
      KL_CHECK(json && json->starts_with('{'), "arguments are no JSON object");
      complete = true;
    }
    if (piece.kind == Kind::kEnd || piece.kind == Kind::kBroken) {
      KL_CHECK(piece.call == open, "the end of another call");
      open = -1;
    }
  }
  KL_CHECK(open < 0, "an unending call");
  KL_CHECK(complete || back == text, "a lost byte");
}

}  // namespace

// The first byte chooses the format, the second where the text is cut.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto& formats = kinglet::tool_call_formats();
  const kinglet::ToolCallFormat& format = formats[data[0] % formats.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = pieces_of(format, text, text.size() + 1);
  check(whole, text);
  KL_CHECK(pieces_of(format, text, 1 + data[1] % 32) == whole, "a cut changes what is found");
  return 0;
}

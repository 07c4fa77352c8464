// The question that Qwen3-Reranker answers with "yes" or "no", in the words of its model card, which it was trained on.
#pragma once

#include <string>
#include <string_view>

namespace kinglet {

inline constexpr std::string_view kJudgeBefore =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
inline constexpr std::string_view kJudgeBehind = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
inline constexpr std::string_view kJudgeInstruction =
    "Given a web search query, retrieve relevant passages that answer the query";

inline std::string judge_body(std::string_view instruction, std::string_view query, std::string_view document) {
  return "<Instruct>: " + std::string(instruction) + "\n<Query>: " + std::string(query) +
         "\n<Document>: " + std::string(document);
}

}  // namespace kinglet

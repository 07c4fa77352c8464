#include "convert/judge_head.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "text/judge_prompt.h"
#include "text/tokenizer.h"

namespace kinglet::convert {
namespace {

constexpr uint32_t kRankPooling = 4;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// The first of a file: a model card's title stands there.
std::string beginning_of(const std::filesystem::path& path) {
  std::string text(size_t{1} << 16, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

bool is_called_reranker(const Checkpoint& checkpoint, const std::string& name) {
  const std::filesystem::path folder(checkpoint.path);
  const auto stated = checkpoint.metadata.string_or("_name_or_path", "");
  for (const std::string& called : {name, stated.ok() ? *stated : std::string()})
    if (lower(called).find("qwen3-reranker") != std::string::npos) return true;
  return lower(beginning_of(folder / "README.md")).find("# qwen3-reranker") != std::string::npos;
}

TensorView row_of(const TensorView& matrix, int64_t row) {
  TensorView view = matrix;
  view.shape = {1, matrix.columns()};
  if (matrix.source != nullptr) {
    view.first_row += row;
  } else {
    const size_t bytes = row_bytes(matrix.dtype, static_cast<uint64_t>(matrix.columns()));
    view.data = matrix.data.subspan(static_cast<size_t>(row) * bytes, bytes);
  }
  return view;
}

}  // namespace

Result<std::optional<JudgeHead>> judge_head(const Checkpoint& checkpoint, const BoundModel& model,
                                            const std::string& name) {
  JudgeHead head;
  if (model.spec.family != "qwen3" || model.spec.labels > 1) return std::optional<JudgeHead>();
  if (model.spec.labels == 1) {
    const TensorView& label = *model.find(Slot::kClassifier)->tensor;
    head.yes = row_of(label, 0);
    head.no = {};
    head.no.name = label.name;
    head.no.shape = head.yes.shape;
    head.zeros.resize(row_bytes(DType::kF32, static_cast<uint64_t>(label.columns())));
    return std::optional(std::move(head));
  }
  if (!is_called_reranker(checkpoint, name)) return std::optional<JudgeHead>();
  KL_TRY(const auto tokenizer, Tokenizer::from_checkpoint(checkpoint));
  const auto yes = tokenizer->id_of("yes"), no = tokenizer->id_of("no");
  const BoundTensor* output = model.find(model.spec.tied_embeddings ? Slot::kEmbedding : Slot::kOutput);
  if (!yes || !no || output == nullptr || std::max(*yes, *no) >= output->tensor->rows())
    return Error{ErrorCode::kUnsupported,
                 checkpoint.path + ": called Qwen3-Reranker, but it has no output for the tokens \"yes\" and \"no\""};
  head.yes = row_of(*output->tensor, *yes);
  head.no = row_of(*output->tensor, *no);
  return std::optional(std::move(head));
}

void add_judge_keys(const std::string& architecture, GgufKeys& keys) {
  const std::array<std::string, 2> labels = {"yes", "no"};
  const std::array<std::string, 1> templates = {"rerank"};
  keys.set_u32(architecture + ".pooling_type", kRankPooling);
  keys.set_texts(architecture + ".classifier.output_labels", labels);
  keys.set_texts("tokenizer.chat_templates", templates);
  keys.set_text(
      "tokenizer.chat_template.rerank",
      std::string(kJudgeBefore) + judge_body(kJudgeInstruction, "{query}", "{document}") + std::string(kJudgeBehind));
}

}  // namespace kinglet::convert

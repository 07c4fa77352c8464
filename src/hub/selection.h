// Which files of a repository (or folder) make up one model: groups GGUF files by model and quantisation, joins the
// parts of split ones, and decides between several. Pure functions of file names. Internal to hub/.
//
// Where a repository holds several quantisations and none was asked for, the first of this list that exists is taken:
//   Q4_K_M Q4_K_S Q5_K_M Q5_K_S Q4_0 Q4_1 IQ4_XS IQ4_NL Q5_0 Q5_1 Q6_K Q8_0 MXFP4 Q4_K_L Q4_K_XL Q5_K_L Q6_K_L
//   Q3_K_L Q3_K_M Q3_K_S IQ3_M IQ3_S IQ3_XS IQ3_XXS Q2_K BF16 F16 F32, then any other GGUF file, then safetensors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kinglet::hub {

// "Q4_K_M" of "Model-7B.q4_k_m-00001-of-00002.gguf"; empty when the name tells none. Upper case.
std::string quantisation_of(std::string_view file_name);
bool is_quantisation(std::string_view text);  // any case

// "NAME-00002-of-00005.gguf" -> {"NAME", 2, 5}; nullopt for names that aren't parts. `suffix` is ".gguf",
// ".safetensors".
struct SplitName {
  std::string stem;
  int part = 0;
  int parts = 0;
};
std::optional<SplitName> parse_split_name(std::string_view path, std::string_view suffix);
std::string format_split_name(const SplitName& name, int part, std::string_view suffix);

// Files that make a model: `files` in the order of their parts.
struct ModelFiles {
  std::vector<std::string> files;
  std::string entry;  // the GGUF file to open; empty for a safetensors checkpoint
};

// The complete GGUF models among `paths`, each with its parts; incomplete splits, projectors and importance matrices
// are left out. Sorted by name.
std::vector<ModelFiles> gguf_models(const std::vector<std::string>& paths);

// Picks by `selector`: a file's path, a quantisation, "safetensors", or empty for the order above. kNotFound lists what
// there is; kInvalid when several models fit equally, and names them. `where` starts the messages ("org/repo").
Result<ModelFiles> select_model_files(const std::vector<std::string>& paths, const std::string& selector,
                                      const std::string& where);

}  // namespace kinglet::hub

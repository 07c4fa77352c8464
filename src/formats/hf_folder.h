// Reader of a Hugging Face folder: config.json, *.safetensors, tokenizer files. Internal to formats/.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "formats/checkpoint.h"

namespace kinglet {

Result<std::shared_ptr<const Checkpoint>> open_hf_folder(const std::string& path, const OpenOptions& options);

}  // namespace kinglet

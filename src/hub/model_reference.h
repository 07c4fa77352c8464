// What a user writes where a command takes MODEL, and what it stands for. Resolution looks, in this order, at
//
//   1. `hf:org/repo[:file or quant][@revision]`    always the hub
//   2. a text that looks like a path (starts with / ./ ../ ~/, or ends in .gguf) and one with a '/' that exists on disk
//   3. a name in the store (`kinglet list`)
//   4. a short name: package models ("smollm2") and short_names.h ("qwen3:0.6b"), the latter with `@revision`
//   5. an existing file or folder of that name
//   6. a bare `org/repo[:file or quant][@revision]`  the hub
//
// A path is a GGUF file (the first part of a split one), or a folder with one GGUF model or with config.json and
// safetensors. Fetching is pull.h's, reading formats/'.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/short_names.h"
#include "hub/store.h"

namespace kinglet {

struct HubSource {
  std::string repo;      // "org/name", checked
  std::string selector;  // a quantisation ("Q4_K_M"), a file's path in the repository, "safetensors", or empty
  std::string revision;  // branch, tag or commit; "main" when none was given
};

struct ModelReference {
  enum class Kind {
    kPath,     // `path` exists
    kStored,   // in the store: `path`, `stored`
    kHub,      // to be pulled from `hub`
    kPackage,  // to be pulled from `package`
  };
  Kind kind = Kind::kPath;
  std::string name;                       // canonical: the store's name; for kPath the path itself
  std::string path;                       // kPath, kStored: the GGUF file or folder to open
  StoredModel stored;                     // kStored
  HubSource hub;                          // kHub
  const PackageModel* package = nullptr;  // kPackage
};

// Resolves as above; touches the disk, never the network. kNotFound names near matches; kInvalid says what is
// malformed; a broken store entry of the name is an error that says how to repair it.
Result<ModelReference> resolve_model(std::string_view text, const Store& store);

// The remote meaning alone (1, 4, 6), for `pull`: kHub or kPackage.
Result<ModelReference> parse_remote_reference(std::string_view text);

// What to open for an existing path: the GGUF file itself, the one GGUF model of a folder, or the folder of a
// safetensors checkpoint. Refuses a later part of a split, a split with missing parts, a folder with several models
// (names them).
Result<std::string> resolve_model_path(std::string_view path);

// Names among `candidates` that `text` may have meant, best first, at most three.
std::vector<std::string> near_matches(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace kinglet

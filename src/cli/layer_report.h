// What the layers of a model compute, in words: equal layers together.
#pragma once

#include <string>
#include <vector>

#include "families/model_spec.h"

namespace kinglet::cli {

struct LayerGroup {
  std::string layers;  // "0-2, 5"
  std::string what;    // "latent attention, 128 heads of 192, …"
};
std::vector<LayerGroup> layer_groups(const ModelSpec& spec);

}  // namespace kinglet::cli

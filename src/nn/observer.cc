#include "nn/observer.h"

#include <utility>

#include "nn/state.h"

namespace kinglet {
namespace {

thread_local ProductObserver* observer = nullptr;

}  // namespace

ObserveProducts::ObserveProducts(ProductObserver& wanted) : before_(std::exchange(observer, &wanted)) {}
ObserveProducts::~ObserveProducts() {
  observer = before_;
}
ProductObserver* observer_of_this_thread() {
  return observer;
}

MatrixPlaces places_of(const ModelWeights& weights) {
  MatrixPlaces places;
  for (size_t layer = 0; layer < weights.layers.size(); layer++)
    for (size_t s = 0; s < kSlotCount; s++) {
      const auto slot = static_cast<Slot>(s);
      if (!weights.layers[layer].has_matrices(slot)) continue;
      const auto& stack = weights.layers[layer].stack(slot);
      for (size_t part = 0; part < stack.size(); part++)
        places[&stack[part]] = {slot, static_cast<int>(layer), static_cast<int64_t>(part), std::ssize(stack)};
    }
  return places;
}

}  // namespace kinglet

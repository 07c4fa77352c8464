// Watching what a model's products read: for measuring how much the columns of its matrices matter. A model without an
// observer pays one comparison a product.
#pragma once

#include <cstdint>

#include "families/slots.h"

namespace kinglet {

// Which matrix: of an expert or a head, where the slot's weights are a stack of `parts`.
struct MatrixPlace {
  Slot slot = Slot::kCount;
  int layer = 0;
  int64_t part = 0, parts = 1;
};

class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  // `rows` inputs of `columns` floats, ldx floats apart, that meet the matrix. Calls come in the order of the
  // pass. Products of the output head are not shown.
  virtual void on_product(const MatrixPlace& place, const float* x, int64_t ldx, int64_t rows, int64_t columns) = 0;
};

// While it lives, the forward passes that this thread runs are shown to `observer`.
class ObserveProducts {
 public:
  explicit ObserveProducts(ProductObserver& observer);
  ~ObserveProducts();
  ObserveProducts(const ObserveProducts&) = delete;
  ObserveProducts& operator=(const ObserveProducts&) = delete;

 private:
  ProductObserver* before_;
};
ProductObserver* observer_of_this_thread();  // nullptr: none

}  // namespace kinglet

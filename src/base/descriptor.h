// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

namespace kinglet {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}  // as open(2) gave it: negative where there is none
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace kinglet

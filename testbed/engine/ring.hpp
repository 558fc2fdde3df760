// A growable FIFO ring: no allocation in steady state.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace tb {

/// FIFO of trivially copyable items over a power-of-two buffer that doubles when it is full.
template <typename T>
class Ring {
 public:
  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] std::size_t size() const { return tail_ - head_; }
  [[nodiscard]] T& front() { return items_[head_ & mask_]; }
  /// The item `offset` places behind the front.
  [[nodiscard]] T& at(std::size_t offset) { return items_[(head_ + offset) & mask_]; }
  [[nodiscard]] T& back() { return items_[(tail_ - 1) & mask_]; }
  /// Inlined everywhere: the compiler's own choice changes with the code around it, and costs 2 % of a run.
  [[gnu::always_inline]] void push(const T& item) {
    if (size() == items_.size()) grow();
    items_[tail_++ & mask_] = item;
  }
  /// Push an item ahead of those at the end that are `later`; returns whether it is the front now.
  template <typename Later>
  bool insert(const T& item, const Later& later) {
    push(item);
    std::size_t place = tail_ - 1;
    for (; place != head_ && later(items_[(place - 1) & mask_]); --place) {
      items_[place & mask_] = items_[(place - 1) & mask_];
      items_[(place - 1) & mask_] = item;
    }
    return place == head_;
  }
  T pop() { return items_[head_++ & mask_]; }
  void clear() { head_ = tail_; }

 private:
  void grow() {
    std::vector<T> larger(items_.empty() ? 8 : items_.size() * 2);
    const std::size_t count = size();
    for (std::size_t i = 0; i < count; ++i) larger[i] = at(i);
    items_ = std::move(larger);
    mask_ = items_.size() - 1;
    head_ = 0;
    tail_ = count;
  }
  std::vector<T> items_;
  std::size_t mask_ = 0;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

}  // namespace tb

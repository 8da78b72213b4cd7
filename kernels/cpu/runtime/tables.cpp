#include "runtime/tables.hpp"

namespace guard {

LexemeMasks& Tables::masks(const std::shared_ptr<const Vocabulary>& vocabulary) {
  return *remember(masks_, vocabulary->id(),
                   [&] { return std::make_unique<LexemeMasks>(vocabulary, part_); });
}

std::vector<std::unique_ptr<LexemeMasks>> Tables::abandoned() {
  std::vector<std::unique_ptr<LexemeMasks>> out;
  for (auto& [_, masks] : masks_)
    if (masks->is_abandoned()) out.push_back(std::move(masks));
  std::erase_if(masks_, [](const auto& entry) { return !entry.second; });
  return out;
}

std::size_t Tables::nbytes() const {
  std::size_t n = 0;
  for (const auto& [_, masks] : masks_) n += masks->nbytes();
  return n;
}

}  // namespace guard

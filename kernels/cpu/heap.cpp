// The module's own memory for small objects: its operators new and delete, which nothing outside of it sees (module.map).
//
// A mask that comes for the first time makes some hundred small objects. A heap that the whole process shares hands them out of gaps all over it
// and writes beside each, and in a child of a fork each page that is written is first copied. Here objects of one size lie side by side in pages of
// that size alone, nothing but the object itself is written, and a child begins with pages of its own. Each thread has its lists of free blocks; those
// of a thread that ended go to the next that begins. Blocks go back to the list of the thread that gives them up, and pages never to the system: at
// most kRegion bytes are held so, and what is larger than kMost, or comes later, is malloc's.
#include "heap.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kMost = 1024, kGrain = 16, kPage = std::size_t{1} << 14, kRegion = std::size_t{1} << 28;

struct Block {
  Block* next;
};
struct Size {
  Block* free = nullptr;
  char *fresh = nullptr, *end = nullptr;  // the rest of a page
};
struct Heap {
  Size sizes[kMost / kGrain + 1];     // in grains
  std::atomic<std::int64_t> held{0};  // bytes given out, less those taken back; only its thread writes
  Heap* next = nullptr;               // among those that no thread has
  Heap* other = nullptr;              // among all
  void count(std::int64_t bytes) { held.store(held.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed); }
};

std::atomic<char*> region{nullptr};
std::atomic<std::size_t> pages{0};
std::uint8_t grains_of[kRegion / kPage];  // by page
std::atomic<Heap*> idle{nullptr}, all{nullptr};
thread_local Heap* heap = nullptr;

void put_by(Heap* from) {
  for (from->next = idle.load(); !idle.compare_exchange_weak(from->next, from);) {
  }
}
// All are taken at once, so that none can be given back in between.
Heap* take() {
  Heap* found = idle.exchange(nullptr);
  if (!found) return nullptr;
  for (Heap* rest = found->next; rest;) {
    Heap* next = rest->next;
    put_by(rest);
    rest = next;
  }
  return found;
}

struct Lease {
  ~Lease() {
    if (heap) put_by(heap);
    heap = nullptr;
  }
};

Heap* begin() {
  static const bool is_first = [] {
    void* at = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) region = static_cast<char*>(at);
    pthread_atfork(nullptr, nullptr, [] {  // what was free lies in pages that are shared with the parent
      if (heap)
        for (Size& size : heap->sizes) size = {};
    });
    return true;
  }();
  static thread_local Lease lease;
  (void)is_first, (void)lease;
  Heap* own = take();
  if (!own) {
    void* room = std::malloc(sizeof(Heap));
    if (!room) throw std::bad_alloc();
    own = new (room) Heap;
    for (own->other = all.load(); !all.compare_exchange_weak(own->other, own);) {
    }
  }
  return heap = own;
}

[[gnu::noinline]] void* from_a_new_page(std::size_t grains) {
  Heap& own = heap ? *heap : *begin();
  char* const first = region.load(std::memory_order_relaxed);
  if (!first || pages.load(std::memory_order_relaxed) >= kRegion / kPage) return nullptr;
  const std::size_t page = pages.fetch_add(1, std::memory_order_relaxed);
  if (page >= kRegion / kPage) return nullptr;
  grains_of[page] = static_cast<std::uint8_t>(grains);
  char* const out = first + page * kPage;
  own.count(static_cast<std::int64_t>(grains * kGrain));
  own.sizes[grains].fresh = out + grains * kGrain;
  own.sizes[grains].end = out + kPage;
  return out;
}

void* allocate(std::size_t bytes) {
  if (bytes <= kMost) {
    const std::size_t grains = bytes ? (bytes + kGrain - 1) / kGrain : 1;
    if (heap) {
      Size& size = heap->sizes[grains];
      if (Block* found = size.free) {
        heap->count(static_cast<std::int64_t>(grains * kGrain));
        size.free = found->next;
        return found;
      }
      if (static_cast<std::size_t>(size.end - size.fresh) >= grains * kGrain) {
        heap->count(static_cast<std::int64_t>(grains * kGrain));
        void* out = size.fresh;
        size.fresh += grains * kGrain;
        return out;
      }
    }
    if (void* out = from_a_new_page(grains)) return out;
  }
  if (void* out = std::malloc(bytes ? bytes : 1)) return out;
  throw std::bad_alloc();
}

void release(void* block) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(region.load(std::memory_order_relaxed));
  const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(block) - first;
  if (!first || offset >= kRegion) return std::free(block);
  Heap& own = heap ? *heap : *begin();
  const std::size_t grains = grains_of[offset / kPage];
  own.count(-static_cast<std::int64_t>(grains * kGrain));
  Size& size = own.sizes[grains];
  Block* freed = static_cast<Block*>(block);
  freed->next = size.free;
  size.free = freed;
}

}  // namespace

std::int64_t guard::small_bytes() {
  std::int64_t out = 0;
  for (const Heap* h = all.load(); h; h = h->other) out += h->held.load(std::memory_order_relaxed);
  return out;
}

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }

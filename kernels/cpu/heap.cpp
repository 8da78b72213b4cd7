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

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
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

[[gnu::noinline]] Heap& begin() {
  static std::once_flag once;
  std::call_once(once, [] {
    void* at = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) region = static_cast<char*>(at);
    pthread_atfork(nullptr, nullptr, [] {  // what was free lies in pages that are shared with the parent
      if (heap)
        for (Size& size : heap->sizes) size = {};
    });
  });
  static thread_local Lease lease;  // its end is the thread's
  (void)lease;
  Heap* own = take();
  if (!own) {
    void* room = std::malloc(sizeof(Heap));
    if (!room) throw std::bad_alloc();
    own = new (room) Heap;
    for (own->other = all.load(); !all.compare_exchange_weak(own->other, own);) {
    }
  }
  return *(heap = own);
}

Heap& mine() { return heap ? *heap : begin(); }

[[gnu::noinline]] bool has_new_page(Size* size, std::size_t grains) {
  char* const first = region.load(std::memory_order_relaxed);
  if (!first || pages.load(std::memory_order_relaxed) >= kRegion / kPage) return false;
  const std::size_t page = pages.fetch_add(1, std::memory_order_relaxed);
  if (page >= kRegion / kPage) return false;
  grains_of[page] = static_cast<std::uint8_t>(grains);
  size->fresh = first + page * kPage;
  size->end = size->fresh + kPage;
  return true;
}

void* small(std::size_t grains) {  // null: the region is full
  Heap& own = mine();
  Size& size = own.sizes[grains];
  const std::size_t bytes = grains * kGrain;
  void* out = size.free;
  if (out) {
    size.free = size.free->next;
  } else {
    if (static_cast<std::size_t>(size.end - size.fresh) < bytes && !has_new_page(&size, grains)) return nullptr;
    out = size.fresh;
    size.fresh += bytes;
  }
  own.count(static_cast<std::int64_t>(bytes));
  return out;
}

void* allocate(std::size_t bytes) {
  bytes = std::max(bytes, kGrain);
  if (bytes <= kMost)
    if (void* out = small((bytes + kGrain - 1) / kGrain)) return out;
  if (void* out = std::malloc(bytes)) return out;
  throw std::bad_alloc();
}

void release(void* block) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(region.load(std::memory_order_relaxed));
  const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(block) - first;
  if (!first || offset >= kRegion) return std::free(block);
  Heap& own = mine();
  const std::size_t grains = grains_of[offset / kPage];
  Size& size = own.sizes[grains];
  size.free = new (block) Block{size.free};
  own.count(-static_cast<std::int64_t>(grains * kGrain));
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

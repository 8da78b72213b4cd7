// The module's own operators new and delete, which are not visible outside it (python/module.map).
// They count all memory that they hand out.
//
// A new mask allocates some hundred small objects. The heap that the whole process shares would
// take them from gaps all over it and write a header beside each; in a child of a fork, each page
// that is written must first be copied. Here, objects of one size lie side by side in pages of that
// size, only the object itself is written, and a child starts with new pages. Each thread has its
// own lists of free blocks; when it ends, the next thread to start takes them over. A block goes
// back to the list of the thread that frees it. When that list has many more blocks of a size than
// the thread uses, a batch goes to a pool of that size, from which all threads take blocks before
// they start a new page. Pages are never returned to the system; they hold at most kRegion bytes.
// The system provides memory for a page when it is first written, which takes a microsecond for
// each 4 kB. A compile has it provided for many pages at once, so that the masks after it don't
// wait.
// Objects larger than kMost, and all objects once the region is full, come from malloc. Without
// GUARD_HEAP (sanitizers, other systems), everything comes from malloc.
#include "support/allocator.hpp"

#ifdef GUARD_HEAP
#include <pthread.h>
#include <sys/mman.h>
#endif
#if defined(__APPLE__)
#include <malloc/malloc.h>
#else
#include <malloc.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace {

constexpr std::size_t kGrain = 16;

struct Block {
  Block* next;
};

#ifdef GUARD_HEAP
constexpr std::size_t kMost = 1024, kPage = std::size_t{1} << 14, kRegion = std::size_t{1} << 28,
                      kSizes = kMost / kGrain + 1;
constexpr std::size_t kBatch = std::size_t{1}
                               << 16;  // bytes that go to a pool, or come from one, at once

struct Size {
  Block* free = nullptr;
  std::size_t count = 0;                  // free blocks
  char *fresh = nullptr, *end = nullptr;  // the rest of a page
};
#endif

struct Heap {
#ifdef GUARD_HEAP
  Size sizes[kSizes];  // by grains
#endif
  std::atomic<std::int64_t> held{
      0};  // bytes given out, less those taken back; written only by the heap's thread
  Heap* next = nullptr;   // in the list `idle`, of heaps without a thread
  Heap* other = nullptr;  // in the list `all`
  void count(std::int64_t bytes) {
    held.store(held.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }
};

std::atomic<Heap*> idle{nullptr}, all{nullptr};
constinit thread_local Heap* heap GUARD_TLS = nullptr;
constinit thread_local std::int64_t failing GUARD_TLS = 0;  // allocations until one fails; 0: none
constinit thread_local bool failed GUARD_TLS = false;

void put_by(Heap* from) {
  for (from->next = idle.load(); !idle.compare_exchange_weak(from->next, from);) {}
}
// Takes the whole list at once, so that no heap can be given back in between (the ABA problem).
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
    guard::held_here = nullptr;
  }
};

#ifdef GUARD_HEAP
std::atomic<char*> region{nullptr};
std::atomic<std::size_t> pages{0};        // those in use
std::atomic<std::size_t> ready{0};        // those for which the system has provided memory
std::uint8_t grains_of[kRegion / kPage];  // by page

// Free blocks of one size that belong to no thread, in batches: the first block of a batch links to
// the others, and `batches_` has the first blocks.
class Pool {
 public:
  void put(Block* first) {
    const Hold hold(busy_);
    if (used_ < kMostBatches)
      batches_[used_++] = first;  // a batch that does not fit is never used again
  }
  Block* take() {
    if (used_ == 0) return nullptr;
    const Hold hold(busy_);
    return used_ == 0 ? nullptr : batches_[--used_];
  }
  void forget() {
    used_ = 0, busy_.clear();
  }  // in a child of a fork: the free blocks lie in pages that are shared with the parent

 private:
  static constexpr std::size_t kMostBatches = kRegion / kBatch;
  struct Hold {
    explicit Hold(std::atomic_flag& flag) : flag_(flag) {
      while (flag_.test_and_set(std::memory_order_acquire)) {}
    }
    ~Hold() { flag_.clear(std::memory_order_release); }
    std::atomic_flag& flag_;
  };
  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::atomic<std::size_t> used_{0};
  Block* batches_[kMostBatches];
};
Pool pools[kSizes];

std::size_t batch_of(std::size_t grains) {
  return std::max<std::size_t>(kBatch / (grains * kGrain), 1);
}

void set_up() {
  void* at = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at != MAP_FAILED) region = static_cast<char*>(at);
  pthread_atfork(nullptr, nullptr,
                 [] {  // the free blocks lie in pages that are shared with the parent
                   if (heap)
                     for (Size& size : heap->sizes) size = {};
                   for (Pool& pool : pools) pool.forget();
                   pages = std::max(pages.load(), ready.load());
                 });
}
#else
void set_up() {}
#endif

[[gnu::noinline]] Heap& begin() {
  static std::once_flag once;
  std::call_once(once, set_up);
  static thread_local Lease lease;  // is destroyed when the thread ends
  (void)lease;
  Heap* own = take();
  if (!own) {
    void* room = std::malloc(sizeof(Heap));
    if (!room) throw std::bad_alloc();
    own = new (room) Heap;
    for (own->other = all.load(); !all.compare_exchange_weak(own->other, own);) {}
  }
  guard::held_here = &own->held;
  return *(heap = own);
}

Heap& mine() { return heap ? *heap : begin(); }

#ifdef GUARD_HEAP
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

// Where a block lies in the region; kRegion: it came from malloc.
std::uintptr_t offset_of(void* block) {
  const auto first = reinterpret_cast<std::uintptr_t>(region.load(std::memory_order_relaxed));
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(block);
  return first && at - first < kRegion ? at - first : kRegion;
}

[[gnu::noinline]] void* fresh(std::size_t grains) {  // null: the region is full
  Heap& own = mine();
  Size& size = own.sizes[grains];
  const std::size_t bytes = grains * kGrain;
  if (!size.free && static_cast<std::size_t>(size.end - size.fresh) < bytes) {
    if ((size.free = pools[grains].take()))
      size.count = batch_of(grains);
    else if (!has_new_page(&size, grains))
      return nullptr;
  }
  void* out = size.free;
  if (out) {
    size.free = size.free->next;
    --size.count;
  } else {
    out = size.fresh;
    size.fresh += bytes;
  }
  own.count(static_cast<std::int64_t>(bytes));
  return out;
}

[[gnu::noinline]] void give_to_pool(Size& size, std::size_t grains) {
  const std::size_t batch = batch_of(grains);
  Block *const given = size.free, *last = given;
  for (std::size_t i = 1; i < batch; ++i) last = last->next;
  size.free = last->next;
  last->next = nullptr;
  size.count -= batch;
  pools[grains].put(given);
}
#endif

std::int64_t size_of(void* block) {
#if defined(__APPLE__)
  return static_cast<std::int64_t>(malloc_size(block));
#elif defined(_WIN32)
  return static_cast<std::int64_t>(_msize(block));
#else
  return static_cast<std::int64_t>(malloc_usable_size(block));
#endif
}

void count_down() {
  if (!guard::allocations_may_fail || --failing > 0) return;
  failed = true;
  throw std::bad_alloc();
}

[[gnu::noinline]] void* allocate_slowly(std::size_t bytes) {
#ifdef GUARD_HEAP
  if (bytes <= kMost)
    if (void* out = fresh((bytes + kGrain - 1) / kGrain)) return out;
#endif
  void* out = std::malloc(bytes);
  if (!out) throw std::bad_alloc();
  mine().count(size_of(out));
  return out;
}

void* allocate(std::size_t bytes) {
  if (failing > 0) [[unlikely]]
    count_down();
  bytes = std::max(bytes, kGrain);
#ifdef GUARD_HEAP
  if (Heap* const own = heap; own && bytes <= kMost) [[likely]] {
    const std::size_t grains = (bytes + kGrain - 1) / kGrain;
    Size& size = own->sizes[grains];
    if (Block* const out = size.free) [[likely]] {
      size.free = out->next;
      --size.count;
      own->count(static_cast<std::int64_t>(grains * kGrain));
      return out;
    }
  }
#endif
  return allocate_slowly(bytes);
}

#ifdef GUARD_HEAP
void give_back(Heap& own, void* block, std::uintptr_t offset) {
  const std::size_t grains = grains_of[offset / kPage];
  Size& size = own.sizes[grains];
  size.free = new (block) Block{size.free};
  own.count(-static_cast<std::int64_t>(grains * kGrain));
  if (++size.count * grains * kGrain >= 3 * kBatch) [[unlikely]]
    give_to_pool(size, grains);
}
#endif

[[gnu::noinline]] void release_slowly(void* block) noexcept {
#ifdef GUARD_HEAP
  if (const std::uintptr_t offset = offset_of(block); offset < kRegion)
    return give_back(mine(), block, offset);
#endif
  mine().count(-size_of(block));
  std::free(block);
}

void release(void* block) noexcept {
  if (!block) return;
#ifdef GUARD_HEAP
  if (const std::uintptr_t offset = offset_of(block); heap && offset < kRegion) [[likely]]
    return give_back(*heap, block, offset);
#endif
  release_slowly(block);
}

}  // namespace

void guard::prepare_heap() {
#if defined(GUARD_HEAP) && defined(MADV_POPULATE_WRITE)
  constexpr std::size_t kReady = 32, kLast = kRegion / kPage;
  mine();
  char* const first = region.load(std::memory_order_relaxed);
  const std::size_t used = pages.load(std::memory_order_relaxed);
  const std::size_t from = std::max(used, ready.load(std::memory_order_relaxed));
  const std::size_t to = std::min(used + 2 * kReady, kLast);
  if (!first || from >= std::min(used + kReady, kLast)) return;
  ready = to;  // another thread may do the same pages, which does no harm
  madvise(first + from * kPage, (to - from) * kPage,
          MADV_POPULATE_WRITE);  // before Linux 5.14 nothing
#endif
}

std::int64_t guard::total_held() {
  std::int64_t out = 0;
  for (const Heap* h = all.load(); h; h = h->other) out += h->held.load(std::memory_order_relaxed);
  return out;
}

bool guard::fail_allocation_at(std::int64_t n) {
  const bool came = failed;
  failing = n, failed = false;
  return came;
}

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
// The standard library allocates temporary buffers with these. Were they not replaced too, this
// heap might get blocks back that another heap allocated.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept try {
  return allocate(bytes);
} catch (const std::bad_alloc&) {
  return nullptr;
}
void* operator new[](std::size_t bytes, const std::nothrow_t& none) noexcept {
  return operator new(bytes, none);
}
void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete[](void* block, std::size_t) noexcept { release(block); }

#define _GNU_SOURCE
#include "hb_heap.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* What glibc's malloc and its kin are behind their names, which are ours here. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

#define ALIGNMENT 16 /* of malloc */
#define SMALLEST 5   /* a block is of 2^5 bytes at least */
#define CLASSES 16   /* up to 2^20 */

typedef struct block {
    struct block *next; /* freed block of the same size */
} block;

typedef struct { /* lies before what a caller is given */
    block *start;
    uint32_t class;
    uint32_t size;
} header;

static union {
    unsigned char bytes[HB_HEAP_BYTES];
    long double aligned;
} arena;
static block *freed[CLASSES];
static hb_heap_report report;
static __thread int inside;

void hb_heap_enter(void) { inside = 1; }

void hb_heap_leave(void) { inside = 0; }

hb_heap_report hb_heap_counts(void) { return report; }

static int is_ours(const void *memory) { return (uintptr_t)memory - (uintptr_t)arena.bytes < sizeof arena.bytes; }

static header *header_of(void *memory) { return (header *)memory - 1; }

static size_t size_of(uint32_t class) { return (size_t)1 << (class + SMALLEST); }

static block *reuse(uint32_t class) {
    block *const start = freed[class];
    freed[class] = start->next;
    return start;
}

static block *cut(uint32_t class) {
    block *const start = (block *)(void *)(arena.bytes + report.used);
    if (size_of(class) > sizeof arena.bytes - report.used) return NULL;
    report.used += size_of(class);
    return start;
}

/* From the arena, or NULL if it is not for it. */
static void *take(size_t alignment, size_t size) {
    if (!inside) return NULL;
    if (alignment < ALIGNMENT) alignment = ALIGNMENT;
    uint32_t class = 0;
    while (class < CLASSES && size_of(class) < sizeof(header) + (alignment - ALIGNMENT) + size) class++;
    block *start = NULL;
    if (size <= sizeof arena.bytes && class < CLASSES) start = freed[class] ? reuse(class) : cut(class);
    if (!start) {
        report.beyond++;
        return NULL;
    }
    report.served++;
    const uintptr_t at = ((uintptr_t)start + sizeof(header) + alignment - 1) & ~(uintptr_t)(alignment - 1);
    void *const memory = (void *)at;
    *header_of(memory) = (header){start, class, (uint32_t)size};
    return memory;
}

static void give_back(void *memory) {
    const header old = *header_of(memory);
    old.start->next = freed[old.class];
    freed[old.class] = old.start;
}

void *malloc(size_t size) {
    void *const memory = take(ALIGNMENT, size);
    return memory ? memory : __libc_malloc(size);
}

void free(void *memory) {
    if (is_ours(memory)) give_back(memory);
    else __libc_free(memory);
}

void *calloc(size_t count, size_t size) {
    void *const memory = size && count > SIZE_MAX / size ? NULL : take(ALIGNMENT, count * size);
    return memory ? memset(memory, 0, count * size) : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    if (!memory) return malloc(size);
    if (!is_ours(memory)) return __libc_realloc(memory, size);
    void *const moved = malloc(size);
    if (!moved) return NULL;
    const size_t old = header_of(memory)->size;
    memcpy(moved, memory, old < size ? old : size);
    give_back(memory);
    return moved;
}

void *memalign(size_t alignment, size_t size) {
    void *const memory = take(alignment, size);
    return memory ? memory : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *const memory = memalign(alignment, size);
    if (memory) *out = memory;
    return memory ? 0 : ENOMEM;
}

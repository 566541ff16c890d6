/* hb_heap: blocks of the arena are apart, aligned, used again, moved whole; what it has no room for comes from elsewhere. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hb_heap.h"

#define CHECK(condition)                                                  \
    do {                                                                  \
        if (!(condition)) {                                               \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);        \
            return 1;                                                     \
        }                                                                 \
    } while (0)

#define PIECES 500

extern int posix_memalign(void **out, size_t alignment, size_t size);

static uint32_t random_state = 1;

static size_t draw(size_t below) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static int holds(const unsigned char *memory, size_t size, int value) {
    for (size_t i = 0; i < size; i++)
        if (memory[i] != value) return 0;
    return 1;
}

/* Pieces of all sizes come and go: none ever writes into another. */
static int pieces_lie_apart(void) {
    static unsigned char *piece[PIECES];
    static size_t size[PIECES];
    for (int round = 0; round < 20000; round++) {
        const size_t i = draw(PIECES), alignment = (size_t)16 << draw(4);
        const int value = (int)i & 0xff;
        if (piece[i]) {
            CHECK(holds(piece[i], size[i], value));
            free(piece[i]);
            piece[i] = NULL;
            continue;
        }
        size[i] = draw(2000);
        void *memory = NULL;
        if (round % 3 == 0) CHECK(!posix_memalign(&memory, alignment, size[i]) && (uintptr_t)memory % alignment == 0);
        else memory = round % 3 == 1 ? malloc(size[i]) : calloc(size[i], 1);
        CHECK(memory && (uintptr_t)memory % 16 == 0);
        if (round % 3 == 2) CHECK(holds(memory, size[i], 0));
        piece[i] = memset(memory, value, size[i]);
    }
    for (size_t i = 0; i < PIECES; i++) free(piece[i]);
    return 0;
}

int main(void) {
    unsigned char *const outside = malloc(100);
    CHECK(outside && hb_heap_counts().served == 0); /* before the stream: the C library's */
    memset(outside, 7, 100);
    hb_heap_enter();
    if (pieces_lie_apart()) return 1;
    const hb_heap_report before = hb_heap_counts();
    CHECK(before.served > 1000 && before.beyond == 0 && before.used <= HB_HEAP_BYTES);
    for (int i = 0; i < 1000; i++) free(malloc(64));
    CHECK(hb_heap_counts().served == before.served + 1000 && hb_heap_counts().used == before.used);
    unsigned char *grown = realloc(outside, 200); /* of the C library: stays there */
    CHECK(grown && holds(grown, 100, 7) && hb_heap_counts().served == before.served + 1000);
    unsigned char *moved = realloc(NULL, 10);
    CHECK(moved);
    memset(moved, 9, 10);
    moved = realloc(moved, 5000);
    CHECK(moved && holds(moved, 10, 9) && hb_heap_counts().served == before.served + 1002);
    void *const large = malloc(2 * HB_HEAP_BYTES);
    CHECK(large && hb_heap_counts().beyond == 1);
    memset(large, 1, 2 * HB_HEAP_BYTES);
    hb_heap_leave();
    free(large);
    free(moved); /* after the stream, too */
    free(grown);
    return 0;
}

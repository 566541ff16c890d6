#include "hb_ring.h"

#include <string.h>

/* The index is published after the bytes are there, and the bytes are read after the index: release and acquire.
 * On a Cortex-M these are plain loads and stores with a barrier. */
static size_t load(const size_t *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }
static void store(size_t *index, size_t value) { __atomic_store_n(index, value, __ATOMIC_RELEASE); }

bool hb_ring_init(hb_ring *ring, uint8_t *memory, size_t capacity) {
    if (capacity == 0 || (capacity & (capacity - 1)) != 0) {
        return false;
    }
    *ring = (hb_ring){memory, capacity, 0, 0};
    return true;
}

size_t hb_ring_used(const hb_ring *ring) { return load(&ring->written) - load(&ring->read); }

bool hb_ring_write(hb_ring *ring, const uint8_t *bytes, size_t length) {
    size_t written = ring->written;
    if (length > ring->capacity - (written - load(&ring->read))) {
        return false;
    }
    size_t at = written & (ring->capacity - 1);
    size_t first = length < ring->capacity - at ? length : ring->capacity - at;
    if (length > 0) {
        memcpy(ring->memory + at, bytes, first);
        memcpy(ring->memory, bytes + first, length - first);
    }
    store(&ring->written, written + length);
    return true;
}

size_t hb_ring_read(hb_ring *ring, uint8_t *bytes, size_t length) {
    size_t read = ring->read;
    size_t waiting = load(&ring->written) - read;
    if (length > waiting) {
        length = waiting;
    }
    size_t at = read & (ring->capacity - 1);
    size_t first = length < ring->capacity - at ? length : ring->capacity - at;
    if (length > 0) {
        memcpy(bytes, ring->memory + at, first);
        memcpy(bytes + first, ring->memory, length - first);
    }
    store(&ring->read, read + length);
    return length;
}

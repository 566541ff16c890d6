/* A ring of bytes between one writer and one reader, such as an interrupt and the main loop: no lock is needed. */
#ifndef HB_RING_H
#define HB_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *memory;
    size_t capacity;
    size_t written, read; /* bytes since the start; they wrap */
} hb_ring;

/* The caller's `memory` of `capacity` bytes becomes an empty ring.
 * Returns false and leaves `ring` as it was unless `capacity` is a power of two. */
bool hb_ring_init(hb_ring *ring, uint8_t *memory, size_t capacity);

/* Bytes that wait to be read. */
size_t hb_ring_used(const hb_ring *ring);

/* Appends all of `bytes`. Returns false and leaves the ring as it was if they do not fit. */
bool hb_ring_write(hb_ring *ring, const uint8_t *bytes, size_t length);

/* Takes up to `length` of the oldest bytes; returns how many. */
size_t hb_ring_read(hb_ring *ring, uint8_t *bytes, size_t length);

#endif

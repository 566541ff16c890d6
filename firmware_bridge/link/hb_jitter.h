/* Puts chunks into order and fills what is missing: from copies, else by concealment (PROTOCOL.md, "Losses"). */
#ifndef HB_JITTER_H
#define HB_JITTER_H

#include "hb_message.h"

enum { HB_MISSING, HB_COPIED, HB_SENT };

typedef struct {
    uint8_t kind; /* HB_MISSING: empty */
    int16_t samples[HB_CHUNK_VALUES];
} hb_slot;

typedef struct {
    hb_slot *slots;
    uint32_t count;                /* chunks that it can hold */
    uint32_t next;                 /* clock of the chunk that is taken next */
    int16_t last[HB_CHUNK_VALUES]; /* that was taken, to conceal from */
    bool gap;                      /* it was concealed */
    uint32_t copied, concealed;    /* chunks taken */
} hb_jitter;

/* The caller's `slots` become an empty buffer whose first chunk has the clock `next`.
 * Returns false and leaves `jitter` as it was unless `count` is a power of two and `next` a multiple of a chunk. */
bool hb_jitter_init(hb_jitter *jitter, hb_slot *slots, uint32_t count, uint32_t next);

/* Keeps a chunk or a copy if it is among the next `count` chunks and nothing better is there. */
void hb_jitter_put(hb_jitter *jitter, const hb_audio *audio);
void hb_jitter_put_copy(hb_jitter *jitter, const hb_copy *copy);

/* Takes the next chunk; says whether it was sent, copied or is missing (and concealed). */
uint8_t hb_jitter_take(hb_jitter *jitter, int16_t samples[HB_CHUNK_VALUES]);

/* Passes sound from elsewhere through as if it had been taken, without a click; `next` moves on. */
void hb_jitter_pass(hb_jitter *jitter, int16_t samples[HB_CHUNK_VALUES]);

#endif

/* The device's side of the link, driven by the sound: call `hb_device_chunk` for every 128 samples of the microphones,
 * `hb_device_receive` for what comes from the host, both from one thread. No timer and no heap. */
#ifndef HB_DEVICE_H
#define HB_DEVICE_H

#include "hb_frame.h"
#include "hb_jitter.h"

/* What a chunk may give to send: the chunk, a copy of the one before, the controls, the status; or a hello. */
#define HB_DEVICE_OUT (HB_FRAME_SIZE(HB_LONGEST_BODY) + HB_FRAME_SIZE(265u) + 2u * HB_FRAME_SIZE(32u))

typedef struct {
    hb_hello hello;
    hb_controls controls, sent; /* set `controls` at any time; a change is sent with the next chunk */
    hb_host_status host;        /* that came last */
    bool welcome;               /* in a session */
    uint8_t answer;             /* of the last WELCOME: why not */
    uint32_t clock;             /* of the chunk that is to come */
    uint32_t heard;             /* clock when a frame came last */
    uint16_t delay_samples, lookahead_samples;
    int32_t slack_samples;
    uint16_t sequence;         /* of the next frame */
    uint16_t newest;           /* sequence that came */
    uint32_t expected;         /* frames, by their sequence */
    hb_counters counters;
    hb_jitter jitter;
    hb_reader reader;
    hb_message message; /* scratch */
    int16_t before[HB_CHUNK_VALUES];
    uint8_t body[HB_LONGEST_BODY];
} hb_device;

/* `slots`: the caller's, for the longest delay that the device grants: 16 are 15 chunks, 120 ms. `copies`: send and ask for
 * copies. `model`: HB_MODEL_BYTES, or NULL for any.
 * Returns false and leaves `device` undefined unless `count` is a power of two. */
bool hb_device_init(hb_device *device, hb_slot *slots, uint32_t count, bool copies, const uint8_t *model);

/* Takes bytes from the host, in any pieces. */
void hb_device_receive(hb_device *device, const uint8_t *bytes, size_t length);

/* Takes a chunk of the microphones, turns it into the chunk to be played now, and returns the bytes in `out`, which
 * are to be sent. */
size_t hb_device_chunk(hb_device *device, int16_t samples[HB_CHUNK_VALUES], uint8_t out[HB_DEVICE_OUT]);

#endif

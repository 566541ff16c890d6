/* Frames: COBS, CRC-16, a zero at the end (PROTOCOL.md). The caller owns all memory; nothing is allocated. */
#ifndef HB_FRAME_H
#define HB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HB_MAX_BODY 1024u
/* A frame's size at most: the CRC, a code byte for each 254 bytes begun, the zero. */
#define HB_FRAME_SIZE(body) ((body) + 2u + ((body) + 2u) / 254u + 2u)

/* CRC-16/IBM-3740 of `length` bytes. */
uint16_t hb_crc16(const uint8_t *bytes, size_t length);

/* Writes a frame into `frame` and returns its size.
 * Returns 0 and leaves `frame` as it was if `capacity` < HB_FRAME_SIZE(length) or `length` > HB_MAX_BODY.
 * `frame` and `body` must not overlap. */
size_t hb_frame_encode(uint8_t *frame, size_t capacity, const uint8_t *body, size_t length);

/* Takes a stream apart. Zeroed memory is a reader at the start of a stream. */
typedef struct {
    uint8_t body[HB_MAX_BODY + 2u]; /* of the last whole frame, until the next byte is pushed */
    size_t length;                  /* bytes so far */
    uint8_t code, left;             /* of the COBS block, and how much of it is to come */
    bool begun, broken;
    uint32_t damaged; /* frames dropped: wrong CRC, too long, cut short */
} hb_reader;

/* Takes one byte. Returns the body's length if it completes a frame that is whole, and `reader->body` holds it; else 0.
 * Whatever comes, the reader is at a frame's start after a zero byte. */
size_t hb_reader_push(hb_reader *reader, uint8_t byte);

#endif

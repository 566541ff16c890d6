#include "hb_frame.h"

uint16_t hb_crc16(const uint8_t *bytes, size_t length) {
    uint16_t crc = 0xFFFFu;
    for (size_t n = 0; n < length; n++) {
        /* A byte at a time without a table: x^8 steps of the polynomial x^16 + x^12 + x^5 + 1 folded into shifts. */
        crc = (uint16_t)((crc >> 8) | (crc << 8));
        crc = (uint16_t)(crc ^ bytes[n]);
        crc = (uint16_t)(crc ^ ((crc & 0xFFu) >> 4));
        crc = (uint16_t)(crc ^ (crc << 12));
        crc = (uint16_t)(crc ^ ((crc & 0xFFu) << 5));
    }
    return crc;
}

typedef struct {
    uint8_t *code, *next; /* where the block's length goes, and its next byte */
} cobs;

static void cobs_put(cobs *out, uint8_t byte) {
    /* A full block ends without a zero of its own; begun only now, as none follows the last byte. */
    if (*out->code == 0xFFu) {
        out->code = out->next++;
        *out->code = 1;
    }
    if (byte == 0) {
        out->code = out->next++;
        *out->code = 1;
    } else {
        *out->next++ = byte;
        (*out->code)++;
    }
}

size_t hb_frame_encode(uint8_t *frame, size_t capacity, const uint8_t *body, size_t length) {
    if (length > HB_MAX_BODY || capacity < HB_FRAME_SIZE(length)) {
        return 0;
    }
    uint16_t crc = hb_crc16(body, length);
    cobs out = {frame, frame + 1};
    *out.code = 1;
    for (size_t n = 0; n < length; n++) {
        cobs_put(&out, body[n]);
    }
    cobs_put(&out, (uint8_t)(crc & 0xFFu));
    cobs_put(&out, (uint8_t)(crc >> 8));
    *out.next++ = 0;
    return (size_t)(out.next - frame);
}

static void keep(hb_reader *reader, uint8_t byte) {
    if (reader->length == sizeof reader->body) {
        reader->broken = true;
    } else {
        reader->body[reader->length++] = byte;
    }
}

static size_t finish(hb_reader *reader) {
    size_t length = reader->length;
    bool begun = reader->begun;
    bool whole = !reader->broken && reader->left == 0 && length >= 2;
    reader->begun = reader->broken = false;
    reader->length = 0;
    reader->code = reader->left = 0;
    if (whole) {
        uint16_t crc = (uint16_t)(reader->body[length - 2] | (reader->body[length - 1] << 8));
        if (crc == hb_crc16(reader->body, length - 2) && length > 2) {
            return length - 2;
        }
    }
    reader->damaged += begun; /* zeros between frames are no frames */
    return 0;
}

size_t hb_reader_push(hb_reader *reader, uint8_t byte) {
    if (byte == 0) {
        return finish(reader);
    }
    if (reader->left > 0) {
        keep(reader, byte);
        reader->left--;
        return 0;
    }
    if (reader->begun && reader->code != 0xFFu) {
        keep(reader, 0);
    }
    reader->begun = true;
    reader->code = byte;
    reader->left = (uint8_t)(byte - 1u);
    return 0;
}

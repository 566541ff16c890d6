/* Bytes from outside into everything that takes them. With clang -fsanitize=fuzzer, libFuzzer's target, which ends
 * after HB_FUZZ_BYTES; with -DHB_MUTATE, a program that mutates valid frames without chance: argv[1] bytes in all. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../link/hb_device.h"

static void parse(const uint8_t *data, size_t size) {
    static hb_message message;
    static uint8_t body[HB_LONGEST_BODY];
    if (!hb_message_parse(&message, data, size)) {
        return;
    }
    size_t length = hb_message_pack(&message, body);
    assert(length >= 3 && length <= size && memcmp(body, data, length) == 0);
}

static void feed(hb_device *device, const uint8_t *data, size_t size) {
    static uint8_t out[HB_DEVICE_OUT];
    static int16_t samples[HB_CHUNK_VALUES];
    for (size_t begin = 0; begin < size; begin += 600) {
        hb_device_receive(device, data + begin, size - begin < 600 ? size - begin : 600);
        assert(hb_device_chunk(device, samples, out) <= HB_DEVICE_OUT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hb_slot slots[8];
    static hb_device device;
    static uint8_t frame[HB_FRAME_SIZE(HB_MAX_BODY)];
    assert(hb_device_init(&device, slots, 8, true, NULL));
    parse(data, size);
    feed(&device, data, size);
    /* The same bytes as the bodies of good frames, after a welcome: behind the CRC. */
    static hb_message welcome = {HB_WELCOME, 0, {.welcome = {HB_VERSION, HB_ANSWER_WELCOME, 384, 64, {0}}}};
    static uint8_t body[HB_LONGEST_BODY];
    size_t length = hb_message_pack(&welcome, body);
    feed(&device, frame, hb_frame_encode(frame, sizeof frame, body, length));
    for (size_t begin = 0; begin < size; begin += HB_LONGEST_BODY) {
        length = size - begin < HB_LONGEST_BODY ? size - begin : HB_LONGEST_BODY;
        feed(&device, frame, hb_frame_encode(frame, sizeof frame, data + begin, length));
    }
#ifdef HB_FUZZ_BYTES
    static uint64_t bytes, runs;
    bytes += size;
    if (++runs && bytes >= HB_FUZZ_BYTES) {
        printf("%" PRIu64 " bytes in %" PRIu64 " runs\n", bytes, runs);
        fflush(stdout);
        _Exit(0); /* libFuzzer takes exit() for a crash */
    }
#endif
    return 0;
}

#ifdef HB_MUTATE
static uint32_t draw(void) { /* xorshift32: the same bytes in every run */
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

int main(int argc, char **argv) {
    static hb_message message;
    static uint8_t body[HB_LONGEST_BODY], data[4096];
    long left = argc > 1 ? atol(argv[1]) : 1000000;
    while (left > 0) {
        size_t size = 0;
        while (size < 2048) {
            message.type = (uint8_t)(1 + draw() % 10);
            message.as.audio.clock = 128 * (draw() % 16);
            size_t length = hb_message_pack(&message, body);
            length = length ? length : 1 + draw() % 40;
            size += hb_frame_encode(data + size, sizeof data - size, body, length);
        }
        for (uint32_t n = draw() % 8; n > 0; n--) {
            data[draw() % size] = (uint8_t)draw();
        }
        LLVMFuzzerTestOneInput(data + draw() % 8, size - 8);
        left -= (long)size;
    }
    puts("fuzz ok");
    return 0;
}
#endif

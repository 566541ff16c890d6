/* The link against the vectors that Python shares (argv[1]), and the ring. Built with sanitizers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../link/hb_device.h"
#include "../link/hb_ring.h"

#define LINE_BYTES 16384

static size_t unhex(const char *text, uint8_t *bytes) {
    size_t length = strlen(text) / 2;
    for (size_t n = 0; n < length; n++) {
        unsigned value;
        assert(sscanf(text + 2 * n, "%2x", &value) == 1);
        bytes[n] = (uint8_t)value;
    }
    return length;
}

static void check_frame(const uint8_t *body, size_t length, const uint8_t *frame, size_t size) {
    static uint8_t encoded[HB_FRAME_SIZE(HB_MAX_BODY)];
    static hb_reader reader;
    assert(hb_frame_encode(encoded, HB_FRAME_SIZE(length), body, length) == size);
    assert(memcmp(encoded, frame, size) == 0);
    assert(hb_frame_encode(encoded, HB_FRAME_SIZE(length) - 1, body, length) == 0);
    for (size_t n = 0; n < size; n++) {
        size_t found = hb_reader_push(&reader, frame[n]);
        assert(found == (n + 1 == size ? length : 0));
    }
    assert(memcmp(reader.body, body, length) == 0 && reader.damaged == 0);
}

static long next(char **text) { return strtol(strtok_r(NULL, " \n", text), NULL, 10); }

static void read_bytes(char **text, uint8_t *bytes, size_t length) {
    for (size_t n = 0; n < length; n++) {
        bytes[n] = (uint8_t)next(text);
    }
}

static void read_counters(char **text, hb_counters *counters) {
    counters->received = (uint32_t)next(text);
    counters->lost = (uint32_t)next(text);
    counters->damaged = (uint32_t)next(text);
    counters->copied = (uint32_t)next(text);
    counters->concealed = (uint32_t)next(text);
}

static void read_audio(char **text, hb_audio *audio) {
    audio->clock = (uint32_t)next(text);
    for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
        audio->samples[n] = (int16_t)next(text);
    }
}

static void read_copy(char **text, hb_copy *copy) {
    copy->clock = (uint32_t)next(text);
    read_bytes(text, copy->shift, HB_CHANNELS);
    for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
        copy->values[n] = (int8_t)next(text);
    }
}

static void read_message(char **text, hb_message *message) {
    message->type = (uint8_t)next(text);
    message->sequence = (uint16_t)next(text);
    switch (message->type) {
    case HB_HELLO:
        message->as.hello.version = (uint8_t)next(text);
        message->as.hello.flags = (uint8_t)next(text);
        message->as.hello.channels = (uint8_t)next(text);
        message->as.hello.chunk_samples = (uint16_t)next(text);
        message->as.hello.rate_hz = (uint32_t)next(text);
        read_bytes(text, message->as.hello.model, HB_MODEL_BYTES);
        break;
    case HB_WELCOME:
        message->as.welcome.version = (uint8_t)next(text);
        message->as.welcome.answer = (uint8_t)next(text);
        message->as.welcome.delay_samples = (uint16_t)next(text);
        message->as.welcome.lookahead_samples = (uint16_t)next(text);
        read_bytes(text, message->as.welcome.model, HB_MODEL_BYTES);
        break;
    case HB_AUDIO_IN:
    case HB_AUDIO_OUT:
        read_audio(text, &message->as.audio);
        break;
    case HB_COPY_IN:
    case HB_COPY_OUT:
        read_copy(text, &message->as.copy);
        break;
    case HB_CONTROLS:
        message->as.controls.button = (uint8_t)next(text);
        message->as.controls.person = (uint8_t)next(text);
        message->as.controls.background_db = (int8_t)next(text);
        break;
    case HB_DEVICE_STATUS:
        read_counters(text, &message->as.device_status.counters);
        message->as.device_status.latency_samples = (uint16_t)next(text);
        message->as.device_status.slack_samples = (int16_t)next(text);
        break;
    default:
        assert(message->type == HB_HOST_STATUS);
        read_counters(text, &message->as.host_status.counters);
        message->as.host_status.people = (uint8_t)next(text);
        message->as.host_status.person = (uint8_t)next(text);
        message->as.host_status.look = (uint8_t)next(text);
        message->as.host_status.speaking = (uint8_t)next(text);
    }
}

static void check_message(const uint8_t *body, size_t length, char **text) {
    static hb_message expected, found;
    static uint8_t packed[HB_LONGEST_BODY];
    memset(&expected, 0, sizeof expected);
    memset(&found, 0, sizeof found); /* so that padding is equal too */
    read_message(text, &expected);
    assert(hb_message_pack(&expected, packed) == length && memcmp(packed, body, length) == 0);
    assert(hb_message_parse(&found, body, length) && memcmp(&found, &expected, sizeof found) == 0);
    assert(!hb_message_parse(&found, body, length - 1));
}

static void check_vectors(const char *path) {
    static char line[LINE_BYTES];
    static uint8_t body[HB_MAX_BODY], frame[HB_FRAME_SIZE(HB_MAX_BODY)];
    FILE *file = fopen(path, "r");
    assert(file);
    int checked = 0;
    while (fgets(line, LINE_BYTES, file)) {
        char *text, *kind = strtok_r(line, " \n", &text);
        if (strcmp(kind, "#") == 0) {
            continue;
        }
        size_t length = unhex(strtok_r(NULL, " \n", &text), body);
        if (strcmp(kind, "frame") == 0) {
            check_frame(body, length, frame, unhex(strtok_r(NULL, " \n", &text), frame));
        } else {
            check_message(body, length, &text);
        }
        checked++;
    }
    fclose(file);
    assert(checked > 40);
    printf("%d vectors\n", checked);
}

static void check_copy(void) {
    static hb_copy copy;
    static int16_t samples[HB_CHUNK_VALUES], back[HB_CHUNK_VALUES];
    for (int peak = 1; peak <= 32768; peak += peak / 64 + 1) {
        for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
            int value = n % 3 == 0 ? -peak : (int)n * 7919 % peak;
            samples[n] = (int16_t)value;
        }
        hb_copy_pack(&copy, samples);
        hb_copy_unpack(back, &copy);
        for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
            assert(abs(back[n] - samples[n]) <= peak / 128 + 1);
        }
    }
}

static void check_ring(void) {
    static uint8_t memory[64], in[64], out[64];
    hb_ring ring;
    assert(!hb_ring_init(&ring, memory, 0) && !hb_ring_init(&ring, memory, 48) && hb_ring_init(&ring, memory, 64));
    uint8_t written = 0, read = 0;
    for (unsigned n = 0; n < 10000; n++) {
        size_t length = n * 37u % 65u, used = hb_ring_used(&ring);
        for (size_t k = 0; k < length; k++) {
            in[k] = (uint8_t)(written + k);
        }
        bool fits = length <= 64 - used;
        assert(hb_ring_write(&ring, in, length) == fits);
        written = (uint8_t)(written + (fits ? length : 0));
        size_t taken = hb_ring_read(&ring, out, n * 11u % 65u);
        for (size_t k = 0; k < taken; k++) {
            assert(out[k] == read++);
        }
        assert(hb_ring_used(&ring) == (uint8_t)(written - read));
    }
}

int main(int argc, char **argv) {
    assert(argc == 2);
    check_vectors(argv[1]);
    check_copy();
    check_ring();
    puts("link ok");
    return 0;
}

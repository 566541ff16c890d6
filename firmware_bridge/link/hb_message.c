#include "hb_message.h"

#include <string.h>

#define HEADER_BYTES 3u
#define COUNTERS_BYTES 20u
#define AUDIO_BYTES (4u + 2u * HB_CHUNK_VALUES)
#define COPY_BYTES (4u + HB_CHANNELS + HB_CHUNK_VALUES)

/* Each put and get moves the pointer behind what it wrote or read; lengths are checked once, before. */
static void put8(uint8_t **to, uint8_t value) { *(*to)++ = value; }
static void put16(uint8_t **to, uint16_t value) {
    put8(to, (uint8_t)(value & 0xFFu));
    put8(to, (uint8_t)(value >> 8));
}
static void put32(uint8_t **to, uint32_t value) {
    put16(to, (uint16_t)(value & 0xFFFFu));
    put16(to, (uint16_t)(value >> 16));
}
static void put_bytes(uint8_t **to, const void *bytes, size_t length) {
    memcpy(*to, bytes, length);
    *to += length;
}

static uint8_t get8(const uint8_t **from) { return *(*from)++; }
static uint16_t get16(const uint8_t **from) {
    uint16_t low = get8(from);
    return (uint16_t)(low | (get8(from) << 8));
}
static uint32_t get32(const uint8_t **from) {
    uint32_t low = get16(from);
    return low | ((uint32_t)get16(from) << 16);
}
static void get_bytes(const uint8_t **from, void *bytes, size_t length) {
    memcpy(bytes, *from, length);
    *from += length;
}

static void put_counters(uint8_t **to, const hb_counters *counters) {
    put32(to, counters->received);
    put32(to, counters->lost);
    put32(to, counters->damaged);
    put32(to, counters->copied);
    put32(to, counters->concealed);
}

static void get_counters(const uint8_t **from, hb_counters *counters) {
    counters->received = get32(from);
    counters->lost = get32(from);
    counters->damaged = get32(from);
    counters->copied = get32(from);
    counters->concealed = get32(from);
}

static void put_audio(uint8_t **to, const hb_audio *audio) {
    put32(to, audio->clock);
    for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
        put16(to, (uint16_t)audio->samples[n]);
    }
}

static void get_audio(const uint8_t **from, hb_audio *audio) {
    audio->clock = get32(from);
    for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
        audio->samples[n] = (int16_t)get16(from);
    }
}

static void put_copy(uint8_t **to, const hb_copy *copy) {
    put32(to, copy->clock);
    put_bytes(to, copy->shift, HB_CHANNELS);
    put_bytes(to, copy->values, HB_CHUNK_VALUES);
}

static bool get_copy(const uint8_t **from, hb_copy *copy) {
    copy->clock = get32(from);
    get_bytes(from, copy->shift, HB_CHANNELS);
    get_bytes(from, copy->values, HB_CHUNK_VALUES);
    return copy->shift[0] <= HB_MAX_SHIFT && copy->shift[1] <= HB_MAX_SHIFT;
}

size_t hb_message_pack(const hb_message *message, uint8_t body[HB_LONGEST_BODY]) {
    uint8_t *to = body;
    put8(&to, message->type);
    put16(&to, message->sequence);
    switch (message->type) {
    case HB_HELLO: {
        const hb_hello *hello = &message->as.hello;
        put8(&to, hello->version);
        put8(&to, hello->flags);
        put8(&to, hello->channels);
        put16(&to, hello->chunk_samples);
        put32(&to, hello->rate_hz);
        put_bytes(&to, hello->model, HB_MODEL_BYTES);
        break;
    }
    case HB_WELCOME: {
        const hb_welcome *welcome = &message->as.welcome;
        put8(&to, welcome->version);
        put8(&to, welcome->answer);
        put16(&to, welcome->delay_samples);
        put16(&to, welcome->lookahead_samples);
        put_bytes(&to, welcome->model, HB_MODEL_BYTES);
        break;
    }
    case HB_AUDIO_IN:
    case HB_AUDIO_OUT:
        put_audio(&to, &message->as.audio);
        break;
    case HB_COPY_IN:
    case HB_COPY_OUT:
        put_copy(&to, &message->as.copy);
        break;
    case HB_CONTROLS:
        put8(&to, message->as.controls.button);
        put8(&to, message->as.controls.person);
        put8(&to, (uint8_t)message->as.controls.background_db);
        break;
    case HB_DEVICE_STATUS:
        put_counters(&to, &message->as.device_status.counters);
        put16(&to, message->as.device_status.latency_samples);
        put16(&to, (uint16_t)message->as.device_status.slack_samples);
        break;
    case HB_HOST_STATUS:
        put_counters(&to, &message->as.host_status.counters);
        put8(&to, message->as.host_status.people);
        put8(&to, message->as.host_status.person);
        put8(&to, message->as.host_status.look);
        put8(&to, message->as.host_status.speaking);
        break;
    default:
        return 0;
    }
    return (size_t)(to - body);
}

static size_t payload_bytes(uint8_t type) {
    switch (type) {
    case HB_HELLO:
        return 9u + HB_MODEL_BYTES;
    case HB_WELCOME:
        return 6u + HB_MODEL_BYTES;
    case HB_AUDIO_IN:
    case HB_AUDIO_OUT:
        return AUDIO_BYTES;
    case HB_COPY_IN:
    case HB_COPY_OUT:
        return COPY_BYTES;
    case HB_CONTROLS:
        return 3u;
    case HB_DEVICE_STATUS:
    case HB_HOST_STATUS:
        return COUNTERS_BYTES + 4u;
    default:
        return SIZE_MAX;
    }
}

bool hb_message_parse(hb_message *message, const uint8_t *body, size_t length) {
    const uint8_t *from = body;
    message->type = 0;
    message->sequence = 0;
    if (length < HEADER_BYTES) {
        return false;
    }
    message->type = get8(&from);
    message->sequence = get16(&from);
    length -= HEADER_BYTES;
    if (length < payload_bytes(message->type)) {
        return false;
    }
    switch (message->type) {
    case HB_HELLO: {
        hb_hello *hello = &message->as.hello;
        hello->version = get8(&from);
        hello->flags = get8(&from);
        hello->channels = get8(&from);
        hello->chunk_samples = get16(&from);
        hello->rate_hz = get32(&from);
        get_bytes(&from, hello->model, HB_MODEL_BYTES);
        return true;
    }
    case HB_WELCOME: {
        hb_welcome *welcome = &message->as.welcome;
        welcome->version = get8(&from);
        welcome->answer = get8(&from);
        welcome->delay_samples = get16(&from);
        welcome->lookahead_samples = get16(&from);
        get_bytes(&from, welcome->model, HB_MODEL_BYTES);
        return true;
    }
    case HB_AUDIO_IN:
    case HB_AUDIO_OUT:
        get_audio(&from, &message->as.audio);
        return true;
    case HB_COPY_IN:
    case HB_COPY_OUT:
        return get_copy(&from, &message->as.copy);
    case HB_CONTROLS:
        message->as.controls.button = get8(&from);
        message->as.controls.person = get8(&from);
        message->as.controls.background_db = (int8_t)get8(&from);
        return true;
    case HB_DEVICE_STATUS:
        get_counters(&from, &message->as.device_status.counters);
        message->as.device_status.latency_samples = get16(&from);
        message->as.device_status.slack_samples = (int16_t)get16(&from);
        return true;
    default: /* HB_HOST_STATUS */
        get_counters(&from, &message->as.host_status.counters);
        message->as.host_status.people = get8(&from);
        message->as.host_status.person = get8(&from);
        message->as.host_status.look = get8(&from);
        message->as.host_status.speaking = get8(&from);
        return true;
    }
}

void hb_copy_pack(hb_copy *copy, const int16_t samples[HB_CHUNK_VALUES]) {
    for (size_t ear = 0; ear < HB_CHANNELS; ear++) {
        int32_t peak = 0;
        for (size_t n = ear; n < HB_CHUNK_VALUES; n += HB_CHANNELS) {
            int32_t size = samples[n] < 0 ? -(int32_t)samples[n] : samples[n];
            peak = size > peak ? size : peak;
        }
        uint8_t shift = 0;
        int32_t half = 0;
        while ((peak + half) >> shift > INT8_MAX) {
            half = 1 << shift; /* of the next shift */
            shift++;
        }
        copy->shift[ear] = shift;
        for (size_t n = ear; n < HB_CHUNK_VALUES; n += HB_CHANNELS) {
            /* gcc and clang shift negative numbers arithmetically */
            copy->values[n] = (int8_t)((samples[n] + half) >> shift);
        }
    }
}

void hb_copy_unpack(int16_t samples[HB_CHUNK_VALUES], const hb_copy *copy) {
    for (size_t n = 0; n < HB_CHUNK_VALUES; n++) {
        int32_t value = copy->values[n] * (1 << copy->shift[n % HB_CHANNELS]);
        samples[n] = (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
    }
}

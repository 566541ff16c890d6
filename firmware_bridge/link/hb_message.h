/* Messages: what a frame's body says (PROTOCOL.md), to and from plain structs. */
#ifndef HB_MESSAGE_H
#define HB_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HB_VERSION 1u
#define HB_RATE_HZ 16000u
#define HB_CHANNELS 2u
#define HB_CHUNK_SAMPLES 128u
#define HB_CHUNK_VALUES (HB_CHANNELS * HB_CHUNK_SAMPLES)
#define HB_MODEL_BYTES 8u
#define HB_MAX_SHIFT 9u
#define HB_FLAG_COPIES 1u

#define HB_HOSTS_CHOICE 255u          /* hb_controls.person; in hb_host_status: nobody */
#define HB_BACKGROUND_SILENT (-128)   /* hb_controls.background_db */
#define HB_BACKGROUND_HOSTS_CHOICE 127

enum { HB_HELLO = 1, HB_WELCOME, HB_AUDIO_IN, HB_AUDIO_OUT, HB_COPY_IN, HB_COPY_OUT, HB_CONTROLS, HB_DEVICE_STATUS, HB_HOST_STATUS };
enum { HB_ANSWER_WELCOME, HB_ANSWER_VERSION, HB_ANSWER_FORMAT, HB_ANSWER_MODEL };
enum { HB_LOOK_NONE, HB_LOOK_LOOKING, HB_LOOK_ENROLLED, HB_LOOK_REFUSED };

typedef struct {
    uint8_t version, flags, channels;
    uint16_t chunk_samples;
    uint32_t rate_hz;
    uint8_t model[HB_MODEL_BYTES];
} hb_hello;

typedef struct {
    uint8_t version, answer;
    uint16_t delay_samples, lookahead_samples;
    uint8_t model[HB_MODEL_BYTES];
} hb_welcome;

typedef struct {
    uint32_t clock;
    int16_t samples[HB_CHUNK_VALUES]; /* interleaved */
} hb_audio;

/* A chunk in 8 bits a sample, for each ear with a shift of its own. */
typedef struct {
    uint32_t clock;
    uint8_t shift[HB_CHANNELS];
    int8_t values[HB_CHUNK_VALUES]; /* interleaved */
} hb_copy;

typedef struct {
    uint8_t button, person;
    int8_t background_db;
} hb_controls;

typedef struct {
    uint32_t received, lost, damaged; /* frames */
    uint32_t copied, concealed;       /* chunks */
} hb_counters;

typedef struct {
    hb_counters counters;
    uint16_t latency_samples;
    int16_t slack_samples;
} hb_device_status;

typedef struct {
    hb_counters counters;
    uint8_t people, person, look, speaking;
} hb_host_status;

typedef struct {
    uint8_t type;
    uint16_t sequence;
    union {
        hb_hello hello;
        hb_welcome welcome;
        hb_audio audio; /* AUDIO_IN, AUDIO_OUT */
        hb_copy copy;   /* COPY_IN, COPY_OUT */
        hb_controls controls;
        hb_device_status device_status;
        hb_host_status host_status;
    } as;
} hb_message;

/* The size of the longest body that hb_message_pack writes. */
#define HB_LONGEST_BODY (3u + 4u + 2u * HB_CHUNK_VALUES)

/* Writes a body and returns its length. Returns 0 for a type that it does not know; `body` may then hold anything. */
size_t hb_message_pack(const hb_message *message, uint8_t body[HB_LONGEST_BODY]);

/* Reads a body. Returns false for a type that it does not know, for a payload that is too short, and for a copy's shift
 * above HB_MAX_SHIFT; `message->type` and `message->sequence` then hold what the body says (0 if it is shorter than
 * that), and the rest of `message` anything. */
bool hb_message_parse(hb_message *message, const uint8_t *body, size_t length);

/* A chunk to 8 bits a sample, and back; `copy->clock` is the caller's. */
void hb_copy_pack(hb_copy *copy, const int16_t samples[HB_CHUNK_VALUES]);
void hb_copy_unpack(int16_t samples[HB_CHUNK_VALUES], const hb_copy *copy);

#endif

#include "hb_device.h"

#include <string.h>

/* in chunks of 8 ms */
#define HELLO_EVERY 32u
#define CONTROLS_EVERY 12u
#define STATUS_EVERY 125u
#define SILENCE_ENDS 64u

bool hb_device_init(hb_device *device, hb_slot *slots, uint32_t count, bool copies, const uint8_t *model) {
    memset(device, 0, sizeof *device);
    device->hello = (hb_hello){
        HB_VERSION, copies ? HB_FLAG_COPIES : 0, HB_CHANNELS, HB_CHUNK_SAMPLES, HB_RATE_HZ, {0}};
    if (model) {
        memcpy(device->hello.model, model, HB_MODEL_BYTES);
    }
    device->controls = (hb_controls){0, HB_HOSTS_CHOICE, HB_BACKGROUND_HOSTS_CHOICE};
    device->host.person = HB_HOSTS_CHOICE;
    return hb_jitter_init(&device->jitter, slots, count, 0);
}

/* A session begins: playing lags behind by the delay, counting starts anew. */
static void begin(hb_device *device, const hb_welcome *welcome) {
    uint32_t limit = (device->jitter.count - 1) * HB_CHUNK_SAMPLES;
    uint32_t delay = welcome->delay_samples - welcome->delay_samples % HB_CHUNK_SAMPLES;
    device->answer = welcome->answer;
    if (welcome->version != HB_VERSION || welcome->answer != HB_ANSWER_WELCOME || device->welcome) {
        return;
    }
    device->welcome = true;
    device->delay_samples = (uint16_t)(delay < limit ? delay : limit);
    device->lookahead_samples = welcome->lookahead_samples;
    device->slack_samples = INT16_MAX;
    device->expected = 0;
    device->sent.person = (uint8_t)~device->controls.person; /* the host may be a new one: tell it */
    memset(&device->counters, 0, sizeof device->counters);
    device->jitter.next = device->clock - device->delay_samples;
    device->jitter.copied = device->jitter.concealed = 0;
    for (uint32_t n = 0; n < device->jitter.count; n++) {
        device->jitter.slots[n].kind = HB_MISSING;
    }
}

static void count(hb_device *device, uint16_t sequence) {
    uint16_t step = (uint16_t)(sequence - device->newest);
    device->counters.received++;
    if (device->expected == 0) {
        step = 1;
    }
    if (step < 0x8000u) { /* else it comes late */
        device->expected += step;
        device->newest = sequence;
    }
}

static void take(hb_device *device, size_t length) {
    hb_message *message = &device->message;
    bool known = hb_message_parse(message, device->reader.body, length);
    if (known && message->type == HB_WELCOME) {
        begin(device, &message->as.welcome);
    }
    if (!device->welcome) {
        return;
    }
    device->heard = device->clock;
    count(device, message->sequence);
    if (known && message->type == HB_AUDIO_OUT) {
        int32_t slack = (int32_t)(message->as.audio.clock - device->jitter.next);
        device->slack_samples = slack < device->slack_samples ? slack : device->slack_samples;
        hb_jitter_put(&device->jitter, &message->as.audio);
    } else if (known && message->type == HB_COPY_OUT) {
        hb_jitter_put_copy(&device->jitter, &message->as.copy);
    } else if (known && message->type == HB_HOST_STATUS) {
        device->host = message->as.host_status;
    }
}

void hb_device_receive(hb_device *device, const uint8_t *bytes, size_t length) {
    for (size_t n = 0; n < length; n++) {
        size_t body = hb_reader_push(&device->reader, bytes[n]);
        if (body > 0) {
            take(device, body);
        }
    }
}

static uint8_t *send(hb_device *device, uint8_t type, uint8_t *out) {
    device->message.type = type;
    device->message.sequence = device->sequence++;
    size_t length = hb_message_pack(&device->message, device->body);
    return out + hb_frame_encode(out, HB_FRAME_SIZE(length), device->body, length);
}

static uint8_t *send_audio(hb_device *device, const int16_t *samples, uint8_t *out) {
    hb_audio *audio = &device->message.as.audio;
    audio->clock = device->clock;
    memcpy(audio->samples, samples, sizeof audio->samples);
    return send(device, HB_AUDIO_IN, out);
}

static uint8_t *send_copy(hb_device *device, uint8_t *out) {
    hb_copy *copy = &device->message.as.copy;
    copy->clock = device->clock - HB_CHUNK_SAMPLES;
    hb_copy_pack(copy, device->before);
    return send(device, HB_COPY_IN, out);
}

static uint8_t *send_controls(hb_device *device, uint8_t *out) {
    device->sent = device->message.as.controls = device->controls;
    return send(device, HB_CONTROLS, out);
}

static uint8_t *send_status(hb_device *device, uint8_t *out) {
    hb_device_status *status = &device->message.as.device_status;
    int32_t slack = device->slack_samples < INT16_MIN ? INT16_MIN : device->slack_samples;
    hb_counters *counters = &device->counters;
    counters->lost = device->expected > counters->received ? device->expected - counters->received : 0;
    counters->damaged = device->reader.damaged;
    counters->copied = device->jitter.copied;
    counters->concealed = device->jitter.concealed;
    status->counters = *counters;
    status->latency_samples = (uint16_t)(HB_CHUNK_SAMPLES + device->delay_samples + device->lookahead_samples);
    status->slack_samples = (int16_t)slack;
    device->slack_samples = INT16_MAX;
    return send(device, HB_DEVICE_STATUS, out);
}

static bool controls_due(const hb_device *device, uint32_t chunk) {
    const hb_controls *now = &device->controls, *sent = &device->sent;
    return chunk % CONTROLS_EVERY == 0 || now->button != sent->button || now->person != sent->person ||
           now->background_db != sent->background_db;
}

size_t hb_device_chunk(hb_device *device, int16_t samples[HB_CHUNK_VALUES], uint8_t out[HB_DEVICE_OUT]) {
    uint8_t *end = out;
    uint32_t chunk = device->clock / HB_CHUNK_SAMPLES;
    if (device->clock - device->heard >= SILENCE_ENDS * HB_CHUNK_SAMPLES) {
        device->welcome = false;
    }
    if (device->welcome) {
        end = send_audio(device, samples, end);
        end = device->hello.flags & HB_FLAG_COPIES ? send_copy(device, end) : end;
        end = controls_due(device, chunk) ? send_controls(device, end) : end;
        end = chunk % STATUS_EVERY == 0 ? send_status(device, end) : end;
    } else if (chunk % HELLO_EVERY == 0) {
        device->message.as.hello = device->hello;
        end = send(device, HB_HELLO, end);
    }
    memcpy(device->before, samples, sizeof device->before);
    if (device->welcome) {
        hb_jitter_take(&device->jitter, samples);
    } else {
        hb_jitter_pass(&device->jitter, samples);
    }
    device->clock += HB_CHUNK_SAMPLES;
    return (size_t)(end - out);
}

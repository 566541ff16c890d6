#include "hb_jitter.h"

#include <string.h>

#define FADE_SAMPLES 32

bool hb_jitter_init(hb_jitter *jitter, hb_slot *slots, uint32_t count, uint32_t next) {
    if (count == 0 || (count & (count - 1)) != 0 || next % HB_CHUNK_SAMPLES != 0) {
        return false;
    }
    memset(jitter, 0, sizeof *jitter);
    jitter->slots = slots;
    jitter->count = count;
    jitter->next = next;
    jitter->gap = true; /* the first sound is faded in */
    for (uint32_t n = 0; n < count; n++) {
        slots[n].kind = HB_MISSING;
    }
    return true;
}

static hb_slot *slot_at(const hb_jitter *jitter, uint32_t clock) {
    return &jitter->slots[clock / HB_CHUNK_SAMPLES % jitter->count];
}

/* The slot for a chunk that may still be wanted, or NULL. */
static hb_slot *wanted(const hb_jitter *jitter, uint32_t clock, uint8_t kind) {
    uint32_t ahead = clock - jitter->next; /* wraps: what is late is far ahead */
    if (clock % HB_CHUNK_SAMPLES != 0 || ahead / HB_CHUNK_SAMPLES >= jitter->count) {
        return NULL;
    }
    hb_slot *slot = slot_at(jitter, clock);
    return slot->kind < kind ? slot : NULL;
}

void hb_jitter_put(hb_jitter *jitter, const hb_audio *audio) {
    hb_slot *slot = wanted(jitter, audio->clock, HB_SENT);
    if (slot) {
        memcpy(slot->samples, audio->samples, sizeof slot->samples);
        slot->kind = HB_SENT;
    }
}

void hb_jitter_put_copy(hb_jitter *jitter, const hb_copy *copy) {
    hb_slot *slot = wanted(jitter, copy->clock, HB_COPIED);
    if (slot) {
        hb_copy_unpack(slot->samples, copy);
        slot->kind = HB_COPIED;
    }
}

/* gcc and clang shift negative numbers arithmetically. */
static int16_t scaled(int16_t value, size_t gain, unsigned shift) { return (int16_t)((value * (int32_t)gain) >> shift); }

static void conceal(hb_jitter *jitter) {
    if (jitter->gap) {
        memset(jitter->last, 0, sizeof jitter->last);
        return;
    }
    jitter->gap = true;
    for (size_t n = 0; n < HB_CHUNK_SAMPLES / 2; n++) {
        size_t m = HB_CHUNK_SAMPLES - 1 - n;
        for (size_t ear = 0; ear < HB_CHANNELS; ear++) {
            int16_t *early = &jitter->last[n * HB_CHANNELS + ear], *late = &jitter->last[m * HB_CHANNELS + ear];
            int16_t before = *early;
            *early = scaled(*late, HB_CHUNK_SAMPLES - n, 7);
            *late = scaled(before, HB_CHUNK_SAMPLES - m, 7);
        }
    }
}

static void resume(hb_jitter *jitter) {
    for (size_t n = 0; jitter->gap && n < FADE_SAMPLES * HB_CHANNELS; n++) {
        jitter->last[n] = scaled(jitter->last[n], n / HB_CHANNELS + 1, 5);
    }
    jitter->gap = false;
}

uint8_t hb_jitter_take(hb_jitter *jitter, int16_t samples[HB_CHUNK_VALUES]) {
    hb_slot *slot = slot_at(jitter, jitter->next);
    uint8_t kind = slot->kind;
    if (kind == HB_MISSING) {
        conceal(jitter);
    } else {
        memcpy(jitter->last, slot->samples, sizeof jitter->last);
        resume(jitter);
    }
    jitter->copied += kind == HB_COPIED;
    jitter->concealed += kind == HB_MISSING;
    slot->kind = HB_MISSING;
    jitter->next += HB_CHUNK_SAMPLES;
    memcpy(samples, jitter->last, sizeof jitter->last);
    return kind;
}

void hb_jitter_pass(hb_jitter *jitter, int16_t samples[HB_CHUNK_VALUES]) {
    slot_at(jitter, jitter->next)->kind = HB_MISSING;
    jitter->next += HB_CHUNK_SAMPLES;
    memcpy(jitter->last, samples, sizeof jitter->last);
    resume(jitter);
    memcpy(samples, jitter->last, sizeof jitter->last);
}

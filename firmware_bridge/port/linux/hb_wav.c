#include "hb_wav.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static uint32_t number(const unsigned char *bytes, int count) {
    uint32_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

static void put(unsigned char *bytes, int count, uint32_t value) {
    for (int i = 0; i < count; i++, value >>= 8) bytes[i] = (unsigned char)value;
}

/* Reads chunk after chunk until the data. */
static int header(hb_wav *wav) {
    unsigned char bytes[40];
    int described = 0;
    if (fread(bytes, 12, 1, wav->file) != 1 || memcmp(bytes, "RIFF", 4) || memcmp(bytes + 8, "WAVE", 4)) return -1;
    while (fread(bytes, 8, 1, wav->file) == 1) {
        const uint32_t size = number(bytes + 4, 4);
        if (!memcmp(bytes, "data", 4)) {
            if (!described) return -1;
            wav->frames = (long)(size / (uint32_t)(wav->channels * (wav->is_float ? 4 : 2)));
            return 0;
        }
        const int format = !memcmp(bytes, "fmt ", 4);
        const uint32_t wanted = format ? (size < sizeof bytes ? size : (uint32_t)sizeof bytes) : 0;
        if (format && (size < 16 || fread(bytes, wanted, 1, wav->file) != 1)) return -1;
        if (format) {
            const uint32_t tag = number(bytes, 2), kind = tag == 0xfffe && wanted >= 26 ? number(bytes + 24, 2) : tag;
            const uint32_t bits = number(bytes + 14, 2);
            wav->channels = (int)number(bytes + 2, 2);
            wav->sample_rate_hz = (int)number(bytes + 4, 4);
            wav->is_float = kind == 3 && bits == 32;
            if (!wav->is_float && !(kind == 1 && bits == 16)) return -1;
            if (wav->channels < 1 || wav->channels > 16) return -1;
            described = 1;
        }
        if (fseek(wav->file, (long)(size - wanted + (size & 1)), SEEK_CUR)) return -1;
    }
    return -1;
}

int hb_wav_open(hb_wav *wav, const char *path) {
    memset(wav, 0, sizeof *wav);
    wav->file = fopen(path, "rb");
    if (!wav->file) return -1;
    if (!header(wav)) return 0;
    fclose(wav->file);
    return -1;
}

static int write_header(hb_wav *wav) {
    const uint32_t width = wav->is_float ? 4 : 2, frame = width * (uint32_t)wav->channels;
    const uint32_t size = (uint32_t)wav->frames * frame;
    unsigned char bytes[44] = "RIFF....WAVEfmt ";
    put(bytes + 4, 4, 36 + size);
    put(bytes + 16, 4, 16);
    put(bytes + 20, 2, wav->is_float ? 3 : 1);
    put(bytes + 22, 2, (uint32_t)wav->channels);
    put(bytes + 24, 4, (uint32_t)wav->sample_rate_hz);
    put(bytes + 28, 4, (uint32_t)wav->sample_rate_hz * frame);
    put(bytes + 32, 2, frame);
    put(bytes + 34, 2, 8 * width);
    memcpy(bytes + 36, "data", 4);
    put(bytes + 40, 4, size);
    return fwrite(bytes, sizeof bytes, 1, wav->file) == 1 ? 0 : -1;
}

int hb_wav_create(hb_wav *wav, const char *path, const hb_wav *format) {
    *wav = *format;
    wav->frames = 0;
    wav->file = fopen(path, "wb");
    if (!wav->file) return -1;
    if (!write_header(wav)) return 0;
    fclose(wav->file);
    return -1;
}

static int read_pcm(const hb_wav *wav, float *frames, int count) {
    for (int i = 0; i < count; i++)
        for (int c = 0; c < wav->channels; c++) {
            int16_t sample;
            if (fread(&sample, sizeof sample, 1, wav->file) != 1) return i;
            frames[i * wav->channels + c] = (float)sample / 32768.0f;
        }
    return count;
}

static int read_float(const hb_wav *wav, float *frames, int count) {
    return (int)fread(frames, sizeof(float) * (size_t)wav->channels, (size_t)count, wav->file);
}

int hb_wav_read(hb_wav *wav, float *frames, int count) {
    const int wanted = wav->frames < count ? (int)wav->frames : count; /* other chunks may follow the data */
    const int found = wav->is_float ? read_float(wav, frames, wanted) : read_pcm(wav, frames, wanted);
    wav->frames = found < wanted ? 0 : wav->frames - found;
    return found;
}

int hb_wav_write(hb_wav *wav, const float *frames, int count) {
    wav->frames += count;
    const int values = count * wav->channels;
    if (wav->is_float) return fwrite(frames, sizeof(float), (size_t)values, wav->file) == (size_t)values ? 0 : -1;
    for (int i = 0; i < values; i++) {
        const float scaled = fminf(fmaxf(roundf(frames[i] * 32768.0f), -32768.0f), 32767.0f);
        const int16_t sample = (int16_t)scaled;
        if (fwrite(&sample, sizeof sample, 1, wav->file) != 1) return -1;
    }
    return 0;
}

int hb_wav_finish(hb_wav *wav) {
    int failed = fseek(wav->file, 0, SEEK_SET) || write_header(wav);
    failed |= fclose(wav->file);
    return failed ? -1 : 0;
}

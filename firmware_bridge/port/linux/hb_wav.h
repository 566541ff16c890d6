/* Wav files, frame by frame: 16-bit PCM or 32-bit float, little endian, on a little-endian machine. */
#ifndef HB_WAV_H
#define HB_WAV_H

#include <stdio.h>

typedef struct {
    FILE *file;
    int channels, sample_rate_hz, is_float;
    long frames; /* left to be read; written so far */
} hb_wav;

/* 0, or -1: not a wav that is understood; nothing is open then. */
int hb_wav_open(hb_wav *wav, const char *path);
int hb_wav_create(hb_wav *wav, const char *path, const hb_wav *format);

/* Interleaved frames; returns how many were read: fewer at the end, which may come before the header says. */
int hb_wav_read(hb_wav *wav, float *frames, int count);

/* 0, or -1. 16 bits are rounded and limited. */
int hb_wav_write(hb_wav *wav, const float *frames, int count);

/* Completes the header and closes. 0, or -1. */
int hb_wav_finish(hb_wav *wav);

#endif

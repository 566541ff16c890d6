/* hearable-rt MODEL.onnx CONDITIONING.f32 [IN OUT]: one person out of a recording or a pipe, 8 ms at a time.
 *
 * IN and OUT are wav (16-bit PCM or 32-bit float, the model's rate and channels) or, without them, standard input and
 * output: raw interleaved float32. The output is aligned with the input for wav, and late by the model's lookahead in a
 * pipe. ONNXRUNTIME names the library (libonnxruntime.so by default). HB_REPORT=1 reports chunks, time, memory and
 * allocations on standard error.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "hb_conditioning.h"
#include "hb_heap.h"
#include "hb_runtime.h"
#include "hb_wav.h"

static int fail(const char *what, const char *why) {
    fprintf(stderr, "hearable-rt: %s: %s\n", what, why);
    return 1;
}

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Most memory that was ever resident (Linux; the count of getrusage would begin with that of the parent). */
static long peak_kb(void) {
    char line[128];
    long found = 0;
    FILE *const file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &found) == 1) break;
    if (file) fclose(file);
    return found;
}

typedef struct {
    hb_runtime *runtime;
    const hb_spec *spec;
    float *chunk, *output, *frames; /* planar, planar, interleaved */
    long chunks;
    double seconds, worst, processor; /* the last one: of the processor, without waiting for it */
} stream;

/* `frames` interleaved frames (at most a chunk; the rest is silence) through the model, in place. */
static int step(stream *s, int frames) {
    const int channels = s->spec->channels, samples = s->spec->chunk_samples;
    for (int i = frames * channels; i < samples * channels; i++) s->frames[i] = 0.0f;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < samples; i++) s->chunk[c * samples + i] = s->frames[i * channels + c];
    const double begin = now(CLOCK_MONOTONIC), before = now(CLOCK_PROCESS_CPUTIME_ID);
    hb_heap_enter();
    const int failed = hb_process(s->runtime, s->chunk, s->output);
    hb_heap_leave();
    if (failed) return -1;
    const double taken = now(CLOCK_MONOTONIC) - begin;
    s->processor += now(CLOCK_PROCESS_CPUTIME_ID) - before;
    s->seconds += taken;
    if (taken > s->worst) s->worst = taken;
    s->chunks++;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < samples; i++) s->frames[i * channels + c] = s->output[c * samples + i];
    return 0;
}

static int pipe_through(stream *s) {
    const size_t frame = (size_t)s->spec->channels * sizeof(float);
    for (;;) {
        const size_t found = fread(s->frames, frame, (size_t)s->spec->chunk_samples, stdin);
        if (!found) return 0;
        if (step(s, (int)found)) return fail("model", hb_error());
        if (fwrite(s->frames, frame, found, stdout) != found || fflush(stdout)) return fail("output", "cannot write");
        if (found < (size_t)s->spec->chunk_samples) return 0;
    }
}

static int same_file(const char *a, const char *b) {
    struct stat of_a, of_b;
    return !stat(a, &of_a) && !stat(b, &of_b) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static int file_through(stream *s, const char *from, const char *to) {
    hb_wav in, out;
    if (same_file(from, to)) return fail(to, "expected another file than the input");
    if (hb_wav_open(&in, from)) return fail(from, "expected wav, 16-bit PCM or 32-bit float");
    if (in.channels != s->spec->channels || in.sample_rate_hz != s->spec->sample_rate_hz) {
        fclose(in.file);
        return fail(from, "expected the model's sample rate and channels");
    }
    if (hb_wav_create(&out, to, &in)) {
        fclose(in.file);
        return fail(to, "cannot write");
    }
    int skip = s->spec->lookahead_samples, failed = 0;
    for (long waiting = 0; !failed && (in.frames > 0 || waiting > 0); skip = 0) { /* frames read but not written */
        const int found = hb_wav_read(&in, s->frames, s->spec->chunk_samples);
        waiting += found;
        if (step(s, found)) {
            failed = fail("model", hb_error());
            break;
        }
        const int ready = s->spec->chunk_samples - skip;
        const int wanted = waiting < ready ? (int)waiting : ready;
        if (hb_wav_write(&out, s->frames + skip * s->spec->channels, wanted)) failed = fail(to, "cannot write");
        waiting -= wanted;
    }
    fclose(in.file);
    if (hb_wav_finish(&out) && !failed) failed = fail(to, "cannot write");
    return failed;
}

int main(int count, char **arguments) {
    if (count != 3 && count != 5) return fail("usage", "hearable-rt MODEL.onnx CONDITIONING.f32 [IN.wav OUT.wav]");
    const char *const library = getenv("ONNXRUNTIME");
    stream s = {0};
    if (hb_open(&s.runtime, library ? library : "libonnxruntime.so", arguments[1])) return fail("model", hb_error());
    s.spec = hb_spec_of(s.runtime);
    const size_t values = (size_t)s.spec->channels * (size_t)s.spec->chunk_samples;
    float *const memory = calloc(3 * values + (size_t)s.spec->conditioning_values, sizeof *memory);
    if (!memory) return fail("memory", "not enough");
    s.chunk = memory;
    s.output = memory + values;
    s.frames = memory + 2 * values;
    if (hb_conditioning_read(arguments[2], memory + 3 * values, s.spec->conditioning_values))
        return fail(arguments[2], HB_CONDITIONING_EXPECTED);
    hb_start(s.runtime, memory + 3 * values);
    const struct mallinfo2 before = mallinfo2();
    const int failed = count == 5 ? file_through(&s, arguments[3], arguments[4]) : pipe_through(&s);
    const struct mallinfo2 after = mallinfo2();
    if (getenv("HB_REPORT") && s.chunks) {
        const double each = 1e6 / (double)s.chunks;
        fprintf(stderr, "chunks %ld\nmean_us %.0f\nmax_us %.0f\nprocessor_us %.0f\n", s.chunks, each * s.seconds,
                1e6 * s.worst, each * s.processor);
        fprintf(stderr, "peak_kb %ld\nheap_growth_bytes %ld\n", peak_kb(),
                (long)(after.arena + after.hblkhd) - (long)(before.arena + before.hblkhd));
        const hb_heap_report heap = hb_heap_counts();
        fprintf(stderr, "arena_requests %lu\narena_bytes %zu\narena_overflows %lu\n", heap.served, heap.used, heap.beyond);
    }
    hb_close(s.runtime);
    free(memory);
    return failed;
}

/* hearable-alsa MODEL.onnx CONDITIONING.f32 [CAPTURE [PLAYBACK]]: live, by ALSA, at the model's rate (a plug device
 * resamples). Captures and plays periods of one chunk, four in the playback buffer; an xrun is counted and the stream
 * begun again. Ends at Ctrl-C. Give it real-time priority: chrt -f 60 hearable-alsa ...
 */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hb_conditioning.h"
#include "hb_heap.h"
#include "hb_runtime.h"

#define PERIODS 4

static volatile sig_atomic_t ending;

static void on_signal(int number) {
    (void)number;
    ending = 1;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "hearable-alsa: %s: %s\n", what, why);
    return 1;
}

static snd_pcm_t *open_device(const char *name, snd_pcm_stream_t direction, const hb_spec *spec) {
    snd_pcm_t *pcm = NULL;
    snd_pcm_hw_params_t *hw;
    snd_pcm_uframes_t period = (snd_pcm_uframes_t)spec->chunk_samples, buffer = PERIODS * period;
    unsigned rate = (unsigned)spec->sample_rate_hz;
    snd_pcm_hw_params_alloca(&hw);
    int failed = snd_pcm_open(&pcm, name, direction, 0);
    if (failed >= 0) failed = snd_pcm_hw_params_any(pcm, hw);
    if (failed >= 0) failed = snd_pcm_hw_params_set_access(pcm, hw, SND_PCM_ACCESS_RW_INTERLEAVED);
    if (failed >= 0) failed = snd_pcm_hw_params_set_format(pcm, hw, SND_PCM_FORMAT_FLOAT);
    if (failed >= 0) failed = snd_pcm_hw_params_set_channels(pcm, hw, (unsigned)spec->channels);
    if (failed >= 0) failed = snd_pcm_hw_params_set_rate(pcm, hw, rate, 0);
    if (failed >= 0) failed = snd_pcm_hw_params_set_period_size_near(pcm, hw, &period, NULL);
    if (failed >= 0) failed = snd_pcm_hw_params_set_buffer_size_near(pcm, hw, &buffer);
    if (failed >= 0) failed = snd_pcm_hw_params(pcm, hw);
    if (failed >= 0) return pcm;
    fail(name, snd_strerror(failed));
    if (pcm) snd_pcm_close(pcm);
    return NULL;
}

/* All frames, or a negative ALSA error. */
static snd_pcm_sframes_t transfer(snd_pcm_t *pcm, float *frames, int count, int channels, int playing) {
    for (int done = 0; done < count;) {
        float *const here = frames + done * channels;
        const snd_pcm_uframes_t left = (snd_pcm_uframes_t)(count - done);
        const snd_pcm_sframes_t moved = playing ? snd_pcm_writei(pcm, here, left) : snd_pcm_readi(pcm, here, left);
        if (moved < 0) return moved;
        done += (int)moved;
    }
    return count;
}

static int begin(snd_pcm_t *capture, snd_pcm_t *playback, float *silence, const hb_spec *spec) {
    snd_pcm_drop(capture);
    snd_pcm_drop(playback);
    if (snd_pcm_prepare(capture) < 0 || snd_pcm_prepare(playback) < 0) return -1;
    for (int i = 0; i < 2; i++) /* what the scheduler may be late by */
        if (transfer(playback, silence, spec->chunk_samples, spec->channels, 1) < 0) return -1;
    return snd_pcm_start(capture) < 0 ? -1 : 0;
}

static int run(hb_runtime *runtime, snd_pcm_t *capture, snd_pcm_t *playback, float *memory, long *xruns) {
    const hb_spec *const s = hb_spec_of(runtime);
    const int values = s->channels * s->chunk_samples;
    float *const frames = memory, *const chunk = memory + values, *const silence = memory + 2 * values;
    if (begin(capture, playback, silence, s)) return fail("devices", "cannot start");
    while (!ending) {
        if (transfer(capture, frames, s->chunk_samples, s->channels, 0) < 0) {
            if (ending) break;
            ++*xruns;
            if (begin(capture, playback, silence, s)) return fail("capture", "lost");
            continue;
        }
        for (int c = 0; c < s->channels; c++)
            for (int i = 0; i < s->chunk_samples; i++) chunk[c * s->chunk_samples + i] = frames[i * s->channels + c];
        hb_heap_enter();
        const int failed = hb_process(runtime, chunk, chunk);
        hb_heap_leave();
        if (failed) return fail("model", hb_error());
        for (int c = 0; c < s->channels; c++)
            for (int i = 0; i < s->chunk_samples; i++) frames[i * s->channels + c] = chunk[c * s->chunk_samples + i];
        if (transfer(playback, frames, s->chunk_samples, s->channels, 1) < 0) {
            ++*xruns;
            if (begin(capture, playback, silence, s)) return fail("playback", "lost");
        }
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count < 3 || count > 5) return fail("usage", "hearable-alsa MODEL.onnx CONDITIONING.f32 [CAPTURE [PLAYBACK]]");
    const char *const library = getenv("ONNXRUNTIME");
    hb_runtime *runtime;
    if (hb_open(&runtime, library ? library : "libonnxruntime.so", arguments[1])) return fail("model", hb_error());
    const hb_spec *const s = hb_spec_of(runtime);
    const size_t values = (size_t)s->channels * (size_t)s->chunk_samples;
    float *const memory = calloc(3 * values + (size_t)s->conditioning_values, sizeof *memory);
    if (!memory) return fail("memory", "not enough");
    if (hb_conditioning_read(arguments[2], memory + 3 * values, s->conditioning_values))
        return fail(arguments[2], HB_CONDITIONING_EXPECTED);
    hb_start(runtime, memory + 3 * values);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    mlockall(MCL_CURRENT | MCL_FUTURE); /* where it is allowed: no page is ever fetched in the stream */
    const char *const from = count > 3 ? arguments[3] : "default", *const to = count > 4 ? arguments[4] : from;
    snd_pcm_t *const capture = open_device(from, SND_PCM_STREAM_CAPTURE, s);
    snd_pcm_t *const playback = capture ? open_device(to, SND_PCM_STREAM_PLAYBACK, s) : NULL;
    long xruns = 0;
    const int failed = !capture || !playback || run(runtime, capture, playback, memory, &xruns);
    fprintf(stderr, "%ld xruns\n", xruns);
    if (playback) snd_pcm_close(playback);
    if (capture) snd_pcm_close(capture);
    hb_close(runtime);
    free(memory);
    return failed;
}

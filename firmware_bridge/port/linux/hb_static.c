/* hb_runtime.h without ONNX Runtime: a model generated as C (`python -m export MODEL --c`) and linked in. Allocates
 * nothing. HB_MODEL names it, HB_MODEL_UPPER in capitals; library and model of hb_open are not looked at. */
#include "hb_runtime.h"

#include <stddef.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define MODEL JOIN(hb_, HB_MODEL)
#define SIZE(what) JOIN(JOIN(HB_, HB_MODEL_UPPER), what)
#include HB_MODEL_HEADER

struct hb_runtime {
    MODEL model;
};

static hb_runtime only;
static const hb_spec spec = {SIZE(_SAMPLE_RATE_HZ), SIZE(_CHANNELS), SIZE(_CHUNK_SAMPLES), SIZE(_LOOKAHEAD_SAMPLES),
                             SIZE(_CONDITIONING_VALUES)};

int hb_open(hb_runtime **out, const char *library, const char *model) {
    (void)library;
    (void)model;
    *out = &only;
    return 0;
}

void hb_close(hb_runtime *runtime) { (void)runtime; }

const hb_spec *hb_spec_of(const hb_runtime *runtime) {
    (void)runtime;
    return &spec;
}

void hb_start(hb_runtime *runtime, const float *conditioning) { JOIN(MODEL, _start)(&runtime->model, conditioning); }

int hb_process(hb_runtime *runtime, const float *chunk, float *output) {
    JOIN(MODEL, _process)(&runtime->model, chunk, output);
    return 0;
}

const char *hb_error(void) { return ""; }

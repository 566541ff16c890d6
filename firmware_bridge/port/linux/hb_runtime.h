/* An extractor on embedded Linux, by ONNX Runtime's C API: 8 ms in, 8 ms out.
 *
 *     hb_runtime *r;
 *     if (hb_open(&r, "libonnxruntime.so", "tiny.onnx")) fail(hb_error());
 *     hb_start(r, conditioning);
 *     while (...) hb_process(r, chunk, output);
 *     hb_close(r);
 *
 * Everything is allocated by hb_open. The state is kept twice: each chunk reads one and has onnxruntime write the other.
 */
#ifndef HB_RUNTIME_H
#define HB_RUNTIME_H

typedef struct hb_runtime hb_runtime;

/* Of the model, from its metadata. */
typedef struct {
    int sample_rate_hz, channels, chunk_samples, lookahead_samples, conditioning_values;
} hb_spec;

/* Load onnxruntime (a path, or a name that the loader finds) and a model. On failure *out is NULL. */
int hb_open(hb_runtime **out, const char *library, const char *model);
void hb_close(hb_runtime *runtime);

const hb_spec *hb_spec_of(const hb_runtime *runtime);

/* A new stream for a speaker: conditioning [conditioning_values]. The state is zeros. */
void hb_start(hb_runtime *runtime, const float *conditioning);

/* One chunk [channels][chunk_samples] in, one out, lookahead_samples late. 0, or -1: output and state are undefined then,
 * call hb_start. */
int hb_process(hb_runtime *runtime, const float *chunk, float *output);

/* What went wrong last, in one line. */
const char *hb_error(void);

#endif

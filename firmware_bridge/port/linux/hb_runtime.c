#define _POSIX_C_SOURCE 200809L
#include "hb_runtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hb_ort.h"

#define MAX_STATES 64
#define MAX_AXES 8
#define MAX_VALUES (1 << 24)

typedef struct {
    char input[80], output[84];
    int64_t shape[MAX_AXES];
    size_t axes, values;
} state_spec;

struct hb_runtime {
    void *library;
    const void *const *api;
    object *environment, *session, *memory;
    hb_spec spec;
    state_spec states[MAX_STATES];
    size_t state_count, state_values;
    float *values; /* chunk, conditioning, output, state, the other state */
    float *chunk, *conditioning, *output, *state;
    /* Tensors on those values: one set of states is read while the other is written; `turn` says which. */
    object *inputs[2][MAX_STATES + 2], *outputs[2][MAX_STATES + 1];
    const char *input_names[MAX_STATES + 2], *output_names[MAX_STATES + 1];
    int turn;
};

static char message[512];

const char *hb_error(void) { return message; }

static int fail(const char *what, const char *why) {
    snprintf(message, sizeof message, "%s: %s", what, why);
    return -1;
}

/* ISO C has no cast from an object to a function pointer; POSIX has this. */
#define API(runtime, type, place) (*(type const *)&(runtime)->api[place])

static int check(const hb_runtime *r, hb_ort_status *status, const char *what) {
    if (!status) return 0;
    fail(what, API(r, ort_message, ORT_ERROR_MESSAGE)(status));
    API(r, ort_release_status, ORT_RELEASE_STATUS)(status);
    return -1;
}

static int load(hb_runtime *r, const char *library) {
    setenv("ORT_DISABLE_TELEMETRY", "1", 0); /* 1.32 and later would write under the home folder */
    r->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!r->library) return fail(library, dlerror());
    union {
        void *object;
        const hb_ort_base *(*function)(void);
    } entry = {dlsym(r->library, "OrtGetApiBase")};
    if (!entry.object) return fail(library, "expected onnxruntime, found no OrtGetApiBase");
    r->api = entry.function()->table(HB_ORT_API_VERSION);
    return r->api ? 0 : fail(library, "expected onnxruntime 1.13 or newer");
}

static int open_session(hb_runtime *r, const char *model) {
    object *options = NULL;
    if (check(r, API(r, ort_create_environment, ORT_CREATE_ENVIRONMENT)(ORT_LOG_ERROR, "hearable", &r->environment),
              "onnxruntime") ||
        check(r, API(r, ort_create, ORT_CREATE_OPTIONS)(&options), "onnxruntime"))
        return -1;
    int failed =
        check(r, API(r, ort_number, ORT_INTRA_THREADS)(options, 1), "threads") ||
        check(r, API(r, ort_number, ORT_INTER_THREADS)(options, 1), "threads") ||
        check(r, API(r, ort_entry, ORT_CONFIG_ENTRY)(options, "session.intra_op.allow_spinning", "0"), "spinning") ||
        check(r, API(r, ort_create_session, ORT_CREATE_SESSION)(r->environment, model, options, &r->session), model);
    API(r, ort_release, ORT_RELEASE_OPTIONS)(options);
    return failed ? -1 : 0;
}

/* Copies a metadata value; -1 if there is none or it is too long. */
static int lookup(const hb_runtime *r, const object *metadata, object *allocator, const char *key, char *value,
                  size_t size) {
    char *found = NULL;
    if (check(r, API(r, ort_lookup, ORT_METADATA_LOOKUP)(metadata, allocator, key, &found), key)) return -1;
    if (!found) return fail(key, "expected this metadata, found none: is this a hearable model?");
    const int fits = strlen(found) < size;
    if (fits) memcpy(value, found, strlen(found) + 1);
    hb_ort_status *status = API(r, ort_free, ORT_ALLOCATOR_FREE)(allocator, found);
    if (check(r, status, key)) return -1;
    return fits ? 0 : fail(key, "value too long");
}

static int lookup_number(const hb_runtime *r, const object *metadata, object *allocator, const char *key, int *value) {
    char text[32], *end;
    if (lookup(r, metadata, allocator, key, text, sizeof text)) return -1;
    const long number = strtol(text, &end, 10);
    if (end == text || *end || number < 0 || number > MAX_VALUES) return fail(key, "expected a whole number");
    *value = (int)number;
    return 0;
}

/* "time0:1x44x48;time1:1x44x48" */
static int parse_states(hb_runtime *r, const char *text) {
    while (*text) {
        if (r->state_count == MAX_STATES) return fail("states", "too many");
        state_spec *const state = &r->states[r->state_count++];
        const size_t length = strcspn(text, ":");
        if (text[length] != ':' || length == 0 || length > 64) return fail("states", "expected name:AxBxC");
        snprintf(state->input, sizeof state->input, "state.%.*s", (int)length, text);
        snprintf(state->output, sizeof state->output, "state.%.*s.out", (int)length, text);
        state->values = 1;
        for (text += length + 1;; text++) {
            char *end;
            const long extent = strtol(text, &end, 10);
            if (end == text || extent < 1 || extent > MAX_VALUES || state->axes == MAX_AXES)
                return fail("states", "expected name:AxBxC");
            state->shape[state->axes++] = extent;
            state->values *= (size_t)extent;
            if (state->values > MAX_VALUES) return fail("states", "too large");
            text = end;
            if (*text != 'x') break;
        }
        r->state_values += state->values;
        if (r->state_values > MAX_VALUES) return fail("states", "too large");
        if (*text == ';') text++;
        else if (*text) return fail("states", "expected name:AxBxC");
    }
    return 0;
}

static int read_spec(hb_runtime *r) {
    object *metadata = NULL, *allocator = NULL;
    char states[4096], kind[32];
    if (check(r, API(r, ort_create, ORT_DEFAULT_ALLOCATOR)(&allocator), "allocator") ||
        check(r, API(r, ort_metadata, ORT_METADATA)(r->session, &metadata), "metadata"))
        return -1;
    hb_spec *const s = &r->spec;
    int failed = lookup(r, metadata, allocator, "hearable.kind", kind, sizeof kind) ||
                 lookup(r, metadata, allocator, "hearable.states", states, sizeof states) ||
                 lookup_number(r, metadata, allocator, "hearable.sample_rate_hz", &s->sample_rate_hz) ||
                 lookup_number(r, metadata, allocator, "hearable.channels", &s->channels) ||
                 lookup_number(r, metadata, allocator, "hearable.chunk_samples", &s->chunk_samples) ||
                 lookup_number(r, metadata, allocator, "hearable.lookahead_samples", &s->lookahead_samples) ||
                 lookup_number(r, metadata, allocator, "hearable.conditioning_values", &s->conditioning_values);
    API(r, ort_release, ORT_RELEASE_METADATA)(metadata);
    if (failed) return -1;
    if (strcmp(kind, "extractor")) return fail("hearable.kind", "expected an extractor");
    if (s->sample_rate_hz < 1 || s->channels < 1 || s->channels > 16 || s->chunk_samples < 1 ||
        s->chunk_samples > 65536 || s->conditioning_values < 1)
        return fail("metadata", "expected positive numbers");
    return parse_states(r, states);
}

static int tensor(const hb_runtime *r, float *data, const int64_t *shape, size_t axes, object **out) {
    size_t values = 1;
    for (size_t i = 0; i < axes; i++) values *= (size_t)shape[i];
    return check(r,
                 API(r, ort_create_tensor, ORT_CREATE_TENSOR)(r->memory, data, values * sizeof *data, shape, axes,
                                                              ORT_FLOAT, out),
                 "tensor");
}

static int allocate(hb_runtime *r) {
    const hb_spec *const s = &r->spec;
    const size_t chunk = (size_t)s->channels * (size_t)s->chunk_samples, given = (size_t)s->conditioning_values;
    r->values = calloc(2 * chunk + given + 2 * r->state_values, sizeof *r->values);
    if (!r->values) return fail("memory", "not enough");
    r->chunk = r->values;
    r->output = r->chunk + chunk;
    r->conditioning = r->output + chunk;
    r->state = r->conditioning + given;
    if (check(r, API(r, ort_cpu_memory, ORT_CPU_MEMORY)(ORT_DEVICE_ALLOCATOR, ORT_MEMORY_DEFAULT, &r->memory), "memory"))
        return -1;
    const int64_t audio[2] = {s->channels, s->chunk_samples}, conditioning[1] = {s->conditioning_values};
    r->input_names[0] = "chunk";
    r->input_names[1] = "conditioning";
    r->output_names[0] = "output";
    for (int turn = 0; turn < 2; turn++) {
        if (tensor(r, r->chunk, audio, 2, &r->inputs[turn][0]) ||
            tensor(r, r->conditioning, conditioning, 1, &r->inputs[turn][1]) ||
            tensor(r, r->output, audio, 2, &r->outputs[turn][0]))
            return -1;
        size_t offset = 0;
        for (size_t i = 0; i < r->state_count; offset += r->states[i++].values) {
            const state_spec *const state = &r->states[i];
            float *const mine = r->state + (turn ? r->state_values : 0) + offset;
            float *const next = r->state + (turn ? 0 : r->state_values) + offset;
            r->input_names[i + 2] = state->input;
            r->output_names[i + 1] = state->output;
            if (tensor(r, mine, state->shape, state->axes, &r->inputs[turn][i + 2]) ||
                tensor(r, next, state->shape, state->axes, &r->outputs[turn][i + 1]))
                return -1;
        }
    }
    return 0;
}

int hb_open(hb_runtime **out, const char *library, const char *model) {
    hb_runtime *const r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return fail("memory", "not enough");
    if (load(r, library) || open_session(r, model) || read_spec(r) || allocate(r)) {
        hb_close(r);
        return -1;
    }
    *out = r;
    /* onnxruntime allocates what it keeps at the first runs: let them be before the stream. */
    hb_start(r, r->conditioning);
    for (int i = 0; i < 2; i++)
        if (hb_process(r, r->chunk, r->output)) {
            hb_close(r);
            *out = NULL;
            return -1;
        }
    hb_start(r, r->conditioning);
    return 0;
}

void hb_close(hb_runtime *r) {
    if (!r) return;
    if (r->api) {
        for (int turn = 0; turn < 2; turn++) {
            for (size_t i = 0; i < MAX_STATES + 2; i++)
                if (r->inputs[turn][i]) API(r, ort_release, ORT_RELEASE_VALUE)(r->inputs[turn][i]);
            for (size_t i = 0; i < MAX_STATES + 1; i++)
                if (r->outputs[turn][i]) API(r, ort_release, ORT_RELEASE_VALUE)(r->outputs[turn][i]);
        }
        if (r->memory) API(r, ort_release, ORT_RELEASE_MEMORY)(r->memory);
        if (r->session) API(r, ort_release, ORT_RELEASE_SESSION)(r->session);
        if (r->environment) API(r, ort_release, ORT_RELEASE_ENVIRONMENT)(r->environment);
    }
    if (r->library) dlclose(r->library);
    free(r->values);
    free(r);
}

const hb_spec *hb_spec_of(const hb_runtime *r) { return &r->spec; }

void hb_start(hb_runtime *r, const float *conditioning) {
    memmove(r->conditioning, conditioning, (size_t)r->spec.conditioning_values * sizeof *conditioning);
    memset(r->state, 0, 2 * r->state_values * sizeof *r->state);
    r->turn = 0;
}

int hb_process(hb_runtime *r, const float *chunk, float *output) {
    const size_t bytes = (size_t)r->spec.channels * (size_t)r->spec.chunk_samples * sizeof *chunk;
    memmove(r->chunk, chunk, bytes);
    if (check(r,
              API(r, ort_run, ORT_RUN)(r->session, NULL, r->input_names,
                                       (const object *const *)r->inputs[r->turn], r->state_count + 2,
                                       r->output_names, r->state_count + 1, r->outputs[r->turn]),
              "model"))
        return -1;
    r->turn = 1 - r->turn;
    memmove(output, r->output, bytes);
    return 0;
}

/* The part of ONNX Runtime's C API that the runtime uses.
 *
 * The API is a table of functions that only ever grows at its end, so a function's place in it is fixed: these are the
 * places, and the types with which they are called. Neither the wheels nor Debian bring the header; with it, this file
 * is not needed. Checked against 1.20 to 1.32.
 */
#ifndef HB_ORT_H
#define HB_ORT_H

#include <stddef.h>
#include <stdint.h>

#define HB_ORT_API_VERSION 13 /* the oldest that is asked for */

typedef struct hb_ort_status hb_ort_status; /* NULL is success */
typedef struct hb_ort_object hb_ort_object; /* environment, session, options, value, memory info, metadata, allocator */
typedef hb_ort_object object;

typedef struct {
    const void *const *(*table)(uint32_t version);
    const char *(*version)(void);
} hb_ort_base;

enum {
    ORT_ERROR_MESSAGE = 2,
    ORT_CREATE_ENVIRONMENT = 3,
    ORT_CREATE_SESSION = 7,
    ORT_RUN = 9,
    ORT_CREATE_OPTIONS = 10,
    ORT_INTRA_THREADS = 24,
    ORT_INTER_THREADS = 25,
    ORT_CREATE_TENSOR = 49,
    ORT_CPU_MEMORY = 69,
    ORT_ALLOCATOR_FREE = 76,
    ORT_DEFAULT_ALLOCATOR = 78,
    ORT_RELEASE_ENVIRONMENT = 92,
    ORT_RELEASE_STATUS = 93,
    ORT_RELEASE_MEMORY = 94,
    ORT_RELEASE_SESSION = 95,
    ORT_RELEASE_VALUE = 96,
    ORT_RELEASE_OPTIONS = 100,
    ORT_METADATA = 111,
    ORT_METADATA_LOOKUP = 116,
    ORT_RELEASE_METADATA = 118,
    ORT_CONFIG_ENTRY = 130
};

enum { ORT_LOG_ERROR = 3, ORT_FLOAT = 1, ORT_DEVICE_ALLOCATOR = 0, ORT_MEMORY_DEFAULT = 0 };

typedef const char *(*ort_message)(const hb_ort_status *);
typedef hb_ort_status *(*ort_create_environment)(int level, const char *name, object **out);
typedef hb_ort_status *(*ort_create_session)(const object *env, const char *path, const object *options, object **out);
typedef hb_ort_status *(*ort_run)(object *session, const object *options, const char *const *names,
                                  const object *const *inputs, size_t count, const char *const *output_names,
                                  size_t output_count, object **outputs);
typedef hb_ort_status *(*ort_create)(object **out);
typedef hb_ort_status *(*ort_number)(object *options, int value);
typedef hb_ort_status *(*ort_create_tensor)(const object *memory, void *data, size_t bytes, const int64_t *shape,
                                            size_t axes, int type, object **out);
typedef hb_ort_status *(*ort_cpu_memory)(int allocator, int type, object **out);
typedef hb_ort_status *(*ort_free)(object *allocator, void *memory);
typedef hb_ort_status *(*ort_metadata)(const object *session, object **out);
typedef hb_ort_status *(*ort_lookup)(const object *metadata, object *allocator, const char *key, char **value);
typedef hb_ort_status *(*ort_entry)(object *options, const char *key, const char *value);
typedef void (*ort_release)(object *);
typedef void (*ort_release_status)(hb_ort_status *);

#endif

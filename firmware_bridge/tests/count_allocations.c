/* LD_PRELOAD: counts allocations by who makes them, and prints the two counts at the end. Sees hb_runtime's own calls
 * (those of the program) apart from those of libraries, onnxruntime first of all. */
#define _GNU_SOURCE

#include <stdio.h>
#include <string.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long program, libraries;
static char *begin, *end;

__attribute__((constructor)) static void find_program(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], self[256] = "";
    while (maps && fgets(line, sizeof line, maps)) { /* the program's segments come first */
        unsigned long from, to;
        char path[256] = "";
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255s", &from, &to, path) < 3) continue;
        if (!self[0]) {
            strcpy(self, path);
            begin = (char *)from;
        }
        if (!strcmp(self, path)) end = (char *)to;
    }
    if (maps) fclose(maps);
    program = libraries = 0;
}

__attribute__((destructor)) static void report(void) {
    fprintf(stderr, "allocations_program %lu\nallocations_libraries %lu\n", program, libraries);
}

#define COUNT()                                                                     \
    do {                                                                            \
        char *const caller = __builtin_return_address(0);                           \
        if (caller >= begin && caller < end) program++;                             \
        else libraries++;                                                           \
    } while (0)

void *malloc(size_t size) {
    COUNT();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    COUNT();
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    COUNT();
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    COUNT();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    COUNT();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    COUNT();
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12;
}

/* LD_PRELOAD for a program with hb_heap: counts the allocations that reach the C library, and measures what memory of the
 * program was resident at most. Under qemu-user that leaves out the emulator's own: /proc/self/maps shows the program's
 * mappings alone, /proc/self/smaps what is resident of everything. Prints both at the end. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdio.h>

#define EVERY 256 /* allocations: memory is looked at */

static unsigned long allocations, resident_kb;
static int looking;

static int is_mapped(unsigned long address, unsigned long (*ranges)[2], int count) {
    for (int i = 0; i < count; i++)
        if (address >= ranges[i][0] && address < ranges[i][1]) return 1;
    return 0;
}

static void look(void) {
    static unsigned long ranges[4096][2];
    static char line[1024];
    unsigned long from, to, kb, sum = 0;
    int count = 0, ours = 0;
    looking = 1;
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && count < 4096 && fgets(line, sizeof line, file))
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) ranges[count][0] = from, ranges[count++][1] = to;
    if (file) fclose(file);
    file = fopen("/proc/self/smaps", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) ours = is_mapped(from, ranges, count);
        else if (ours && sscanf(line, "Rss: %lu", &kb) == 1) sum += kb;
    }
    if (file) fclose(file);
    if (sum > resident_kb) resident_kb = sum;
    looking = 0;
}

static void count(void) {
    if (!looking && ++allocations % EVERY == 0) look();
}

__attribute__((destructor)) static void print(void) {
    const unsigned long found = allocations;
    look();
    fprintf(stderr, "libc_allocations %lu\nresident_kb %lu\n", found, resident_kb);
}

/* The next definition of a function of one or of two arguments. */
#define NEXT(name, ...)                                       \
    static void *(*next)(__VA_ARGS__);                        \
    if (!next) *(void **)(void *)&next = dlsym(RTLD_NEXT, name); \
    count()

void *__libc_malloc(size_t size) {
    NEXT("__libc_malloc", size_t);
    return next(size);
}

void *__libc_calloc(size_t number, size_t size) {
    NEXT("__libc_calloc", size_t, size_t);
    return next(number, size);
}

void *__libc_realloc(void *memory, size_t size) {
    NEXT("__libc_realloc", void *, size_t);
    return next(memory, size);
}

void *__libc_memalign(size_t alignment, size_t size) {
    NEXT("__libc_memalign", size_t, size_t);
    return next(alignment, size);
}

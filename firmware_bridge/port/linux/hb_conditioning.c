#include "hb_conditioning.h"

#include <stdio.h>

int hb_conditioning_read(const char *path, float *values, int count) {
    FILE *const file = fopen(path, "rb");
    if (!file) return -1;
    const size_t found = fread(values, sizeof *values, (size_t)count, file);
    const int more = fgetc(file) != EOF;
    fclose(file);
    return found == (size_t)count && !more ? 0 : -1;
}

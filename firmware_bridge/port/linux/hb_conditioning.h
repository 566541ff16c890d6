/* A person's conditioning from a file: raw little-endian float32, on a little-endian machine. */
#ifndef HB_CONDITIONING_H
#define HB_CONDITIONING_H

#define HB_CONDITIONING_EXPECTED "expected the model's conditioning: float32, as many values as its metadata says"

/* Exactly `count` values, or -1: another model's file is most often of another size. */
int hb_conditioning_read(const char *path, float *values, int count);

#endif

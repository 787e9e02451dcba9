/* safetensors.h: tensors in .safetensors files, read and written, and the digest of checkpoints. Needs jsmn.h
 * (support.h: faults, files, digests). */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include "support.h"

/* ---- safetensors.c ---- */

typedef enum { DTYPE_F32, DTYPE_I64, DTYPE_OTHER } Dtype;
typedef struct {
    char *name;
    Dtype dtype;
    int rank;
    int64_t dims[8];
    uint64_t count;        /* elements */
    uint64_t begin, bytes; /* of the data, from the start of the file */
} Stored;
typedef struct {
    char *path;
    FILE *stream;
    int count;
    Stored *tensor;
    int metadata_count;
    char **metadata;          /* key, value, key, value, ... */
    bool unsigned_checkpoint; /* of version 0.1, whose checkpoints had no digest */
} TensorFile;
/* The tensor (int64, 1) with the digest of all other bytes of a file. */
#define TENSOR_DIGEST "digest"
/* Where a file's metadata have a key that begins so, it says that it is a checkpoint of ours. */
#define CHECKPOINT_KEYS        "amdimc_"
#define CHECKPOINT_VERSION_KEY CHECKPOINT_KEYS "version"
/* Opens and checks a whole header (jsmn): sizes, offsets, overlaps, gaps, the file's length; and of a
 * checkpoint of ours the digest. Data stay on the disk. */
bool tensors_open(TensorFile *t, const char *path, Fault *f);
void tensors_close(TensorFile *t);
const Stored *tensors_find(const TensorFile *t, const char *name);
const char *tensors_metadata(const TensorFile *t, const char *key); /* or NULL */
/* Reads a whole tensor, little-endian in the file, into memory of the dtype's own size. */
bool tensors_read(const TensorFile *t, const Stored *s, void *out, Fault *f);

/* ---- safetensors_floats.c: weights ---- */

/* The tensor, if it is float32 of that shape; else NULL with a fault that names it and both shapes. */
const Stored *tensors_find_floats(const TensorFile *t, const char *name, int rank, const int64_t *dims,
                                  Fault *f);
/* Reads it; a value that is no number spoils all that comes after it, and is a fault. */
bool tensors_read_floats(const TensorFile *t, const Stored *s, float *out, Fault *f);
/* The same of values that were read; what to do about one, behind where it is. */
bool tensors_check_floats(const TensorFile *t, const Stored *s, const float *value, const char *advice,
                          Fault *f);
void tensors_note_unsigned(const TensorFile *t); /* where damage of the file might go unnoticed */

/* ---- safetensors_write.c ----
 *
 * Every tensor is announced first, then given in that order, whole or in pieces. */
typedef struct {
    NewFile file;
    char *header;
    size_t header_length, header_capacity;
    uint64_t announced, given; /* bytes */
    bool is_signed;
    Digest digest; /* of what was written, where it is signed */
} TensorWriter;
bool writer_open(TensorWriter *w, const char *path, Fault *f);
void writer_metadata(TensorWriter *w, const char *key,
                     const char *value); /* all before the first announcement */
void writer_announce(TensorWriter *w, const char *name, Dtype dtype, int rank, const int64_t *dims);
void writer_sign(TensorWriter *w); /* before the first data: the file gets a digest */
bool writer_give(TensorWriter *w, const void *data, size_t bytes, Fault *f);
/* What the file replaces stays as `previous` in the same folder, unless that is NULL. */
bool writer_commit(TensorWriter *w, const char *previous, Fault *f);
void writer_discard(TensorWriter *w);

#endif

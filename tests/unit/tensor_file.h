/* tensor_file.h: safetensors for tests, written and read without the runtime's own code. */
#ifndef TENSOR_FILE_H
#define TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A file that grows tensor by tensor. */
typedef struct {
    char *header, *data; /* by open_memstream */
    size_t header_length, data_length;
    FILE *header_stream, *data_stream;
} TensorWriter;

void tensor_file_begin(TensorWriter *w);
/* float32, or int64 where `integers`, from doubles that they hold exactly. */
void tensor_file_add(TensorWriter *w, const char *name, int rank, const int *dims, int integers,
                     const double *value);
void tensor_file_end(TensorWriter *w, const char *path);

/* A whole file, by malloc. */
typedef struct {
    char *bytes;
    size_t count;
} TensorFile;

TensorFile tensor_file_read(const char *path);
/* A tensor of exactly `count` numbers, as doubles by malloc; NULL where there is none of that name and count.
 */
double *tensor_file_find(const TensorFile *f, const char *name, size_t count);

#endif
